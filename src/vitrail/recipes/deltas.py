"""Weights that a recipe adds to its model: ``model.deltas``.

::

    model:
      path: refreshed-base
      deltas: [{plus: instruct, minus: base}]               # a model made by arithmetic; training begins with it
    model:
      path: base
      deltas: [{plus: instruct, minus: base, when: end}]    # added when the last stage is over: instruction residuals
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vitrail.recipes.trained import Origin

if TYPE_CHECKING:
    from vitrail.models.weights.difference import AnyDifference
    from vitrail.training.progress import Progress


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Delta(BaseModel):
    """``scale`` × (``plus`` − ``minus``), or × a difference that was ``saved`` (a folder of ``vitrail weights diff``).

    ``plus`` and ``minus``: folders, hub names, or ``{recipe: …}`` of models that are trained once. ``only`` and
    ``exclude``: beginnings of tensors' names, or patterns with ``*``; ``into`` is put in front of names
    (``language_model.``). ``when``: before training, or after the last stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    plus: Origin | None = None
    minus: Origin | None = None
    saved: str | None = Field(default=None, min_length=1)
    scale: float = Field(default=1.0, allow_inf_nan=False)
    only: Names = ()
    exclude: Names = ()
    into: str = ""
    when: Literal["start", "end"] = "start"

    @model_validator(mode="after")
    def _one_way(self) -> Delta:
        pair = [name for name in ("plus", "minus") if getattr(self, name) is not None]
        if self.saved is not None and (pair or self.only or self.exclude):
            other = pair[0] if pair else "only" if self.only else "exclude"
            raise ValueError(f"a saved difference has its own {other!r}; remove one of the two")
        if self.saved is None and len(pair) != 2:
            raise ValueError("a difference needs plus and minus, or saved; give both sides")
        if self.scale == 0:
            raise ValueError("scale is 0, so that nothing is added; leave the difference out")
        return self


def opened(deltas: Sequence[Delta], progress: Progress | None = None) -> list[AnyDifference]:
    """The differences, checked. ValueError names the one that cannot be taken."""
    from vitrail.models.weights.checkpoint import Checkpoint
    from vitrail.models.weights.difference import Difference, SavedDifference

    found: list[AnyDifference] = []
    for position, one in enumerate(deltas):
        try:
            if one.saved is not None:
                found.append(SavedDifference.open(one.saved, one.scale, one.into))
                continue
            assert one.plus is not None and one.minus is not None
            plus, minus = (Checkpoint.open(side.place(progress)) for side in (one.plus, one.minus))
            found.append(Difference(plus, minus, one.scale, one.only, one.exclude, one.into))
        except ValueError as error:
            raise ValueError(f"model.deltas.{position}: {error}") from None
    return found


def at_start(path: str, deltas: Sequence[Delta], progress: Progress | None = None) -> str:
    """The folder of ``path`` with what is added at the start; made once, kept in the cache by content."""
    from vitrail.models.weights.checkpoint import Checkpoint
    from vitrail.models.weights.streaming import fit, write_added
    from vitrail.storage.cache import FolderCache, key

    base = Checkpoint.open(path)
    differences = opened([one for one in deltas if one.when == "start"], progress)
    _tell(_fitted(fit, base, differences), progress)
    terms = [[one.fingerprint, one.scale, one.into] for one in differences]
    name = key("sum of weights", base.fingerprint, terms)

    def make(folder: Path) -> None:
        write_added(base, differences, folder)

    return str(FolderCache().get_or_make(name, make))


def check_end(path: str | None, deltas: Sequence[Delta], progress: Progress | None = None) -> None:
    """Before anything is spent: whether what is added at the end can be, where the model is a ready one."""
    from vitrail.models.weights.checkpoint import Checkpoint
    from vitrail.models.weights.streaming import fit

    ends = [one for one in deltas if one.when == "end"]
    if ends and path is not None:
        _tell(_fitted(fit, Checkpoint.open(path), opened(ends, progress)), progress)


def at_end(bundle: Any, deltas: Sequence[Delta], out: Path, dtype: str, progress: Progress) -> Any:
    """Save ``bundle`` as ``out`` with what is added at the end, rounded once to ``dtype``; the bundle of the sum."""
    import shutil

    from vitrail.models.loading import load
    from vitrail.models.weights.checkpoint import Checkpoint
    from vitrail.models.weights.streaming import add

    before = out.with_name(f"{out.name}-before-sum")
    shutil.rmtree(before, ignore_errors=True)  # of a killed process
    bundle.save(before)
    differences = opened([one for one in deltas if one.when == "end"])
    done = add(Checkpoint.open(before), differences, out, dtype=dtype)
    shutil.rmtree(before)
    progress.note(f"weights added: {done.changed:,} of {done.tensors:,} tensors changed")
    return load(out)


def _fitted(fit: Any, base: Any, differences: Any) -> list[str]:
    try:
        found: list[str] = fit(base, differences)
        return found
    except ValueError as error:
        raise ValueError(f"model.deltas: {error}") from None


def _tell(notes: Sequence[str], progress: Progress | None) -> None:
    for note in notes if progress is not None else ():
        progress.note(note)  # type: ignore[union-attr]
