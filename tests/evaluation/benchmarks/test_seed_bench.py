"""SEED-Bench: official files in, official score out; broken rows are named; the submission says the same."""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import picture
from official_files import TEXTS, seed_bench, seed_row, write_json, write_picture
from vitrail.cli.evaluate_benchmark import write_submission
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.clips import Clip
from vitrail.evaluation.benchmarks.seed_bench import SeedBench
from vitrail.evaluation.scenarios import as_item


def opened(folder, **settings):
    return SeedBench(SeedBench.Config(path=str(folder), **settings)).source()


def task(folder, **changes):
    scenario = {"name": "benchmark", "benchmark": "seed_bench", "path": str(folder), **changes}
    return Task(name="seed", scenario=scenario, **SeedBench.parts("ranking"))


def test_official_files_become_questions(tmp_path):
    source = opened(seed_bench(tmp_path, [seed_row(n) for n in range(9)]))
    item = as_item(source[2], 2, source.root)
    assert (item.id, item.kind, item.options, item.answer) == ("101671", "Instance Attributes", TEXTS, 2)
    assert item.chat.images[0].open(source.root).size == (32, 32)
    assert item.groups == {"part": "image"} and len(source) == 9
    again = opened(tmp_path)
    assert again.fingerprint == source.fingerprint != opened(tmp_path, task="3").fingerprint
    assert len(opened(tmp_path, task="3")) == 1 and len(opened(tmp_path, task="image")) == 9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "E"}, "answer: is 'E', but the options are A to D"),
        ({"answer": None}, "answer: is missing"),
        ({"question_type_id": 13}, "question_type_id: is 13; it must be a number from 1 to 12"),
        ({"data_id": "gone"}, "data_id: the file 'gone' is missing"),
        ({"data_id": "../x"}, "no path below"),
        ({"question_id": "101669"}, "'101669' is row 1 as well, with another answer"),
        ({"choice_b": "a cat"}, "options A and B are both 'a cat'"),
        ({"choice_b": "", "choice_c": "", "choice_d": "", "answer": "A"}, "a question needs 2"),
        ({"choice_b": ""}, "answer: is 'B', but the option choice_b is empty"),
        ({"Choice_A": "x"}, "is there twice, in other case"),
        ({"question": ""}, "question: is missing"),
    ],
)
def test_broken_rows_are_named(tmp_path, changes, words):
    rows = [seed_row(0), seed_row(1), seed_row(2)]
    seed_bench(tmp_path, rows)
    broken = {**rows[1], **changes}
    write_json(tmp_path / "SEED-Bench.json", {"questions": [rows[0], broken, rows[2]], "question_type": {}})
    source = opened(tmp_path)
    (bad,) = source.set_aside.rows
    assert bad.line == 2 and words in str(bad) and str(bad).startswith("SEED-Bench.json, row 2")
    assert len(source) == 2 and source.set_aside.seen == 3


