"""Answers that another tool had a model give, as a file of answers here: scored, compared and audited like our own.

Read are SEED-Bench's and MMR's result lines (``question_id`` with ``prediction`` or ``text``), lmms-eval's samples
(``doc_id``, the row of the data set, with ``filtered_resps`` or ``resps``), and VLMEvalKit's predictions (a TSV or
CSV with ``index`` and ``prediction``). A prediction is read as an answer in words is, by the metric ``match``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.sources import Source, set_aside_of
from vitrail.evaluation.answers import open_answers
from vitrail.evaluation.metrics import Match
from vitrail.evaluation.run import PROTOCOL
from vitrail.evaluation.scenarios import Item, as_item
from vitrail.evaluation.task import Task
from vitrail.storage.cache import file_digest, key

IDS = ("question_id", "id", "index")
TEXTS = ("prediction", "text", "filtered_resps", "resps", "answer")
ROW, OWN = "doc_id", "vitrail_id"


def read_predictions(path: Path | str) -> dict[str | int, str]:
    """The text of each prediction by its question's id, or by its row (a number) in lmms-eval's samples.

    ValueError naming the line for one without an id or a prediction, or an id that is there twice with another text.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file of predictions {path}")
    found: dict[str | int, str] = {}
    for line, row in rows_of(path):
        name, text = identity_of(row), text_of(row)
        if name is None or text is None:
            raise ValueError(
                f"{path.name}, line {line}: needs one of {', '.join((*IDS, ROW))} and one of {', '.join(TEXTS)}; it "
                f"has {', '.join(row) or 'nothing'}"
            )
        if found.setdefault(name, text) != text:
            raise ValueError(f"{path.name}, line {line}: {name!r} is there twice, with another prediction")
    if not found:
        raise ValueError(f"{path.name} holds no prediction")
    return found


def identity_of(row: Mapping[str, Any]) -> str | int | None:
    """Our own id, which the judgements of an exported task carry; else lmms-eval's row; else an id."""
    judged = row.get("accuracy")
    if isinstance(judged, dict) and isinstance(judged.get(OWN), str):
        return str(judged[OWN])
    if isinstance(row.get(ROW), int):
        return int(row[ROW])
    found = _first(row, IDS)
    return None if found is None else str(found)


def rows_of(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a TSV, a CSV, JSON lines or a JSON array, with their lines. ValueError for a line that is no object."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() in (".tsv", ".csv"):
        table = csv.DictReader(
            io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ","
        )
        yield from enumerate(table, start=2)
        return
    if text.lstrip().startswith("["):
        yield from enumerate(json.loads(text), start=1)
        return
    for line, raw in enumerate(text.splitlines(), start=1):
        if raw.strip():
            try:
                row = json.loads(raw)
            except ValueError as error:
                raise ValueError(f"{path.name}, line {line} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{path.name}, line {line}: must be an object, but it is {shown(row)}")
            yield line, row


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def text_of(row: Mapping[str, Any]) -> str | None:
    """What a row of another tool says; None where it says nothing that is a text."""
    value = _first(row, TEXTS)
    while isinstance(value, list) and value:
        value = value[0]
    return None if value is None or isinstance(value, (list, dict)) else str(value)


def import_predictions(
    task: Task, source: Source, predictions: Path | str, folder: Path | str, condition: str = "imported"
) -> Path:
    """Write ``<folder>/<task>/<condition>.jsonl`` from another tool's predictions; returns it.

    The task's metric must be ``match``, whose reading says how letters and texts are understood. Questions without a
    prediction are set aside. ValueError for predictions of which none belongs to a question of ``source``.
    """
    metric = task.part("metric")
    if not isinstance(metric, Match):
        raise ValueError(
            f"task {task.name!r} judges a ranking; predictions are texts, so use the metric 'match'"
        )
    said = read_predictions(predictions)
    path = Path(folder) / task.name / f"{condition}.jsonl"
    entries = [_entry(source, row, said, metric) for row in range(len(source))]
    if not any(entry["type"] == "answer" for entry in entries):
        first = next(iter(said))
        raise ValueError(
            f"{Path(predictions).name}: no prediction (the first is for {first!r}) belongs to a question of "
            f"{source.name}"
        )
    with open_answers(path, _header(task, source, Path(predictions), condition)) as log:
        seen = log.seen()
        for bad in set_aside_of(source).rows:
            if f"line:{bad.line}" not in seen:
                reason = f"{bad.field}: {bad.reason}" if bad.field else bad.reason
                log.append(
                    {
                        "key": f"line:{bad.line}",
                        "type": "unread",
                        "line": bad.line,
                        "id": bad.id,
                        "reason": reason,
                    }
                )
        for entry in entries:
            if entry["key"] not in seen:
                log.append(entry)
    return path


def _entry(source: Source, row: int, said: Mapping[str | int, str], metric: Match) -> dict[str, Any]:
    place: dict[str, Any] = {"key": f"row:{row}", "row": row}
    try:
        item = as_item(source[row], row, source.root)
    except (ValueError, OSError, FieldError) as error:
        return {**place, "type": "set_aside", "id": f"row-{row}", "reason": " ".join(str(error).split())}
    text = said.get(item.id, said.get(row))
    if text is None:
        told = {"kind": item.kind, **({"groups": dict(item.groups)} if item.groups else {})}
        return {**place, "type": "set_aside", "id": item.id, **told, "reason": "has no prediction"}
    return {**place, "type": "answer", **_judged(item, text, metric)}


def _judged(item: Item, text: str, metric: Match) -> dict[str, Any]:
    row = {
        "id": item.id,
        "kind": item.kind,
        "cluster": item.cluster,
        "names": item.names,
        "options": list(item.options),
        "answer": item.answer,
        "reference": item.reference,
        **({"groups": dict(item.groups)} if item.groups else {}),
        "text": text,
        "finished": True,
    }
    return {**row, **metric.judge(row)._asdict()}


def _header(task: Task, source: Source, predictions: Path, condition: str) -> dict[str, Any]:
    values = {name: getattr(source, name, None) for name in PROTOCOL}
    digest = file_digest(predictions)
    plain = task.model_dump(mode="json")
    return {
        "task": plain,
        "condition": condition,
        "model": predictions.name,
        "source": source.name,
        "rows": len(source),
        **{name: value for name, value in values.items() if isinstance(value, (str, int)) and value},
        "fingerprints": {
            "scenario": source.fingerprint,
            "prompt": "imported",
            "inferencer": "imported",
            "metric": key(json.dumps(plain["metric"], sort_keys=True)),
            "processor": "imported",
            "model": digest,
            "transform": "as_is",
        },
        "run": {},
    }
