"""Which skill helps which: the skills graph of Skill-It (arXiv 2307.14430), and learning it.

``A[i, j]``, k training skills by m evaluated ones: the influence of training on skill i on the loss of skill j. It may
be binary or weighted, and negative where training on i harms j.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

NEARLY = 0.02
"""A share of edges below this, or above one minus it, is no order to exploit."""


class SkillGraph:
    """The graph with the names of its rows and columns.

    ValueError for another shape, entries that are no finite numbers, and names that occur twice; a warning where no
    entry is above zero, or (nearly) all or none of the edges are there.
    """

    def __init__(
        self,
        matrix: Sequence[Sequence[float]] | np.ndarray,
        train_skills: Sequence[str],
        eval_skills: Sequence[str] | None = None,
    ) -> None:
        self.train_skills = list(train_skills)
        self.eval_skills = list(train_skills if eval_skills is None else eval_skills)
        for what, names in (("training", self.train_skills), ("evaluated", self.eval_skills)):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"the {what} skill {twice!r} is named twice; give each its own name")
        try:
            self.matrix: Float[np.ndarray, "train evaluated"] = np.array(matrix, dtype=np.float64)
        except ValueError:
            raise ValueError(
                "graph: its rows have different lengths; give one number for each evaluated skill"
            ) from None
        expected = (len(self.train_skills), len(self.eval_skills))
        if self.matrix.shape != expected:
            raise ValueError(
                f"graph has the shape {self.matrix.shape}; it needs a row for each training skill and a column for "
                f"each evaluated one: {expected}"
            )
        if not np.isfinite(self.matrix).all():
            i, j = np.argwhere(~np.isfinite(self.matrix))[0]
            raise ValueError(f"graph[{i}][{j}] is {self.matrix[i, j]}; give a finite number")
        self._warn()

    def _warn(self) -> None:
        if not (self.matrix > 0).any():
            warnings.warn(
                "no skill of the graph helps another or itself: the mixture will not follow the losses",
                stacklevel=3,
            )
        elif self.square and len(self.train_skills) > 1 and not NEARLY <= self.density <= 1 - NEARLY:
            what = (
                "nearly every skill helps every other"
                if self.density > 0.5
                else "hardly a skill helps another"
            )
            warnings.warn(f"{what}: there is no order to exploit in this graph", stacklevel=3)

    @property
    def square(self) -> bool:
        """Whether what is trained is what is evaluated."""
        return self.train_skills == self.eval_skills

    @property
    def density(self) -> float:
        """The share of edges between different skills (of a square graph) that are there."""
        k = len(self.train_skills)
        off = (self.matrix != 0) & ~np.eye(k, dtype=bool)
        return float(off.sum() / max(k * (k - 1), 1))

    @property
    def binary(self) -> bool:
        """Whether every entry is 0 or 1."""
        return bool(np.isin(self.matrix, (0.0, 1.0)).all())

    def damped(self) -> SkillGraph:
        """A binary square graph as it is used: the diagonal 1, other edges 0.5. A weighted one stays as it is."""
        if not (self.binary and self.square):
            return self
        changed = 0.5 * self.matrix
        np.fill_diagonal(changed, 1.0)
        return _quietly(changed, self)

    def columns(self, targets: Sequence[str]) -> SkillGraph:
        """Only the evaluated skills ``targets``. ValueError for one that the graph does not have."""
        unknown = [name for name in targets if name not in self.eval_skills]
        if unknown:
            raise ValueError(
                f"the graph has no evaluated skill {unknown[0]!r}; it has {', '.join(self.eval_skills)}"
            )
        places = [self.eval_skills.index(name) for name in targets]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SkillGraph(self.matrix[:, places], self.train_skills, list(targets))

    def isolated(self) -> np.ndarray:
        """``(train,)``: training skills of a square graph without an edge to or from another one."""
        if not self.square:
            return ~(self.matrix != 0).any(axis=1)
        off = (self.matrix != 0) & ~np.eye(len(self.train_skills), dtype=bool)
        return ~(off.any(axis=0) | off.any(axis=1))

    @classmethod
    def learn(
        cls,
        train: Callable[[dict[str, float], int, int], Any],
        evaluate: Callable[[Any], dict[str, float]],
        train_skills: Sequence[str],
        eval_skills: Sequence[str] | None = None,
        *,
        method: Literal["linear", "pairwise"] = "linear",
        steps: int,
        seeds: Sequence[int] = (0,),
        binary: bool = False,
        signed: bool = True,
    ) -> SkillGraph:
        """Measure a graph with short runs.

        ``train(mixture, steps, seed)`` trains a fresh model on skills in these shares, for so many steps, and gives it;
        ``evaluate(model)`` gives its loss on each skill. ``linear``: one run a training skill, ``A[i, j]`` the loss of
        j before less that after training on i (``train`` is called with 0 steps for the former). ``pairwise``: for each
        ordered pair a run on j alone and one on i and j in equal shares, at equal steps; ``A[i, j]`` is how much lower
        the loss of j is with i, if it is. ``signed``: harm counts as a negative entry (``linear`` alone). ``binary``:
        1 where the entry is above 0. The mean over ``seeds``.
        """
        names = list(train_skills)
        ends = list(names if eval_skills is None else eval_skills)
        if method == "pairwise" and ends != names:
            raise ValueError(
                "method 'pairwise' compares skills that are trained and evaluated; for others use 'linear'"
            )
        if steps < 1:
            raise ValueError(f"steps is {steps}; a graph is learnt from runs of 1 step at least")
        found = np.zeros((len(names), len(ends)))
        for seed in seeds:
            measured = _linear if method == "linear" else _pairwise
            found += measured(train, evaluate, names, ends, steps, seed) / len(seeds)
        if not signed:
            found = np.maximum(found, 0.0)
        return cls((found > 0).astype(float) if binary else found, names, ends)


def _linear(
    train: Any, evaluate: Any, names: list[str], ends: list[str], steps: int, seed: int
) -> np.ndarray:
    before = evaluate(train({names[0]: 1.0}, 0, seed))
    rows = []
    for name in names:
        after = evaluate(train({name: 1.0}, steps, seed))
        rows.append([before[end] - after[end] for end in ends])
    return np.array(rows)


def _pairwise(
    train: Any, evaluate: Any, names: list[str], ends: list[str], steps: int, seed: int
) -> np.ndarray:
    before = evaluate(train({names[0]: 1.0}, 0, seed))
    alone = {name: evaluate(train({name: 1.0}, steps, seed))[name] for name in names}
    found = np.zeros((len(names), len(ends)))
    for j, end in enumerate(ends):
        for i, name in enumerate(names):
            if i == j:
                found[i, j] = max(before[end] - alone[end], 0.0)
            else:
                both = evaluate(train({name: 0.5, end: 0.5}, steps, seed))[end]
                found[i, j] = max(alone[end] - both, 0.0)
    return found


def _quietly(matrix: np.ndarray, like: SkillGraph) -> SkillGraph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SkillGraph(matrix, like.train_skills, like.eval_skills)
