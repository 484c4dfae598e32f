"""Answers judged again by another metric, or read in another way, without asking: a file of answers holds all it needs.

What was answered stays as it is; what each row was read as, and whether it is right, is new, and the header has the
fingerprint of the new metric. The rows could be asked under no other instruction or inferencer: these made the answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import Answers
from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Task
from vitrail.storage.atomic import write_text
from vitrail.storage.cache import key


def rejudged(answers: Answers, metric: str | Mapping[str, Any]) -> Answers:
    """The same answers under ``metric`` (its name, or that and settings), as a run with it would have judged them.

    ValueError for a metric that needs something else than what was answered.
    """
    task = Task.model_validate({**answers.header["task"], "metric": metric})
    told, judge = task.model_dump(mode="json")["metric"], task.part("metric")
    prints = {**answers.header["fingerprints"], "metric": key(json.dumps(told, sort_keys=True))}
    header = {
        **answers.header,
        "task": {**answers.header["task"], "metric": told},
        "fingerprints": prints,
    }
    return replace(answers, header=header, rows=[_row(row, judge) for row in answers.rows])


def _row(row: Mapping[str, Any], metric: Any) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if name not in (*Judgement._fields, "loss")}
    measured = {"loss": metric.loss(plain)} if hasattr(metric, "loss") else {}
    return {**plain, **metric.judge(plain)._asdict(), **measured}


def write_answers(answers: Answers, path: Path | str) -> Path:
    """Write answers as a file that everything here reads. ValueError for a file that is there already."""
    path = Path(path)
    if path.exists():
        raise ValueError(f"{path} is there already; name another file")
    rows = sorted([*answers.set_aside, *answers.rows], key=lambda line: line.get("row", -1))
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (answers.header, *rows)))
    return path