def test_missing_and_wrong_files_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        opened(tmp_path / "none")
    with pytest.raises(ValueError, match="holds none of SEED-Bench"):
        opened(tmp_path)
    seed_bench(tmp_path, [seed_row(0, answer="Z")])
    with pytest.raises(ValueError, match="none of 1 rows can be used; the first: SEED-Bench"):
        opened(tmp_path)
    (tmp_path / "SEED-Bench.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        opened(tmp_path)
    with pytest.raises(ValueError, match="use all, image, video or a number from 1 to 12"):
        SeedBench.Config(path="x", task="13")


def test_clips_and_their_segments(tmp_path):
    kitchen, breakfast = "P03/P03_24.MP4", "P06/cam01/P06_cereals.avi"
    asked = [(10, "94328.webm", None), (11, kitchen, [1.5, 4.0]), (12, breakfast, [15, 60])]
    asked += [(11, kitchen, None), (12, breakfast, [9, 9])]
    rows = [
        seed_row(
            n, data_type="video", question_type_id=kind, data_id=data, question_id=f"v{n}", segment=segment
        )
        for n, (kind, data, segment) in enumerate(asked)
    ]
    seed_bench(tmp_path, rows)
    for place in ("ssv2/94328.webm", "epic_kitchens/P03/P03_24.MP4", "breakfast/P06/cam01/P06_cereals.avi"):
        write_picture(tmp_path / place)
    source = opened(tmp_path, frames=4)
    clips = [question.content[0] for question in source.questions]
    assert clips == [
        Clip("ssv2/94328.webm", 4),
        Clip("epic_kitchens/P03/P03_24.MP4", 4, (1.5, 4.0), "seconds"),
        Clip("breakfast/P06/cam01/P06_cereals.avi", 4, (15, 60), "frames"),
    ]
    reasons = [str(row) for row in source.set_aside.rows]
    assert "segment: is missing" in reasons[0] and "starts at 9 and ends at 9" in reasons[1]
    for number in range(1, 9):
        write_picture(tmp_path / f"v1_video/94328/{number}.png", number)
    (tmp_path / "ssv2/94328.webm").unlink()
    assert len(opened(tmp_path, task="10")[0].images) == 8, "frames that were cut beforehand"


def test_the_score_pools_questions_and_says_what_it_covers(nano, tmp_path):
    rows = [seed_row(n, question_type_id=1 if n < 6 else 5) for n in range(8)]
    rows.append(seed_row(8, data_id="gone", data_type="none"))
    found = score(run_task(task(seed_bench(tmp_path / "data", rows)), nano, tmp_path))
    official = found.official
    assert "8 of 9 rows, 1 left out (1 × data_id: the file … is missing" in official.coverage
    answered = read_answers(tmp_path / "seed" / "trained.jsonl").rows
    right = [row["correct"] for row in answered]
    assert official["overall"].value == sum(right) / 8
    assert official["Scene Understanding"].value == sum(right[:6]) / 6
    pooled = 6 / 8 * official["Scene Understanding"].value + 2 / 8 * official["Instances Counting"].value
    assert official["overall"].value == pytest.approx(pooled)
    assert official["overall"].random == 0.25 and official["image"].n == 8
    write_submission(tmp_path / "seed" / "trained.jsonl", tmp_path / "results.json")
    lines = (tmp_path / "results.json").read_text().splitlines()
    letters = {one["question_id"]: one["prediction"] for one in map(json.loads, lines)}
    assert sum(letters[row["question_id"]] == row["answer"] for row in rows[:8]) == sum(right)


def test_a_permutation_of_the_options_never_changes_the_chosen_text(nano, tmp_path):
    data = seed_bench(tmp_path / "data", [seed_row(n) for n in range(4)])
    found = score(run_task(task(data, circular=True), nano, tmp_path))
    assert found.official["overall"].value == found.official["circular"].value
    rows = read_answers(tmp_path / "seed" / "trained.jsonl").rows
    first = dict(zip(rows[0]["options"], rows[0]["values"], strict=True))
    turned = dict(zip(rows[1]["options"], rows[1]["values"], strict=True))
    assert turned == pytest.approx(first, abs=1e-5) and rows[0]["options"] != rows[1]["options"]


def test_mirrors_give_the_same_questions(tmp_path):
    rows = [seed_row(n, segment=None) for n in range(3)]
    plain = opened(seed_bench(tmp_path / "json", rows))
    mirror = tmp_path / "parquet" / "data"
    mirror.mkdir(parents=True)
    stored = [[{"bytes": picture(n).bytes, "path": None}] for n in range(3)]
    table = pa.Table.from_pylist([{**row, "image": held} for row, held in zip(rows, stored, strict=True)])
    pq.write_table(table, mirror / "test-00000-of-00001.parquet")
    lines = ["index\tquestion\tA\tB\tC\tD\tanswer\tcategory\timage"]
    for n, row in enumerate(rows):
        held = base64.b64encode(picture(n).bytes).decode()
        names = {1: "Scene Understanding", 2: "Instance Identity", 3: "Instance Attributes"}
        cells = [row["question_id"], row["question"], *TEXTS, row["answer"], names[n + 1], held]
        lines.append("\t".join(cells))
    (tmp_path / "tsv").mkdir()
    (tmp_path / "tsv" / "SEEDBench_IMG.tsv").write_text("\n".join(lines) + "\n")
    for folder in ("parquet", "tsv"):
        other = opened(tmp_path / folder)
        for one, two in zip(plain, other, strict=True):
            assert (one.id, one.choices, one.meta["kind"]) == (two.id, two.choices, two.meta["kind"])
            assert one.images[0].read(plain.root) == two.images[0].read(other.root)
