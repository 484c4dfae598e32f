"""Reading recipes: shipped ones by name, files by path, mappings; with overrides, checked and resolved."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import overrides as override_text
from vitrail.recipes import yaml_text
from vitrail.recipes.problems import Problem, RecipeError, from_validation
from vitrail.registry import nearest

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe

Overrides = Iterable[str] | Mapping[str, Any]


def shipped() -> dict[str, str]:
    """The names of the recipes inside the package, each with its one line of description."""
    folder = resources.files("vitrail.recipes") / "shipped"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            value = yaml_text.parse(entry.read_text(encoding="utf-8"), entry.name).value
            found[entry.name.removesuffix(".yaml")] = str(value.get("about", "")).strip()
    return found


def text_of(recipe: str | Path) -> tuple[str, str, Path | None]:
    """The YAML text of a recipe, a label for messages, and the file's folder (None for shipped ones).

    ``recipe`` is a shipped name, a file, or a run folder (its ``recipe.yaml``). ValueError names the nearest.
    """
    path = Path(recipe)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        from vitrail.storage.runs import RunFolder

        return yaml_text.dump(RunFolder(path).recipe()), str(path / "recipe.yaml"), None
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8"), str(path), path.parent
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: a recipe is a text file in UTF-8; byte {error.start} is not") from None
    file = resources.files("vitrail.recipes") / "shipped" / f"{recipe}.yaml"
    if "/" not in str(recipe) and file.is_file():
        return file.read_text(encoding="utf-8"), str(recipe), None
    if path.suffix in (".yaml", ".yml"):
        beside = [str(entry) for entry in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(str(path), beside, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "check the path"
        raise ValueError(f"there is no recipe file {path}; {hint}")
    raise ValueError(
        f"no recipe is called {str(recipe)!r}; {nearest(str(recipe), sorted(shipped()))} "
        "A file of your own is given by its path, for example ./mine.yaml"
    )


def load(recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Overrides = ()) -> Recipe:
    """Read, override and check a recipe. RecipeError (a ValueError) lists every fault with line and remedy.

    Relative paths in a file (``path``, ``root`` and ``kenlm`` of ``data``, a teacher's ``.yaml`` recipe;
    ``model.path``, ``model.recipe``, those of ``model.deltas``, ``model.language.tokenizer`` and a teacher's path when
    they begin with ``.``) are relative to that file; those in overrides to the current folder.
    """
    from vitrail.recipes.schema import Recipe

    lines: Mapping[yaml_text.Path, int] = {}
    label = "recipe"
    if isinstance(recipe, Recipe):
        raw: Any = recipe.model_dump(mode="json")
    elif isinstance(recipe, Mapping):
        raw = dict(recipe)
    else:
        text, label, folder = text_of(recipe)
        parsed = yaml_text.parse(text, label)
        raw, lines = parsed.value, parsed.lines
        if isinstance(raw, dict) and folder is not None:
            _rebase(raw, folder)
    if not isinstance(raw, dict):
        raise RecipeError(
            [Problem("", f"a recipe is a mapping with a name and a model, not {raw!r:.60}", label)]
        )
    try:
        raw, overridden = override_text.apply(raw, overrides)
    except ValueError as error:
        raise RecipeError([Problem("", str(error))]) from None
    return _validate(raw, label, lines, overridden)


def _validate(raw: Any, label: str, lines: Mapping[yaml_text.Path, int], overridden: set) -> Recipe:
    from pydantic import ValidationError

    from vitrail.recipes.schema import Recipe

    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(from_validation(error, Recipe, raw, label, lines, overridden)) from None


def _rebase(raw: dict[str, Any], folder: Path) -> None:
    sources = raw.get("data")
    holders = list(sources.values()) if isinstance(sources, dict) else []
    model = raw.get("model")
    if isinstance(model, str) and model.startswith("."):
        raw["model"] = str(folder / model)
    elif isinstance(model, dict) and str(model.get("path", "")).startswith("."):
        holders.append(model)
    language = model.get("language") if isinstance(model, dict) else None
    if isinstance(language, dict) and str(language.get("tokenizer", "")).startswith("."):
        language["tokenizer"] = str(folder / language["tokenizer"])
    if isinstance(model, dict):
        _rebase_weights(model, folder)
    for holder in holders:
        for field in ("path", "root", "kenlm"):
            if isinstance(holder, dict) and isinstance(holder.get(field), str):
                holder[field] = str(folder / holder[field])
    stages = raw.get("stages")
    for stage in stages if isinstance(stages, list) else ():
        _rebase_teachers(stage.get("objective") if isinstance(stage, dict) else None, folder)
    _rebase_partners(raw.get("loop"), folder)


def _rebase_partners(loop: Any, folder: Path) -> None:
    """The models that a loop asks, and files that its parts read, where their paths begin with ``.``."""
    for part in loop.values() if isinstance(loop, dict) else ():
        for field in ("who", "there", "back", "wordnet") if isinstance(part, dict) else ():
            if isinstance(part.get(field), str) and part[field].startswith("."):
                part[field] = str(folder / part[field])


def _rebase_teachers(objective: Any, folder: Path) -> None:
    """The teachers that a stage's objectives name: their paths, their recipes' files, paths in recipes written out."""
    if isinstance(objective, list):
        for one in objective:
            _rebase_teachers(one, folder)
        return
    teacher = objective.get("teacher") if isinstance(objective, dict) else None
    if isinstance(teacher, str) and teacher.startswith("."):
        objective["teacher"] = str(folder / teacher)
    elif isinstance(teacher, dict):
        path, recipe = teacher.get("path"), teacher.get("recipe")
        if isinstance(path, str) and path.startswith("."):
            teacher["path"] = str(folder / path)
        if isinstance(recipe, dict):
            _rebase(recipe, folder)
        elif isinstance(recipe, str) and (recipe.startswith(".") or recipe.endswith((".yaml", ".yml"))):
            teacher["recipe"] = str(folder / recipe)


def _rebase_weights(model: dict[str, Any], folder: Path) -> None:
    """Paths of what a model begins with or gets added, where they begin with ``.``."""

    def rebased(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: rebased(inner) if name in ("path", "recipe") else inner for name, inner in value.items()
            }
        return str(folder / value) if isinstance(value, str) and value.startswith(".") else value

    if isinstance(model.get("recipe"), str):
        model["recipe"] = rebased(model["recipe"])
    for delta in model.get("deltas") or ():
        if isinstance(delta, dict):
            delta |= {name: rebased(delta[name]) for name in ("plus", "minus", "saved") if name in delta}


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML: every field, defaults included; fields empty by default are left out.

    Reading it back gives an equal recipe.
    """
    return yaml_text.dump(plain(recipe))


def plain(value: Any) -> Any:
    """Nested plain values of a recipe or a part of one, without fields that are None by default."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        fields = {
            name: getattr(value, name)
            for name, field in type(value).model_fields.items()
            if getattr(value, name) is not None or field.is_required() or field.default is not None
        }
        return {name: plain(inner) for name, inner in {**fields, **(value.model_extra or {})}.items()}
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
