"""How far two checkpoints lie apart, by groups of tensors."""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.models.weights.difference import Difference, pieces


@dataclass(frozen=True)
class Norm:
    """Of a group of tensors: ‖plus − minus‖, that as a share of ‖minus‖, and the share of values that are equal."""

    module: str
    norm: float
    relative: float
    unchanged: float


def norms(difference: Difference, depth: int = 3) -> list[Norm]:
    """By the first ``depth`` parts of names, numbers of layers included; the last row is of all."""
    sums: dict[str, list[float]] = {}
    rows, read = difference.opened(), difference.minus.reader()
    for name in difference.names:
        shape, own = difference.info(name).shape, difference.minus.tensors[name].shape
        group = ".".join(name.split(".")[:depth])
        for place in pieces(shape):
            piece = rows.piece(name, place)
            if place is None:
                under = read(name).double()
            else:
                under = read.rows(name, min(place.start, own[0]), min(place.stop, own[0])).double()
            more = [
                float(piece.square().sum()),
                float(under.square().sum()),
                float((piece == 0).sum()),
                piece.numel(),
            ]
            for key in (group, "all"):
                sums[key] = [a + b for a, b in zip(sums.get(key, [0.0] * 4), more, strict=True)]
    everything = sums.pop("all")
    return [_norm(name, values) for name, values in [*sums.items(), ("all", everything)]]


def _norm(name: str, sums: list[float]) -> Norm:
    squares, under, equal, count = sums
    relative = (squares / under) ** 0.5 if under else 0.0
    return Norm(name, squares**0.5, relative, equal / count if count else 1.0)
