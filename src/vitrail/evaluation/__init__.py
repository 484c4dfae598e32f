"""Measuring a model in ChEF's four parts: scenario, instruction, inferencer, metric.

:func:`run_task` asks and appends every answer to a file; :func:`score` and :func:`compare` are pure functions
of such files.
"""

from vitrail.evaluation.compare import Comparison, compare
from vitrail.evaluation.run import run_task
from vitrail.evaluation.scores import Scores, score
from vitrail.evaluation.task import Task

__all__ = ["Comparison", "Scores", "Task", "compare", "run_task", "score"]
