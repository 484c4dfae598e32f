"""What objectives with a teacher share: the teacher's call, its place in a resumed stage, its absence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vitrail.objectives.objective import Objective
from vitrail.objectives.teacher import Teacher


class Distilled(Objective):
    """An objective with one frozen :class:`~vitrail.objectives.teacher.Teacher`.

    ``teacher_mark`` is saved with a stage's checkpoints, so that a stage that goes on with another teacher is refused.
    """

    teacher_mark: Tensor

    def __init__(self, teacher: Teacher | None) -> None:
        super().__init__()
        self._teacher = teacher
        self._mark: int | None = None
        self.register_buffer("teacher_mark", torch.zeros(1, dtype=torch.int64))

    @property
    def teacher(self) -> Teacher:
        """The teacher. ValueError where none was given."""
        if self._teacher is None:
            raise ValueError(
                "this objective has no teacher; build it with teacher=Teacher.of(bundle, student)"
            )
        if self._mark is None:
            self._mark = self._teacher.mark()
            self._check_mark(self._mark)
        elif not int(self.teacher_mark):  # put back after steps that only measured
            self.teacher_mark.fill_(self._mark)
        return self._teacher

    def _check_mark(self, mark: int) -> None:
        known = int(self.teacher_mark)
        if known not in (0, mark):
            raise ValueError(
                f"this stage was begun with another teacher than {self._teacher.name}; give it the same weights, "  # type: ignore[union-attr]
                "choose another folder, or remove this one to start again"
            )
        self.teacher_mark.fill_(mark)

    def teachers(self) -> Sequence[Teacher]:
        """The one teacher, where it is asked at all."""
        return [self._teacher] if self._teacher is not None and self.asks else []

    @property
    def asks(self) -> bool:
        """Whether the settings ever ask the teacher."""
        return True
