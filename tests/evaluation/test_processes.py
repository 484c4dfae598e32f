"""Several processes, killed or not, in whatever number: the file of answers is the bytes of one process."""

from __future__ import annotations

import pytest

from conftest import chat
from vitrail.cli.main import main
from vitrail.data.readers import open_source, write_jsonl
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run
from vitrail.evaluation.answers import read_answers, times_path
from vitrail.evaluation.processes import Share, gather, gather_below, part_path
from vitrail.evaluation.run import run_task
from vitrail.storage.lock import Locked
from vitrail.storage.log import JsonlLog


def question(number, text="Which?", id=None, options=("red", "blue")):
    choices = options and Choices(options=options, answer=number % 2)
    one = chat(f"{text} {number}", images=number % 2, seed=number, id=id or f"q{number}")
    return one.model_copy(update={"choices": choices})


@pytest.fixture(scope="module")
def asked():
    """Twenty-three questions in windows of four: one that cannot be asked, and two with the id of another window."""
    found = [question(n, "Which " * (1 + n % 5)) for n in range(23)]
    found[5] = question(5, options=None)
    found[9] = question(9, id="q1")
    found[21] = question(21, id="q10")
    return ListSource(found)


@pytest.fixture(scope="module")
def whole(nano, asked, tmp_path_factory):
    """What one process writes."""
    folder = tmp_path_factory.mktemp("whole")
    return run_task(Task(name="t"), nano, folder, source=asked, batch_size=1).read_bytes()


def ask(nano, asked, folder, share=None):
    return run_task(Task(name="t"), nano, folder, source=asked, batch_size=1, share=share)


def rows_of(path):
    found = read_answers(path)
    return {row["row"] for row in [*found.rows, *found.set_aside]}


def test_shares_together_are_the_bytes_of_one_process(nano, asked, whole, tmp_path):
    parts = [ask(nano, asked, tmp_path, Share(number, 3)) for number in (2, 0, 1)]
    rows = [[line["row"] for line in JsonlLog(part).read()[1:]] for part in parts]
    assert sorted(row for own in rows for row in own) == list(range(23)) and all(map(len, rows))
    path = tmp_path / "t" / "trained.jsonl"
    gather(path)
    assert path.read_bytes() == whole and not list(tmp_path.rglob("*.part"))
    found = read_answers(path)
    assert {row["row"] for row in found.set_aside} == {5, 9, 21} and found.seconds > 0
    assert sorted(tmp_path.rglob("*.seconds")) == [times_path(path)]
    gather(path)
    assert path.read_bytes() == whole, "and nothing more to do"


def test_broken_off_it_goes_on_with_another_number(nano, asked, whole, tmp_path, monkeypatch):
    answer, windows = run._Run._answer, []

    def dying(self, rows):
        windows.append(rows)
        if len(windows) == 2:
            raise KeyboardInterrupt
        return answer(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, "_answer", dying)
        with pytest.raises(KeyboardInterrupt):
            ask(nano, asked, tmp_path, Share(1, 3))
    ask(nano, asked, tmp_path, Share(2, 3))
    path = tmp_path / "t" / "trained.jsonl"
    with JsonlLog(part_path(path, 1)) as held:
        held.extend([])
        with pytest.raises(Locked):
            gather_below(tmp_path)
    gather_below(tmp_path)
    there = {row["row"] for row in read_answers(path).rows}
    assert 4 in there and 16 not in there, "what was answered is kept"
    asks = []
    monkeypatch.setattr(run._Run, "_answer", lambda self, rows: asks.extend(rows) or answer(self, rows))
    ask(nano, asked, tmp_path, Share(1, 2))
    assert asks and not set(asks) & there
    assert 9 in rows_of(path) and 1 not in rows_of(path), "the second with its id is there before the first"
    assert ask(nano, asked, tmp_path) == path, "one process gathers what there is and does the rest"
    assert path.read_bytes() == whole and not list(tmp_path.rglob("*.part"))


def test_answers_of_two_settings_never_meet(nano, asked, tmp_path):
    ask(nano, asked, tmp_path, Share(0, 2))
    other = Task(name="t", inferencer={"name": "likelihood", "normalise": "byte"})
    with pytest.raises(ValueError, match="another inferencer"):
        run_task(other, nano, tmp_path, source=asked, batch_size=1)
    assert len(rows_of(tmp_path / "t" / "trained.jsonl")) == 12, "and none is lost"


def test_the_command(nano, tmp_path, capfd):
    nano.save(tmp_path / "model")
    questions = [question(n) for n in range(9)]
    write_jsonl(questions, tmp_path / "own.jsonl")
    lines = (tmp_path / "own.jsonl").read_text().splitlines()
    (tmp_path / "own.jsonl").write_text("\n".join([*lines[:3], "{no json", *lines[3:]]) + "\n")
    assert len(open_source(str(tmp_path / "own.jsonl"), on_error="set_aside")) == 9
    words = ["eval", str(tmp_path / "model"), "--data", str(tmp_path / "own.jsonl"), "--no-blind"]
    words += ["--batch-size", "1", "--threads", "1", "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    alone = capfd.readouterr().out
    assert main([*words, str(tmp_path / "two"), "--processes", "2"]) == 0
    assert capfd.readouterr().out.replace("two", "one") == alone
    one, two = (tmp_path / name / "own" / "trained.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert main([*words, str(tmp_path / "three"), "--processes", "2", "--inferencer", "generte"]) == 2
    assert "generte" in capfd.readouterr().err
    assert main(["eval", "m", "--address", "http://127.0.0.1:9/v1", "--data", "x", "--processes", "2"]) == 2
    assert "--concurrency" in capfd.readouterr().err
