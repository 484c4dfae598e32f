"""From a recipe's ``data`` to sources of records."""

from __future__ import annotations

from typing import Any, Literal

from vitrail.recipes.schema import File, Recipe, Scenes

Use = Literal["conversations", "questions"]


def open_data(recipe: Recipe, name: str, use: Use) -> Any:
    """The source ``name`` of ``data``, as ``conversations`` (a stage trains on it) or ``questions``.

    ValueError names the field ``data.<name>`` where a file or a suite is at fault.
    """
    data = recipe.data[name]
    if isinstance(data, Scenes):
        return _scenes(data, recipe.seed_of(name), use, name)
    return _file(data, name)


def _scenes(data: Scenes, seed: int, use: Use, name: str) -> Any:
    from vitrail.data.scenes import suite

    options: dict[str, Any] = {"fold": data.fold, "names": data.names, "seed": seed, "n": data.n}
    if data.kinds is not None:
        options["kinds"] = data.kinds
    if data.turns is not None and use == "conversations":
        options["turns"] = data.turns
    try:
        return getattr(suite(data.suite), use)(**options)
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
