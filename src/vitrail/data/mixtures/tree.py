"""A mixture of mixtures as a tree: its leaves with their shares of the whole, and its picture in text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Node:
    """A source, or a mixture of ``children`` with their ``shares`` (which sum to one)."""

    name: str
    children: tuple[Node, ...] = ()
    shares: tuple[float, ...] = ()
    about: str = ""

    def leaves(self) -> list[str]:
        """The names of the sources below, in order."""
        return (
            [self.name] if not self.children else [name for child in self.children for name in child.leaves()]
        )

    def leaf_shares(self, shares: np.ndarray | None = None) -> np.ndarray:
        """The share of each leaf in the whole; ``shares`` replace those of this node's children."""
        if not self.children:
            return np.ones(1)
        own = np.asarray(self.shares if shares is None else shares, dtype=np.float64)
        return np.concatenate(
            [share * child.leaf_shares() for share, child in zip(own, self.children, strict=True)]
        )

    def text(self, sizes: dict[str, str] | None = None) -> str:
        """The tree, a line a node: its share of what it belongs to, and of the whole; ``sizes`` says more of leaves."""
        lines = [f"{self.name}{self._said(sizes)}"]
        lines += list(self._lines("", 1.0, sizes or {}))
        return "\n".join(lines)

    def _said(self, sizes: dict[str, str] | None) -> str:
        said = ", ".join(filter(None, (self.about, (sizes or {}).get(self.name, ""))))
        return f"  ({said})" if said else ""

    def _lines(self, indent: str, whole: float, sizes: dict[str, str]) -> Iterator[str]:
        for number, (child, share) in enumerate(zip(self.children, self.shares, strict=True)):
            last = number == len(self.children) - 1
            of_all = share * whole
            total = f", {100 * of_all:.1f} % of all" if whole < 1 else ""
            yield f"{indent}{'└─' if last else '├─'} {100 * share:5.1f} %{total}  {child.name}{child._said(sizes)}"
            yield from child._lines(indent + ("   " if last else "│  "), of_all, sizes)
