"""A task as a folder that lmms-eval runs, and a file of answers as the files that lmms-eval writes.

The folder holds ``<name>.yaml``, ``questions.py`` and ``reading.py`` (plain Python, without vitrail), and
``data/test.parquet`` with pictures inside, whose rows are questions as the task's instruction puts them. Answers are
read there as here, so that an answer counts alike. After lmms-eval's task guide (version 0.7): ``doc_to_messages``,
``process_results``, ``!function file.name``; its samples carry ``doc_id``, ``filtered_resps``, ``target``.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from vitrail.data.records import Chat, Image
from vitrail.data.sources import Source
from vitrail.evaluation.answers import Answers
from vitrail.evaluation.exchange.portable import Exported, Portable, picture_bytes, portable_questions
from vitrail.evaluation.scores import score
from vitrail.evaluation.task import Task
from vitrail.storage.atomic import new_folder, write_json, write_text
from vitrail.storage.cache import key

DATA = Path("data") / "test.parquet"
ROWS = 64
"""Rows of a row group: pictures are inside."""
VERSION = 1.0
FEATURES = {
    "vitrail_id": {"dtype": "string", "_type": "Value"},
    "kind": {"dtype": "string", "_type": "Value"},
    "messages": {"dtype": "string", "_type": "Value"},
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "options": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    "answer": {"dtype": "int64", "_type": "Value"},
    "reference": {"dtype": "string", "_type": "Value"},
    "target": {"dtype": "string", "_type": "Value"},
}


def export_task(task: Task, source: Source, out: Path) -> Exported:
    """Write the folder ``out``, which must not be there.

    ValueError where the task is not one in words, no question can be asked, or the folder is there.
    """
    out = Path(out).resolve()
    if out.exists():
        raise ValueError(f"{out} is there already; give another folder, or remove it")
    left_out: list[str] = []
    with new_folder(out) as place:
        (place / DATA.parent).mkdir()
        count = _write_rows(task, source, left_out, place / DATA)
        if not count:
            raise ValueError(
                f"{source.name} has no question that can be exported ({left_out[0] if left_out else 'it is empty'})"
            )
        package = resources.files("vitrail.evaluation")
        (place / "questions.py").write_text(
            (package / "exchange" / "lmms_eval_questions.txt").read_text("utf-8")
        )
        (place / "reading.py").write_text((package / "reading.py").read_text("utf-8"))
        (place / f"{task.name}.yaml").write_text(_yaml(task, out))
        (place / "metric.json").write_text(json.dumps(task.metric, indent=1) + "\n")
    return Exported(out, count, left_out)


def _yaml(task: Task, out: Path) -> str:
    """lmms-eval resolves no path against the YAML, so that the data's is absolute."""
    settings = task.inferencer
    told = {
        "task": task.name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(out / DATA)}},
        "test_split": "test",
        "output_type": "generate_until",
        "generation_kwargs": {
            "max_new_tokens": settings["max_new_tokens"],
            "temperature": settings["temperature"],
            "num_beams": settings["num_beams"],
            "do_sample": settings["temperature"] > 0,
            "until": [],
        },
        "doc_to_target": "target",
        "metadata": [{"version": VERSION, "fingerprint": key(json.dumps(task.model_dump(mode="json")))}],
    }
    functions = ("doc_to_messages", "doc_to_visual", "doc_to_text", "process_results")
    lines = [f"# Run with: --include_path {out} --tasks {task.name}. Moved? Correct data_files.\n"]
    lines += [f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in told.items()]
    lines += [f"{name}: !function questions.{name}\n" for name in functions]
    lines.append("metric_list:\n")
    for metric, better in (("accuracy", "true"), ("unparsed", "false")):
        lines += [
            f"  - metric: {metric}\n",
            f"    aggregation: !function questions.{metric}\n",
            f"    higher_is_better: {better}\n",
        ]
    return "".join(lines)


def _write_rows(task: Task, source: Source, left_out: list[str], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {"images": pa.list_(picture), "options": pa.list_(pa.string()), "answer": pa.int64()}
    features = json.dumps({"info": {"features": FEATURES}})
    schema = pa.schema(
        [(name, kinds.get(name, pa.string())) for name in FEATURES], metadata={"huggingface": features}
    )
    count, rows = 0, []
    with parquet.ParquetWriter(path, schema) as writer:
        for one in portable_questions(task, source, left_out):
            rows.append(_row(one))
            count += 1
            if len(rows) == ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return count


def _row(one: Portable) -> dict[str, Any]:
    item = one.item
    messages, pictures = _messages(one.chat, item.root)
    target = item.options[item.answer] if item.answer is not None else item.reference
    return {
        "vitrail_id": item.id,
        "kind": item.kind,
        "messages": json.dumps(messages, ensure_ascii=False),
        "images": [{"bytes": raw, "path": None} for raw in pictures],
        "options": list(item.options),
        "answer": item.answer,
        "reference": item.reference,
        "target": target,
    }


def _messages(chat: Chat, root: Path | None) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The turns, pictures by their number; and the pictures."""
    pictures: list[bytes] = []
    turns = []
    for message in chat.messages:
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, Image):
                parts.append({"type": "image", "index": len(pictures)})
                pictures.append(picture_bytes(part, root))
            else:
                parts.append({"type": "text", "text": part.text})  # type: ignore[union-attr]
        turns.append({"role": message.role, "content": parts})
    return turns, pictures


def export_answers(answers: Answers, out: Path) -> Exported:
    """Write ``vitrail_samples_<task>.jsonl`` and ``vitrail_results.json`` into ``out``, as lmms-eval's.

    ValueError for answers that are rankings: samples hold texts.
    """
    rows = [row for row in answers.rows if "text" in row]
    if not rows:
        raise ValueError(f"{answers.path} holds no answer in words; lmms-eval's samples are texts")
    name, found = answers.header["task"]["name"], score(answers.path)
    lines = [json.dumps(_sample(row), ensure_ascii=False) + "\n" for row in rows]
    write_text(Path(out) / f"vitrail_samples_{name}.jsonl", "".join(lines))
    shares = {
        "accuracy,none": found.overall.right / found.overall.n,
        "unparsed,none": found.overall.unparsed / found.overall.n,
    }
    results = {
        "results": {name: {"alias": name, **shares}},
        "configs": {name: {"task": name, "metadata": [{"version": VERSION}]}},
        "versions": {name: VERSION},
        "n-samples": {name: {"original": answers.header["rows"], "effective": len(rows)}},
        "model_name": str(answers.header["model"]),
    }
    write_json(Path(out) / "vitrail_results.json", results)
    return Exported(Path(out), len(rows), [f"{row.get('id')}: {row['reason']}" for row in answers.set_aside])


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    target = row["options"][row["answer"]] if row["options"] else row["reference"]
    judged = {"vitrail_id": row["id"], "kind": row["kind"], "prediction": row["prediction"]}
    return {
        "doc_id": row["row"],
        "target": target,
        "filtered_resps": row["text"],
        "accuracy": {**judged, "score": float(row["correct"])},
        "unparsed": {**judged, "score": float(not row["parsed"])},
    }
