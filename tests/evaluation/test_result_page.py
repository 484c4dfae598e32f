"""The page of results: what it shows of answers whose truth is known, and how it reads in a browser."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image as PILImage

from answer_files import answer, write
from browser import Browser
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.evaluation.question_cards import Questions, mistakes
from vitrail.evaluation.result_files import Result, find, labels, short_names, with_siblings
from vitrail.evaluation.result_page import sets_of, write_page

pytest.importorskip("matplotlib")
EVIL = "<script>alert('x')</script>"
LOW_CONTRAST = (Path(__file__).parent.parent / "serving/atlas/low_contrast.js").read_text(encoding="utf-8")


def question(number: int) -> Chat:
    buffer = io.BytesIO()
    PILImage.new("RGB", (24, 16), (number * 20 % 256, 90, 40)).save(buffer, "PNG")
    parts = (
        Image(bytes=buffer.getvalue(), width=24, height=16),
        Text(text=f"Which colour, number {number}? {EVIL}"),
    )
    return Chat(
        id=f"q{number}",
        messages=(Message(role="user", content=parts),),
        choices=Choices(options=("red", "blue"), answer=0),
        meta={"kind": f"k{number % 2}", "picture": f"p{number}"},
    )


def results(folder: Path) -> Path:
    """Two models on forty questions: one blinded too, the other with ten answers that say nothing."""
    write_jsonl([question(n) for n in range(40)], folder / "q.jsonl", images="inline")
    task = {"scenario": {"name": "file", "path": str(folder / "q.jsonl"), "n": None}}
    for condition, right in (("trained", 30), ("blind", 20)):
        rows = [answer(n, n < right) for n in range(40)]
        write(folder / f"a/colours/{condition}.jsonl", rows, model="first", condition=condition, task=task)
    words = {"values": None, "choice": None}
    rows = [answer(n, n >= 25, **words, text="It is red." if n >= 25 else "It is blue.") for n in range(40)]
    rows[:10] = [{**row, "parsed": False, "prediction": None, "text": EVIL} for row in rows[:10]]
    task |= {"inferencer": {"name": "generate", "max_new_tokens": 8}, "metric": {"name": "match"}}
    write(folder / "b/colours/trained.jsonl", rows, model="second", task=task, rows=42)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return results(tmp_path_factory.mktemp("results"))


def text_of(path: Path) -> str:
    return re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8"))


def test_a_model_beside_its_baselines_and_another(place):
    page = write_page([place / "a", place / "b"], place / "both.html")
    html, text = page.read_text(encoding="utf-8"), re.sub(r"\s+", " ", text_of(page))
    assert html == write_page([place / "a", place / "b"], place / "again.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and html.count("<script>") == 1
    assert "40 questions answered, beside second." in text and "first, blind" in text
    assert "Mistakes: colours" in text and "10 of 10 in 40 answers" in text
    assert "Read as “blue”. first, blind: read as “blue”, not right. second: read as “red”, right." in text
    assert html.count("data:image/") == 10, "the pictures of the ten mistakes"
    assert "expected calibration error" in text and "Question by question" in text
    assert "w-first" in text and "max_new_tokens" in text, "fingerprints and sampling"
    assert "second 40 15 15 10 0 0 2" in text, "what the figures cover; two rows were not asked"


def test_answers_that_could_not_be_read_stand_apart(place):
    text = re.sub(r"\s+", " ", text_of(write_page([place / "b"], place / "b.html")))
    assert "Mistakes: colours 15 of 15 in 40 answers. " in text
    assert "10 of its answers could not be read" in text
    assert "Answers that could not be read: colours 10 of 10 in 40 answers; they count as not right." in text
    assert "Nothing could be read from “&lt;script&gt;" in text
    assert "calibration error" not in text, "answers in words have no probabilities"


def test_the_gallery_is_bounded_and_may_be_left_out(place):
    few = write_page([place / "a"], place / "few.html", gallery=3).read_text(encoding="utf-8")
    assert few.count("data:image/") == 3 and "3 of 10 in 40 answers" in few
    assert "Mistakes" not in text_of(write_page([place / "a"], place / "none.html", gallery=0))


def test_other_pictures_by_now_are_not_shown(place, tmp_path):
    other = [question(n).model_copy(update={"meta": {"picture": "another"}}) for n in range(40)]
    write_jsonl(other, tmp_path / "q.jsonl", images="inline")
    page = write_page([place / "a"], tmp_path / "p.html", data=str(tmp_path / "q.jsonl"))
    assert "data:image/" not in page.read_text(encoding="utf-8")
    assert "10 cannot be shown" in text_of(page) and "q30: Read as “blue”" in text_of(page)


def test_questions_are_found_where_they_were_or_where_one_says(place, tmp_path):
    task = {"scenario": {"name": "file", "path": "/gone/q.jsonl", "n": None}}
    path = write(tmp_path / "r/t/trained.jsonl", [answer(n, False) for n in range(40)], task=task)
    gone = Questions(Result.of(path).answers)
    assert "no file /gone/q.jsonl" in gone.reason and gone.of(answer(0, False)) is None
    there = Questions(Result.of(path).answers, str(place / "q.jsonl"))
    assert there.of(answer(0, False))[0].id == "q0"
    write_jsonl([question(3)], tmp_path / "r/t/gallery.jsonl", images="inline")
    kept = Questions(Result.of(path).answers)
    assert kept.of(answer(3, False))[0].id == "q3" and kept.of(answer(4, False)) is None
    nowhere = Questions(Result.of(write(tmp_path / "n/trained.jsonl", [answer(0, True)])).answers)
    assert "--data" in nowhere.reason


def test_boxes_are_drawn_where_they_were_asked_for(tmp_path):
    """What is true and what was said, each in its picture; the answer here takes the first picture for the second."""
    from vitrail import registry
    from vitrail.evaluation.question_cards import card

    benchmark = registry.get("benchmark", "offline_grounding")
    source = benchmark(benchmark.Config(suite="nano-scenes-v1", n=12, form="pixels", kinds=["same"])).source()
    record = next(one for one in source if one.meta["groups"]["positive"])
    said = '[{"image": 2, "bbox_2d": [1, 2, 30, 40], "group": 1}]'
    none = {"options": [], "answer": None, "prediction": None, "values": None, "choice": None}
    row = answer(0, False, **none, text=said, reference="[…]")
    shown = card(record, {**row, "groups": record.meta["groups"]})
    labels_of = [[shape.label for shape in one.shapes] for one in shown.pictures]
    assert set(labels_of[0]) == {"truth"} and "answer" in labels_of[1]
    assert shown.pictures[1].shapes[-1].points == ((1, 2), (30, 2), (30, 40), (1, 40))
    unread = card(record, {**row, "text": "?", "groups": record.meta["groups"]})
    assert [shape.label for shape in unread.pictures[1].shapes] == labels_of[1][:-1]


def test_the_surest_mistakes_come_first():
    rows = [answer(n, n == 0, values=[0.0, n / 2], choice=0 if n == 0 else 1) for n in range(4)]
    assert [row["row"] for row in mistakes(rows, parsed=True)] == [3, 2, 1]


def test_files_are_found_named_and_told_apart(place, tmp_path):
    found = find([place])
    assert [path.relative_to(place).as_posix() for path in found] == [
        "a/colours/trained.jsonl",
        "a/colours/blind.jsonl",
        "b/colours/trained.jsonl",
    ]
    assert with_siblings([found[0]]) == found[:2] and with_siblings([found[1]]) == [found[1]]
    assert labels([Result.of(path) for path in found]) == ["first", "first, blind", "second"]
    twins = [
        write(tmp_path / f"{n}.jsonl", [answer(0, True)], fingerprints={"model": str(n)}) for n in (1, 2)
    ]
    one, other = labels([Result.of(path) for path in twins])
    assert one != other and one.startswith("m (")
    with pytest.raises(ValueError, match="no file of answers below"):
        (tmp_path / "empty").mkdir()
        find([tmp_path / "empty"])


def test_paths_are_short_where_people_read_them(tmp_path):
    names = [
        "/home/me/runs/first/model",
        "/home/me/runs/second/model",
        "/a/x/big",
        "/b/x/big",
        "org/big",
        "runs/a",
    ]
    told = ["first/model", "second/model", "a/x/big", "b/x/big", "org/big", "runs/a"]
    assert list(short_names(names).values()) == told
    rows, told = [answer(n, False) for n in range(4)], {"model": "w"}
    path = write(tmp_path / "t.jsonl", rows, model="/home/me/runs/first", fingerprints=told)
    page = text_of(write_page([path], tmp_path / "p.html"))
    assert "first: colours" in page and page.count("/home/me/runs/first") == 1, "whole among the settings"


def test_versions_of_one_benchmark_are_told_apart_by_their_evaluations_names(tmp_path):
    def result(name, questions):
        path = tmp_path / f"{name}-{questions}.jsonl"
        prints = {"scenario": questions}
        return Result.of(
            write(path, [answer(0, True)], benchmark="b", task={"name": name}, fingerprints=prints)
        )

    assert [one.name for one in sets_of([result("b", "x"), result("b-letters", "y")])] == ["b", "b-letters"]
    assert [one.name for one in sets_of([result("b", "x"), result("b", "y")])] == ["b (x)", "b (y)"]
    assert [one.name for one in sets_of([result("other", "x")])] == ["b"]


def test_the_command(place, tmp_path, capsys):
    from vitrail.cli.main import main

    words = ["eval", "report", str(place / "a/colours/trained.jsonl"), "--out", str(tmp_path / "r.html")]
    assert main(words) == 0 and "open it in a browser" in capsys.readouterr().out
    assert "first, blind" in text_of(tmp_path / "r.html"), "the blinded answers beside it are found"
    write(tmp_path / "other.jsonl", [answer(0, True)], fingerprints={"scenario": "x"}, task={"name": "u"})
    assert main([*words, str(tmp_path / "other.jsonl"), "--data", str(place / "q.jsonl")]) == 2
    assert "questions of colours, u" in capsys.readouterr().err
    assert main(["eval", "report", str(tmp_path / "none.jsonl")]) == 2


@pytest.mark.debian("chromium")
def test_in_a_browser(place, tmp_path):
    """It fits a phone, can be read in the dark, loads nothing, and is reached by keys and named for screen readers."""
    long = "/runs/" + "a" * 60
    rows = [answer(n, n % 3 == 0) for n in range(40)]
    other = write(tmp_path / "c/colours/trained.jsonl", rows, model=long)
    file = write_page([place / "b", place / "a", other], place / "browser.html")
    with Browser(tmp_path / "profile") as browser:
        for width, scheme in ((320, "light"), (320, "dark"), (1280, "dark")):
            page = browser.page(width, 800, prefers_color_scheme=scheme).open(file)
            assert page("document.documentElement.scrollWidth <= innerWidth"), width
            assert page(LOW_CONTRAST) == [], (width, scheme)
            assert page.errors == [] and page.outside == []
        page = browser.page().open(file)
        page.press("Tab")
        assert page("document.activeElement.className") == "skip"
        assert page("document.querySelectorAll('main img:not([alt])').length") == 0
        nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
        assert [
            role for role, name in named if role in ("link", "combobox", "button") and not name.strip()
        ] == []
        headings = [name for role, name in named if role == "heading"]
        assert "Mistakes: colours" in headings and "Answers that could not be read: colours" in headings
        count = "document.querySelectorAll('[data-items^=mistakes] > li:not([hidden])').length"
        assert page(count) == 15
        page(
            "((s) => { s.value = 'k0'; s.dispatchEvent(new Event('input', { bubbles: true })); })"
            "(document.querySelector('[data-filters^=mistakes] select'))"
        )
        assert 0 < page(count) < 15
        assert page.errors == [] and page.outside == []
