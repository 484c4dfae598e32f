"""MIBench: pictures in place, circular scores beside plain ones, demonstrations, exact matches."""

from __future__ import annotations

import pytest

from official_files import TEXTS, mibench, mibench_row, write_json
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.mibench import TASKS, MIBench


def opened(folder, **settings):
    return MIBench(MIBench.Config(path=str(folder), **settings)).source()


def mic_row(number, demos=3, **changes):
    context = [
        {"image": [f"image/demo_{n}.jpg"], "question": "Which?", "answer": f"kind {n}"} for n in range(demos)
    ]
    row = mibench_row(number, "Close-ended VQA", question="<image> Which?", answer="Kind 1.", context=context)
    row["image"] = row["image"][:1]
    del row["options"]
    return {**row, **changes}


def test_thirteen_tasks():
    assert sum(map(len, TASKS.values())) == 13


def test_pictures_stand_in_their_places(tmp_path):
    rows = [mibench_row(0), mibench_row(1, question="What differs?"), mibench_row(2, question="<image> only")]
    source = opened(mibench(tmp_path, rows))
    asked = source[0].messages[0].content
    assert [part.type for part in asked] == ["text", "image", "text", "image", "text"]
    assert [part.path for part in source[0].images] == ["image/0_a.jpg", "image/0_b.jpg"]
    assert source[1].messages[0].text == "Image-1: \nImage-2: \nWhat differs?"
    assert "1 × <image> for 2 pictures" in str(source.set_aside.rows[0])
    assert source[0].choices.answer == 0 and source[1].choices.answer == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "a horse"}, "answer: is 'a horse', which is none of the 4 options"),
        ({"options": ["a cat"]}, "a question needs 2"),
        ({"options": ["a cat", "a cat"], "answer": "a cat"}, "options A and B are both"),
        ({"options": "a cat"}, "options: must be a list"),
        ({"task": "Juggling"}, "task: is 'Juggling'; known: general comparison"),
        ({"image": ["image/gone.jpg", "image/1_b.jpg"]}, "'image/gone.jpg' is missing"),
    ],
)
def test_broken_rows_are_named(tmp_path, changes, words):
    mibench(tmp_path, [mibench_row(0), mibench_row(1)])
    write_json(tmp_path / "multi_image_instruction.json", [mibench_row(0), {**mibench_row(1), **changes}])
    (bad,) = opened(tmp_path).set_aside.rows
    assert words in str(bad) and str(bad).startswith("multi_image_instruction.json, row 2")
    if "task" in changes:
        assert len(opened(tmp_path, tasks="any")) == 2


def test_demonstrations_are_turns_before_the_question(tmp_path):
    folder = mibench(tmp_path, in_context=[mic_row(7)])
    none, two, all_of_them = (opened(folder, shots=shots)[0] for shots in (0, 2, None))
    assert none.messages[:-1] == two.messages[-2:-1] and len(none.images) == 1
    assert (len(two.images), len(all_of_them.images)) == (3, 4)
    assert [message.role for message in two.messages] == ["user", "assistant"] * 3
    assert two.messages == opened(folder, shots=2)[0].messages, "drawn by the seed alone"
    with pytest.raises(ValueError, match="4 shots are asked for"):
        opened(folder, shots=4)
    itself = mic_row(7)
    itself["context"][1]["image"] = itself["image"]
    write_json(tmp_path / "multimodal_in_context_learning.json", [itself, mic_row(8, 0)])
    with pytest.raises(ValueError, match="hold the question itself"):
        opened(tmp_path)


def test_circular_stands_beside_plain_and_words_are_matched(nano, tmp_path):
    knowledge = [mibench_row(n, "Text-Rich Images VQA") for n in range(2)]
    folder = mibench(tmp_path / "data", [mibench_row(n) for n in range(3)], knowledge, [mic_row(0, 1)])
    scenario = {"name": "benchmark", "benchmark": "mibench", "path": str(folder)}
    parts = {**MIBench.parts("letters"), "inferencer": {"name": "generate", "max_new_tokens": 2}}
    found = score(run_task(Task(name="mi", scenario=scenario, **parts), nano, tmp_path))
    official = found.official
    names = [one.name for one in official.figures]
    assert names[:4] == ["circular, both scenarios", "once, both scenarios", "MII", "MKS"]
    assert found.rows == 5 * 4 + 1 and official.answered == official.rows == 6
    circular, once = official["circular, both scenarios"], official["once, both scenarios"]
    assert circular.value <= once.value and circular.n == once.n == 5
    assert circular.random == pytest.approx(1 / 256) and once.random == pytest.approx(1 / 4)
    assert official["MIC, exact match"].n == 1 and official["MIC, exact match"].random is None
    assert official["general comparison"].n == 3 and TEXTS
