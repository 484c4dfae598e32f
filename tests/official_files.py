"""Official layouts of benchmarks, written as small as they go: every file and field that a loader reads."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import picture

TEXTS = ("a cat", "two red dogs", "a house", "the sea")


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed).bytes)


def seed_row(number: int, **changes) -> dict:
    """A row of SEED-Bench.json about a picture."""
    row = {
        "answer": "ABCD"[number % 4],
        **{f"choice_{letter}": text for letter, text in zip("abcd", TEXTS, strict=True)},
        "data_id": f"14544{number}_2591",
        "data_type": "image",
        "question": f"What is shown in picture {number}?",
        "question_id": str(101669 + number),
        "question_type_id": 1 + number % 9,
    }
    return {**row, **changes}


def seed_bench(folder: Path, rows: list[dict]) -> Path:
    """SEED-Bench.json and the pictures of its rows (named without an ending)."""
    for number, row in enumerate(rows):
        if row.get("data_type") == "image":
            write_picture(folder / "SEED-Bench-image" / row["data_id"], number)
    write_json(folder / "SEED-Bench.json", {"questions": rows, "question_type": {"Scene Understanding": 1}})
    return folder
