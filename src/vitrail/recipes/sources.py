"""From a recipe's ``data`` to sources of records."""

from __future__ import annotations

from typing import Any, Literal

from vitrail.recipes.benchmark_data import Benchmark, Composed
from vitrail.recipes.episode_data import Demonstrated, Episodes
from vitrail.recipes.invented_data import Facts, Translations
from vitrail.recipes.mixing import open_mixture
from vitrail.recipes.named_data import NamedThings
from vitrail.recipes.relevant import Relevant, open_relevant
from vitrail.recipes.schema import File, Mixture, Puzzle, Recipe, Scenes, SceneTexts
from vitrail.recipes.subsets import Subset, open_subset

Use = Literal["conversations", "questions"]


def open_data(recipe: Recipe, name: str, use: Use) -> Any:
    """The source ``name`` of ``data``, as ``conversations`` (a stage trains on it) or ``questions``.

    ValueError names the field ``data.<name>`` where a file or a suite is at fault.
    """
    data = recipe.data[name]
    if isinstance(data, Mixture):
        return open_mixture(recipe, name, lambda leaf: open_data(recipe, leaf, use))
    if isinstance(data, Subset):
        return open_subset(recipe, name, lambda other: open_data(recipe, other, use))
    if isinstance(data, Relevant):
        return open_relevant(recipe, name, lambda other: open_data(recipe, other, use))
    if isinstance(data, Scenes):
        return _scenes(data, recipe.seed_of(name), use, name)
    if isinstance(data, Puzzle):
        return _puzzle(data, recipe.seed_of(name), use, name)
    if isinstance(data, Facts):
        return _facts(data, recipe.seed_of(name), name)
    if isinstance(data, Translations):
        return _translations(data, recipe.seed_of(name), name)
    if isinstance(data, SceneTexts):
        return _scene_texts(data, recipe.seed_of(name), name)
    if isinstance(data, Benchmark):
        return _benchmark(data, use, name)
    if isinstance(data, Composed):
        return _composed(data, recipe.seed_of(name), name)
    if isinstance(data, NamedThings):
        return _named_things(data, recipe.seed_of(name), use, name)
    if isinstance(data, (Episodes, Demonstrated)):
        return _few_shot(data, recipe.seed_of(name), use, name)
    return _file(data, name)


def _composed(data: Composed, seed: int, name: str) -> Any:
    try:
        return data.open(seed)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _named_things(data: NamedThings, seed: int, use: Use, name: str) -> Any:
    try:
        return data.open(seed, use == "questions")
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _few_shot(data: Episodes | Demonstrated, seed: int, use: Use, name: str) -> Any:
    try:
        return data.open(seed, use == "questions") if isinstance(data, Episodes) else data.open(seed)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _benchmark(data: Benchmark, use: Use, name: str) -> Any:
    if use == "conversations":
        raise ValueError(f"data.{name}: a benchmark is asked, not trained on; name other data for the stage")
    try:
        return data.open()
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _puzzle(data: Puzzle, seed: int, use: Use, name: str) -> Any:
    from vitrail.data.puzzles.addition import Addition
    from vitrail.data.puzzles.lego import Lego

    shared: dict[str, Any] = {"fold": data.fold, "seed": seed, "asked": use == "questions"}
    try:
        if data.task == "lego":
            return Lego(data.skill, data.n, variables=data.size or 5, **shared)
        return Addition(data.skill, data.n, digits=data.size or 3, **shared)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _translations(data: Translations, seed: int, name: str) -> Any:
    from vitrail.data.translations import Translations as Source

    try:
        return Source(data.languages, data.n, data.form, data.fold, seed)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _facts(data: Facts, seed: int, name: str) -> Any:
    from vitrail.data.facts import Facts as Source

    try:
        return Source(data.form, data.n, data.people, data.fold, seed, data.world)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _scenes(data: Scenes, seed: int, use: Use, name: str) -> Any:
    from vitrail.data.scenes import suite

    options: dict[str, Any] = {"fold": data.fold, "names": data.names, "seed": seed, "n": data.n}
    if data.kinds is not None:
        options["kinds"] = data.kinds
    if use == "questions" and data.form == "scenes" and data.kinds == ("caption",):
        use, options["turns"] = "conversations", (1, 1)
    elif data.turns is not None and use == "conversations":
        options["turns"] = data.turns
    if data.length is not None:
        options["length"] = data.length
    if data.shuffled is not None:
        options["shuffled"] = data.shuffled
    if data.foreign is not None:
        options["foreign"] = data.foreign
    if data.leading is not None and use == "conversations":
        options["leading"] = data.leading
    if data.form == "told_sequences" and use == "questions":
        raise ValueError(f"data.{name}: told_sequences are for stages; ask about sequences (form: sequences)")
    if data.form == "documents" and use != "conversations":
        raise ValueError(f"data.{name}: documents are for stages; ask about scenes (form: scenes)")
    if data.form == "told_sequences":
        options["told"] = True
    forms = {"scenes": use, "leading": f"leading_{use}", "documents": "documents"}
    method = forms.get(data.form, f"sequence_{use}")
    try:
        return getattr(suite(data.suite), method)(**options)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _scene_texts(data: SceneTexts, seed: int, name: str) -> Any:
    from vitrail.data.scenes import suite
    from vitrail.data.scenes.texts import SceneTexts as Texts

    try:
        return Texts(suite(data.suite), data.fold, seed, data.n, data.names, data.turns, data.kinds)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def _file(data: File, name: str) -> Any:
    from vitrail.data.folds import fold_of
    from vitrail.data.readers import open_source
    from vitrail.data.sources import take

    try:
        source: Any = open_source(data.path, on_error=data.on_error, root=data.root)
        if data.n is not None and data.n < len(source):
            source = take(source, data.n)
        if data.fold is not None:
            source = fold_of(source, data.fold, data.split_seed)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None
    if len(source) == 0:
        raise ValueError(f"data.{name}: {data.path} holds no records that can be used")
    return source
