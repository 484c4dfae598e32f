"""Verdicts of many pictures: gone on after a kill, changed pictures, broken ones; the page about them."""

import pytest

from conftest import picture
from vitrail.evaluation.verdict_files import (
    judge_pictures,
    pictures_below,
    plain_trace,
    read_verdicts,
    word_of,
)
from vitrail.evaluation.verdict_page import write_page
from vitrail.inference.clue import ClueJudge, ClueSettings
from vitrail.inference.constitution import Constitution

RULES = Constitution.model_validate(
    [{"id": "a", "text": "No <dogs>.", "clauses": [["a dog"], ["it is red"]]}]
)
TOLD = {"model": "tested", "weights": "w"}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(picture(number).bytes)
    (folder / "2.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("none")
    return pictures_below([folder])


@pytest.fixture
def judged(nano):
    def call(pictures, out, settings=None, told=TOLD, progress=None, rules=RULES, boxes=None):
        judge = ClueJudge(nano, rules, settings or ClueSettings(undecided="threshold"), batch_size=1)
        return judge_pictures(judge, pictures, out, told=told, boxes=boxes, progress=progress)

    return call


def test_a_broken_picture_is_named_and_the_rest_is_judged(judged, pictures, tmp_path):
    heard = []
    found = judged(pictures, tmp_path / "v.jsonl", progress=lambda done, total: heard.append((done, total)))
    assert heard == [(4, 5), (5, 5)] and len(found.judged) == 4
    assert (
        found.set_aside[0]["picture"].endswith("2.png")
        and "cannot be decoded" in found.set_aside[0]["reason"]
    )
    assert sum(found.counts().values()) == 5 and found.counts()["set_aside"] == 1
    assert plain_trace(found.set_aside[0]).count("set aside") == 1
    assert plain_trace(found.judged[0]).splitlines()[0].endswith(word_of(found.judged[0]["verdict"]))


def test_killed_and_gone_on_it_is_the_same_file(judged, pictures, tmp_path):
    judged(pictures, tmp_path / "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in range(1, len(lines)):
        (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:9])
        judged(pictures, tmp_path / "cut.jsonl")
        assert (tmp_path / "cut.jsonl").read_bytes() == whole


def test_a_picture_that_was_mended_is_judged_again(judged, pictures, tmp_path):
    out = tmp_path / "v.jsonl"
    judged(pictures, out)
    pictures[2].write_bytes(picture(2).bytes)
    found = judged([*pictures, tmp_path / "none.png"], out)
    assert len(found.judged) == 5 and "does not exist" in found.set_aside[0]["reason"]
    assert len(read_verdicts(out).rows) == 6 and len(out.read_text().splitlines()) == 8


def test_known_boxes_are_erased(judged, pictures, tmp_path):
    rules = [{"id": "a", "text": "x", "clauses": [["a dog"]], "central_words": {"a dog": ["dog"]}}]
    where = {pictures[0].as_posix(): {"dog": [[1, 1, 9, 9]]}}
    found = judged(pictures[:2], tmp_path / "v.jsonl", rules=Constitution.model_validate(rules), boxes=where)
    first, second = (row["verdict"]["trace"][0]["clauses"][0]["conditions"][0] for row in found.judged)
    assert first["box"] == [1, 1, 9, 9] and "removed" in first
    assert "box" not in second and second["note"] == "no detector"
    with pytest.raises(ValueError, match="another boxes"):
        judged(pictures[:2], tmp_path / "v.jsonl", rules=Constitution.model_validate(rules))


def test_other_settings_are_refused(judged, pictures, tmp_path):
    out = tmp_path / "v.jsonl"
    judged(pictures, out)
    for change, said in (
        ({"settings": ClueSettings(undecided="prior")}, "another settings"),
        ({"told": {**TOLD, "weights": "other"}}, "another weights"),
        (
            {"rules": Constitution.model_validate([{"id": "b", "text": "x", "clauses": [["y"]]}])},
            "another constitution",
        ),
    ):
        with pytest.raises(ValueError, match=f"{said}; name another file"):
            judged(pictures, out, **change)
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match=r"other\.jsonl"):
        judged(pictures, tmp_path / "other.jsonl")
    with pytest.raises(ValueError, match="is no file of verdicts"):
        read_verdicts(tmp_path / "other.jsonl")


def test_folders_and_files(pictures, tmp_path):
    assert [path.name for path in pictures] == [f"{number}.png" for number in range(5)]
    assert pictures_below([pictures[1], pictures[1].parent, "x.png"])[0] == pictures[1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        pictures_below([tmp_path / "empty"])


def test_the_page_shows_pictures_traces_and_what_was_set_aside(judged, pictures, tmp_path):
    found = judged(pictures, tmp_path / "v.jsonl")
    page = write_page(found, tmp_path / "page.html").read_text()
    assert page.count("data:image/png") == 4 and "No &lt;dogs&gt;." in page and "<dogs>" not in page
    assert "cannot be decoded" in page and "a dog" in page and "by threshold" in page
    assert page == write_page(found, tmp_path / "again.html").read_text()
    few = write_page(found, tmp_path / "few.html", most=1).read_text()
    assert few.count("data:image/png") == 1 and "pictures not shown" in few
    pictures[0].unlink()
    assert "is not shown" in write_page(found, tmp_path / "gone.html").read_text()
