"""Official layouts of benchmarks, written as small as they go: every file and field that a loader reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import picture

FPS, LENGTH = 10, 80
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


def seed_2_row(number: int, kind: int = 1, **changes) -> dict:
    """A row of SEED-Bench_v2_level1_2_3.json."""
    level = "L1" if kind <= 22 else "L2" if kind <= 24 else "L3"
    subparts = {
        "L1": "Single-Image & Text Comprehension" if kind <= 16 else "Multiple-Images & Text Comprehension",
        "L2": "Interleaved Image & Text Comprehension",
        "L3": "Image Generation",
    }
    row = {
        "answer": "ABCD"[number % 4],
        **{f"choice_{letter}": text for letter, text in zip("abcd", TEXTS, strict=True)},
        "data_id": f"task{kind}/{number}.png",
        "data_source": "SEED-Bench v2",
        "data_type": "Single Image",
        "level": level,
        "question": "What is shown?",
        "question_id": f"{kind}_{number}",
        "question_type_id": kind,
        "subpart": subparts[level],
        "version": "v1" if kind <= 9 else "v2",
    }
    return {**row, **changes}


def seed_bench_2(folder: Path, rows: list[dict]) -> Path:
    """SEED-Bench_v2_level1_2_3.json and both folders of pictures."""
    seed = 0
    for row in rows:
        for name in [row["data_id"]] if isinstance(row["data_id"], str) else row["data_id"]:
            place = "cc3m-image" if row["data_source"] == "cc3m" else "SEED-Bench-2-image"
            write_picture(folder / place / name, seed := seed + 1)
    write_json(folder / "SEED-Bench_v2_level1_2_3.json", {"questions": rows, "question_type": {}})
    return folder


def seed_plus_row(number: int, kind: str = "Chart", **changes) -> dict:
    """A row of SEED-Bench-2-Plus in its Hugging Face form (capital letters)."""
    row = {
        "data_id": f"{kind.lower()}/{number}.png",
        "question_id": f"{kind}_{number}",
        "question_image_type": kind,
        "question_image_subtype": "Gantt Chart" if number % 2 else "Flow Chart",
        "question": "How much is it?",
        **{f"choice_{letter}": text for letter, text in zip("ABCD", TEXTS, strict=True)},
        "answer": "ABCD"[number % 4],
        "data_source": "SEED-Bench-2-plus",
        "data_type": "Single Image",
        "level": "L1",
        "subpart": "Single-Image & Text Comprehension",
        "version": "v2",
    }
    return {**row, **changes}


def seed_bench_2_plus(folder: Path, rows: list[dict]) -> Path:
    for number, row in enumerate(rows):
        write_picture(folder / row["data_id"], number)
    write_json(folder / "SEED-Bench-2-plus.json", rows)
    return folder


def mmr_pair(
    name: str, letters: str = "AB", kinds: tuple[str, str] = ("POS", "NEG"), **changes
) -> list[dict]:
    """Both members of a pair of MMR-benchmark.json."""
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", TEXTS, strict=True))
    return [
        {
            "id": name,
            "image": f"{name}.jpg",
            "question": f"{'Is it' if kind == 'POS' else 'Why is it not'} shown?\n{listed}",
            "ground_truth": letter,
            "question_type": kind,
            **changes,
        }
        for letter, kind in zip(letters, kinds, strict=True)
    ]


def mmr(folder: Path, rows: list[dict]) -> Path:
    for number, row in enumerate(rows):
        write_picture(folder / "MMR-benchmark-images" / row["image"], number // 2)
    write_json(folder / "MMR-benchmark.json", rows)
    return folder


def mibench_row(number: int, task: str = "General Comparison", **changes) -> dict:
    """A row of multi_image_instruction.json or multimodal_knowledge_seeking.json."""
    row = {
        "id": number,
        "task": task,
        "image": [f"image/{number}_a.jpg", f"image/{number}_b.jpg"],
        "question": "In <image> and <image>, what differs?",
        "options": list(TEXTS),
        "answer": TEXTS[number % 4],
    }
    return {**row, **changes}


def mibench(folder: Path, instruction=(), knowledge=(), in_context=()) -> Path:
    names = ("multi_image_instruction", "multimodal_knowledge_seeking", "multimodal_in_context_learning")
    seed = 0
    for name, rows in zip(names, (instruction, knowledge, in_context), strict=True):
        for row in rows:
            for path in [*row["image"], *(one for demo in row.get("context", ()) for one in demo["image"])]:
                write_picture(folder / path, seed := seed + 1)
        if rows:
            write_json(folder / f"{name}.json", list(rows))
    return folder


def mmneedle(folder: Path, m: int = 2, n: int = 2, k: int = 1, count: int = 8) -> tuple[Path, list[dict]]:
    """MMNeedle's layout of pictures of noise, and its records."""
    from vitrail.data.haystacks import build_haystack

    pool = {
        f"COCO_val2014_{number:012}.jpg": (picture(number).open(), f"a picture of number {number}")
        for number in range(m * n * n + k + 6)
    }
    return folder, build_haystack(folder, pool, m, n, k, count, cell=16)


def q_bench_row(number: int, **changes) -> dict:
    """A row of llvisionqa_dev.json."""
    row = {
        "img_path": f"{number:05}.jpg",
        "question": "How is the lighting of this picture?",
        "candidates": ["bright", "dark", "medium"][: 2 + number % 2],
        "correct_ans": "dark",
        "type": number % 3,
        "concern": number % 4,
    }
    return {**row, **changes}


def q_bench(folder: Path, rows: list[dict]) -> Path:
    for number, row in enumerate(rows):
        write_picture(folder / "images_llvisionqa" / row["img_path"], number)
    write_json(folder / "llvisionqa_dev.json", rows)
    return folder


def video_mme_row(number: int, **changes) -> dict:
    """A row of videomme/test-00000-of-00001.parquet."""
    video = number // 3
    row = {
        "video_id": f"{video + 1:03}",
        "duration": ("short", "medium", "long")[video % 3],
        "domain": ("Knowledge", "Multilingual")[video % 2],
        "sub_category": ("Law", "Multilingual")[video % 2],
        "url": f"https://www.youtube.com/watch?v=abcdefgh_{video:02}",
        "videoID": f"abcdefgh_{video:02}",
        "question_id": f"{video + 1:03}-{number % 3 + 1}",
        "task_type": ("OCR Problems", "Counting Problem")[number % 2],
        "question": "What {is} shown?",
        "options": [f"{letter}. {text}." for letter, text in zip("ABCD", TEXTS, strict=True)],
        "answer": "ABCD"[number % 4],
    }
    return {**row, **changes}


def video_mme(folder: Path, rows: list[dict], video: bytes | None = None) -> Path:
    """The Parquet file; of each video a file (or a folder of three frames, where there is none)."""
    import pyarrow
    import pyarrow.parquet

    (folder / "videomme").mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, folder / "videomme" / "test-00000-of-00001.parquet")
    for stem in {row["videoID"] for row in rows}:
        if video is None:
            for frame in range(3):
                write_picture(folder / "video" / stem / f"{frame}.png", frame)
        else:
            (folder / "video").mkdir(exist_ok=True)
            (folder / "video" / f"{stem}.mp4").write_bytes(video)
    return folder


def grey_video(path):
    """A video at ``path`` of :data:`LENGTH` frames, :data:`FPS` a second, whose frame n is the grey 3 n; the path."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(LENGTH):
            pixels = np.full((32, 32, 3), 3 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
