"""The difference of two checkpoints, as pairs of files, read piece by piece.

``R = θ_plus − θ_minus``, element by element over every parameter (embeddings, norms and head included; buffers are
none), in float64 and not rounded, after instruction residuals (Jindal et al., arXiv 2410.10739) and task arithmetic
(Ilharco et al., arXiv 2212.04089). For bfloat16 and float16 that is exact, so that ``θ_minus + R`` is ``θ_plus`` to
the bit.

Rows of the vocabulary that θ_plus alone has count as zeros in θ_minus: R carries them whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.models.weights.checkpoint import Checkpoint, Info, Reader, headers, is_buffer, selected

if TYPE_CHECKING:
    from torch import Tensor

VALUES_A_PIECE = 1 << 22
"""How many values are in memory at once, in float64."""
TOLD = "delta.json"


@dataclass(frozen=True)
class Difference:
    """``plus`` − ``minus`` of the tensors that ``only`` and ``exclude`` leave (:func:`~.checkpoint.selected`).

    ``scale`` is its factor where it is added; ``into`` is put in front of its names there (``language_model.`` for a
    language model's difference in a LLaVA). ValueError for pairs that are no two versions of one model.
    """

    plus: Checkpoint
    minus: Checkpoint
    scale: float = 1.0
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    into: str = ""
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        _refuse_scale(self.scale)
        agree(self.plus, self.minus)
        wanted = selected(self.only, self.exclude)
        chosen = tuple(name for name in self.plus.tensors if not is_buffer(name) and wanted(name))
        if not chosen:
            shown = ", ".join(list(self.plus.tensors)[:3])
            raise ValueError(
                f"only={list(self.only)} and exclude={list(self.exclude)} leave no tensor; names are such as {shown}"
            )
        object.__setattr__(self, "names", chosen)

    def info(self, name: str) -> Info:
        """Shape of the tensor ``name`` of the difference."""
        return self.plus.tensors[name]

    @cached_property
    def fingerprint(self) -> str:
        """Of both sides and of what is taken."""
        from vitrail.storage.cache import key

        return key("difference", self.plus.fingerprint, self.minus.fingerprint, list(self.names))[:16]

    @property
    def config(self) -> Any:
        """Of the side that is added."""
        return self.plus.config

    @property
    def vocabulary(self) -> int | None:
        """Rows of the vocabulary."""
        return self.plus.vocabulary

    @property
    def folder(self) -> Path:
        """Where tokenizer, chat template and generation settings lie."""
        return self.plus.folder

    def told(self) -> dict[str, Any]:
        """For a record of where weights come from."""
        return {
            "plus": self.plus.source,
            "minus": self.minus.source,
            "scale": self.scale,
            "fingerprint": self.fingerprint,
            **{name: list(value) for name in ("only", "exclude") if (value := getattr(self, name))},
            **({"into": self.into} if self.into else {}),
        }

    def opened(self) -> Rows:
        """Rows of the difference by name, in float64."""
        plus, minus = self.plus.reader(), self.minus.reader()

        def rows(name: str, start: int, stop: int) -> Tensor:
            found = plus.rows(name, start, stop).double()
            there = min(stop, self.minus.tensors[name].shape[0]) - start
            if there > 0:
                found[:there] -= minus.rows(name, start, start + there).double()
            return found

        return Rows(rows, lambda name: plus(name).double() - minus(name).double())


@dataclass(frozen=True)
class SavedDifference:
    """A difference that was written by :func:`~.streaming.write_difference`, in ``folder``."""

    folder: Path
    told_by_file: Mapping[str, Any]
    tensors: Mapping[str, Info]
    scale: float = 1.0
    into: str = ""

    @classmethod
    def open(cls, folder: str | Path, scale: float = 1.0, into: str = "") -> SavedDifference:
        """ValueError for a folder that holds none."""
        _refuse_scale(scale)
        place = Path(folder)
        if not (place / TOLD).is_file():
            raise ValueError(
                f"{folder} holds no {TOLD}: it is no difference that was saved; write one with vitrail weights diff"
            )
        told = json.loads((place / TOLD).read_text(encoding="utf-8"))
        found = {name: info for file in told["files"] for name, info in headers(place / file).items()}
        return cls(place, told, found, scale, into)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its tensors."""
        return tuple(self.tensors)

    def info(self, name: str) -> Info:
        """Shape of the tensor ``name``."""
        return self.tensors[name]

    @property
    def fingerprint(self) -> str:
        """As it was when it was written."""
        return str(self.told_by_file["fingerprint"])

    @property
    def config(self) -> Any:
        """Of the side that is added."""
        from vitrail.models.loading import load_config

        return load_config(str(self.folder))

    @property
    def vocabulary(self) -> int | None:
        """Rows of the vocabulary."""
        found: int | None = self.told_by_file["vocabulary"]
        return found

    def told(self) -> dict[str, Any]:
        """For a record of where weights come from."""
        kept = ("plus", "minus", "fingerprint", "only", "exclude")
        found = {name: self.told_by_file[name] for name in kept if name in self.told_by_file}
        return {**found, "scale": self.scale, **({"into": self.into} if self.into else {})}

    def opened(self) -> Rows:
        """Rows of the difference by name, in float64."""
        read = Reader(self)
        return Rows(lambda name, a, b: read.rows(name, a, b).double(), lambda name: read(name).double())


AnyDifference = Difference | SavedDifference


@dataclass(frozen=True)
class Rows:
    """``rows(name, start, stop)`` of a tensor, and ``whole(name)`` for one without dimensions."""

    rows: Any
    whole: Any

    def piece(self, name: str, place: slice | None) -> Tensor:
        """Some rows, or all of a tensor without dimensions."""
        found: Tensor = self.whole(name) if place is None else self.rows(name, place.start, place.stop)
        return found


def pieces(shape: tuple[int, ...], values: int | None = None) -> Iterator[slice | None]:
    """Ranges of rows of so many values each (:data:`VALUES_A_PIECE`); None for a tensor without dimensions."""
    if not shape:
        yield None
        return
    import math

    step = max(1, (VALUES_A_PIECE if values is None else values) // max(math.prod(shape[1:]), 1))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def agree(plus: Checkpoint, minus: Checkpoint) -> None:
    """ValueError if the two are not versions of one model: kind, names, shapes, tied embeddings, tokenizer."""
    one, other = plus.config.model_type, minus.config.model_type
    if one != other:
        raise ValueError(
            f"{plus.source} is {one!r} and {minus.source} {other!r}: a difference needs one architecture"
        )
    if plus.tied != minus.tied:
        tied, other = (plus, minus) if plus.tied else (minus, plus)
        raise ValueError(
            f"{tied.source} ties input and output embeddings and {other.source} does not; untie one, and save it again"
        )
    same_names(dict.fromkeys(plus.tensors), dict.fromkeys(minus.tensors), plus.source, minus.source)
    for name, info in plus.tensors.items():
        there = minus.tensors[name].shape
        if info.shape != there and not _further_rows(info.shape, plus.vocabulary, there, minus.vocabulary):
            raise ValueError(
                f"{name} is {info.shape} in {plus.source} and {there} in {minus.source}; only rows of the vocabulary "
                "may be added, by the side that is added (plus)"
            )
    from vitrail.models.weights.tokens import same_tokens

    same_tokens(plus.folder, minus.folder)


def _further_rows(
    shape: tuple[int, ...], rows: int | None, there: tuple[int, ...], fewer: int | None
) -> bool:
    """Whether a tensor differs in rows of the vocabulary alone, of which it has more."""
    counted = bool(shape) and shape[0] == rows and bool(there) and there[0] == fewer
    return counted and shape[1:] == there[1:] and shape[0] > there[0]


def same_names(names: Mapping[str, Any], others: Mapping[str, Any], one: str, other: str) -> None:
    """ValueError if the names differ, with what differs; a prefix that all have is said."""
    lacking, further = sorted(set(names) - set(others)), sorted(set(others) - set(names))
    if not lacking and not further:
        return
    if (prefix := _prefix(lacking, further)) is not None:
        raise ValueError(
            f"names in {other} begin with {prefix!r} where those in {one} do not ({prefix}{lacking[0]}); give "
            f"into={prefix!r} where the difference is added, or save both in one version of transformers"
        )
    if (prefix := _prefix(further, lacking)) is not None:
        raise ValueError(
            f"names in {one} begin with {prefix!r} where those in {other} do not ({prefix}{further[0]}); save both in "
            "one version of transformers"
        )
    where, name = (one, lacking[0]) if lacking else (other, further[0])
    raise ValueError(
        f"{len(lacking) + len(further)} tensors are in one of {one} and {other} alone, such as {name} in {where}; "
        "leave them out (only, exclude), or give two versions of one model"
    )


def _prefix(shorter: list[str], longer: list[str]) -> str | None:
    """What stands in front of every one of the shorter names among the longer ones; None if there is no such thing."""
    if not shorter:
        return None
    found = next((name for name in longer if name.endswith(f".{shorter[0]}")), None)
    prefix = None if found is None else found.removesuffix(shorter[0])
    return (
        prefix if prefix is not None and all(f"{prefix}{name}" in set(longer) for name in shorter) else None
    )


def _refuse_scale(scale: float) -> None:
    import math

    if not math.isfinite(scale):
        raise ValueError(f"scale is {scale}; give a finite number, such as 1")
