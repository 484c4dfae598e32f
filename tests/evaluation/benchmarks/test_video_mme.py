"""Video-MME: the official Parquet and template, frames and the subtitles that go with them, groups that add up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from official_files import TEXTS, grey_video, video_mme, video_mme_row
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.clips import sample_frames
from vitrail.evaluation.benchmarks.video_mme import VideoMME
from vitrail.evaluation.reading import alone, first_capital


def opened(folder, **settings):
    return VideoMME(VideoMME.Config(path=str(folder), **settings)).source()


def rows(source, said):
    return [
        {
            "id": one.id,
            "kind": one.kind,
            "cluster": one.cluster,
            "groups": dict(one.groups),
            "options": [part.text for part in one.options],
            "answer": one.answer,
            "text": "" if (place := said(one)) is None else "ABCD"[place],
            "prediction": place,
            "parsed": place is not None,
            "correct": place == one.answer,
        }
        for one in source.questions
    ]


@pytest.fixture
def source(tmp_path):
    return opened(video_mme(tmp_path, [video_mme_row(number) for number in range(18)]), frames=2)


def test_groups_add_up(source):
    found = {one.name: one for one in VideoMME.figures(rows(source, lambda one: 0))}
    share = sum(one.answer == 0 for one in source.questions) / 18
    assert found["overall"].value == share
    for field in ("duration", "domain", "sub-field", "task"):
        parts = [one for name, one in found.items() if name.startswith(f"{field}: ")]
        assert sum(one.n for one in parts) == 18
        assert sum(one.n * one.value for one in parts) == pytest.approx(18 * share)
    assert found["domain: Multilingual"].n == found["sub-field: Multilingual"].n == 9
    assert np.mean(
        [found[f"duration: {name}"].value for name in ("short", "medium", "long")]
    ) == pytest.approx(share)
    half = {
        one.name: one.value
        for one in VideoMME.figures(rows(source, lambda one: one.answer if one.answer else None))
    }
    assert half["overall, of answered"] == 1 and half["overall"] == half["answered"] < 1


def test_the_template_round_trips(source, tmp_path):
    made = list(VideoMME.submission(rows(source, lambda one: 1)))
    assert len(made) == 6 and all(len(one["questions"]) == 3 for one in made) and VideoMME.submits == "list"
    assert made[0]["questions"][0]["response"] == "B"
    text = json.dumps(made).replace("}]", "},]", 1)
    (tmp_path / "output.json").write_text(text)
    (tmp_path / "videomme" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(ValueError, match="none of 18 rows"):
        opened(tmp_path)  # the template has no YouTube ids: videos are looked for by their number
    for number in range(6):
        (tmp_path / "video" / f"abcdefgh_{number:02}").rename(tmp_path / "video" / f"{number + 1:03}")
    again = opened(tmp_path, frames=2)
    assert [(one.id, one.options, one.answer, one.kind) for one in again.questions] == [
        (one.id, one.options, one.answer, one.kind) for one in source.questions
    ]


def test_asked_of_a_model(nano, source, tmp_path):
    record = source[0]
    assert len(record.images) == 2 and record.messages[0].text.count("What {is} shown?") == 1
    assert record.messages[0].text.endswith(f"D. {TEXTS[3]}.\nThe best answer is:")
    scenario = {
        "name": "benchmark",
        "benchmark": "video_mme",
        "path": str(tmp_path),
        "settings": {"frames": 2},
    }
    task = Task(name="v", scenario={**scenario, "n": 6}, **VideoMME.parts("letter-ranking"))
    official = score(run_task(task, nano, tmp_path / "out")).official
    assert official.answered == 6 and official["overall"].random == 0.25


def test_rules_of_frames():
    assert sample_frames(80, 1) == [0] and sample_frames(7, 7) == list(range(7))
    assert sample_frames(80, 8) == np.linspace(0, 79, 8).astype(int).tolist()
    assert sample_frames(80, 3, "interior") == [20, 40, 60] and 0 not in sample_frames(9, 4, "interior")
    for wrong in ((0, 1, "ends"), (1, 0, "ends")):
        with pytest.raises(ValueError, match="must be 1 or more"):
            sample_frames(*wrong)


@pytest.mark.parametrize(
    ("said", "official", "strict"),
    [
        ("C. Berries.", 2, 2), ("The best answer is: D", 3, 3), ("", None, None), ("none of these", None, None),
        ("Based on the video, C", 1, 2),
    ],
)  # fmt: skip
def test_extraction(said, official, strict):
    assert first_capital(said, TEXTS) == official and alone(said, TEXTS) == strict


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return grey_video(tmp_path_factory.mktemp("video") / "clip.mp4").read_bytes()


def test_subtitles_of_the_frames_alone(video, tmp_path):
    folder = video_mme(tmp_path, [video_mme_row(number) for number in range(6)], video)
    (folder / "subtitle").mkdir()
    cues = [(0, 1, "first"), (3, 4, "between"), (7.5, 8, "last")]
    lines = [
        f"{n}\n00:00:{a:06.3f} --> 00:00:{b:06.3f}\n{text}\n".replace(".", ",")
        for n, (a, b, text) in enumerate(cues, 1)
    ]
    (folder / "subtitle" / "abcdefgh_00.srt").write_text("\n".join(lines))
    one = opened(folder, frames=2, subtitles="frames")
    said = one[0].messages[0].text
    assert len(one[0].images) == 2 and "first\nlast\nSelect the best" in said and "between" not in said
    assert "subtitles" not in one[3].messages[0].text, "a video without subtitles has no such block"
    assert "between" in opened(folder, frames=2, subtitles="full")[0].messages[0].text
    fps = opened(folder, rule="fps", fps=0.5)
    assert len(fps[0].images) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": ["A. a", "B. b"]}, "must be four texts"),
        ({"options": ["a", "b", "c", "d"]}, "must begin with 'A. '"),
        ({"duration": "tiny"}, "known: short, medium, long"),
        ({"domain": "Law"}, "domain: is 'Law'"),
        ({"task_type": "Guessing"}, "task_type: is 'Guessing'"),
        ({"answer": "E"}, "the options are A to D"),
        ({"question_id": "001-2"}, "is row 2 as well"),
    ],
)
def test_broken_rows_are_named(tmp_path, change, words):
    made = [video_mme_row(number) for number in range(4)]
    made[2] |= change
    source = opened(video_mme(tmp_path, made))
    assert len(source) == 3 and words in str(source.set_aside.rows[0])


def test_a_missing_video_is_reported(tmp_path):
    folder = video_mme(tmp_path, [video_mme_row(number) for number in range(6)])
    for file in (folder / "video" / "abcdefgh_01").iterdir():
        file.unlink()
    source = opened(folder)
    assert len(source) == 3 and "'abcdefgh_01' is missing" in str(source.set_aside.rows[0])
