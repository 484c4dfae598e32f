"""Planted answers come out, bad rows are counted, a killed run goes on, settings never mix in one file."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image as PILImage

from conftest import chat, picture
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Chat, Choices, Image, Message, Text, Video
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, compare, run_task, score
from vitrail.evaluation.answers import read_answers

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
TASK = Task(name="colours")


def square(colour: str, size: tuple[int, int] = (24, 16)) -> Image:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, COLOURS[colour]).save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=size[0], height=size[1])


def question(number: int, kind: str = "colour", text: str = "Which colour?", **changes) -> Chat:
    """The right colour goes round, and so does its place among the options."""
    names = list(COLOURS)
    right = names[number % 4]
    options = names[number // 4 % 4 :] + names[: number // 4 % 4]
    fields = {
        "id": f"q{number}",
        "messages": (Message(role="user", content=(square(right), Text(text=text))),),
        "choices": Choices(options=tuple(options), answer=options.index(right)),
        "meta": {"kind": kind, "picture": f"p{number // 2}", "names": "known"},
    }
    return Chat(**{**fields, **changes})


class Planted(torch.nn.Module):
    """Says the colour of the picture, and something else where the prompt has the word ``weak``.

    For a grey picture every token is as likely as any other.
    """

    def __init__(self, bundle) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(5.0))
        self.head = torch.nn.Identity()
        self.encoder, self.vocabulary = bundle.encoder, bundle.model.get_input_embeddings().num_embeddings
        self.config = SimpleNamespace(max_position_embeddings=256)

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask, pixel_values=None, logits_to_keep=None):
        assert len(input_ids) == 1 and attention_mask.all()
        ids = input_ids[0].tolist()
        logits = torch.zeros(1, len(ids), self.vocabulary)
        start = len(ids) - ids[::-1].index(self.encoder.tokenizer.convert_tokens_to_ids("<|im_start|>"))
        start += len(self.encoder.text_ids("assistant\n"))
        said = self._said(pixel_values[0], "weak" in self.encoder.tokenizer.decode(ids))
        for place, token in enumerate(said, start - 1):
            if place < len(ids):
                logits[0, place, token] = self.scale
        logits = self.head(logits)
        return SimpleNamespace(logits=logits if logits_to_keep is None else logits[logits_to_keep])

    def _said(self, pixels, weak: bool) -> list[int]:
        mean = pixels.mean((1, 2))
        if mean.max() - mean.min() < 0.1:
            return []
        bright = tuple(255 if channel > 0 else 0 for channel in mean)
        colour = next(name for name, rgb in COLOURS.items() if rgb == bright)
        names = list(COLOURS)
        return self.encoder.answer_ids(names[names.index(colour) - 1] if weak else colour)


@pytest.fixture
def planted(nano):
    return dataclasses.replace(nano, model=Planted(nano), name="planted")


def test_a_planted_model_scores_what_it_was_planted_with(planted, tmp_path):
    records = [question(n, *(("weak", "A weak one?") if n % 3 == 0 else ())) for n in range(48)]
    path = run_task(TASK, planted, tmp_path, source=ListSource(records))
    assert path == tmp_path / "colours" / "trained.jsonl"
    found = score(path)
    assert (found.overall.n, found.overall.right, found.rows, found.missing) == (48, 32, 48, 0)
    assert found.by_kind["colour"].accuracy == 1.0 and found.by_kind["weak"].accuracy == 0.0
    assert found.by_names["known"].n == 48
    assert found.overall.clusters == 24 and found.overall.ties == 0
    assert found.overall.chance == 0.25
    low, high = found.by_kind["colour"].interval
    assert low < 0.95 and high == 1.0
    header = read_answers(path).header
    assert header["run"] == {
        "batch_size": 16,
        "share_prompt": False,
        "reason": "its forward takes no cache of keys and values",
    }


def test_blind_is_the_same_model_without_a_picture(planted, tmp_path):
    source = ListSource([question(n) for n in range(48)])
    seen, blind = (run_task(TASK, planted, tmp_path, one, source=source) for one in ("trained", "blind"))
    found = score(blind)
    # Every token is equally likely, so the shortest option ("red") is best: right for a quarter of them.
    assert found.overall.right == 12
    difference = compare(seen, blind)
    assert difference.overall.difference == 0.75 and difference.overall.p == 1e-4, (
        "of 24 pictures, none the other way"
    )
    assert difference.overall.interval[0] > 0.5
    assert (difference.overall.only_first, difference.overall.only_second, difference.unpaired) == (36, 0, 0)


def test_ties_go_to_the_first_option_and_are_counted(planted, tmp_path):
    options = Choices(options=("x", "y", "z"), answer=1)
    lengths = {len(planted.encoder.answer_ids(text)) for text in ("x", "y", "z")}
    source = ListSource([question(n, choices=options) for n in range(4)])
    rows = read_answers(run_task(TASK, planted, tmp_path, "blind", source=source)).rows
    assert len(lengths) == 1 and all(row["tie"] and row["choice"] == 0 for row in rows)
    assert score(tmp_path / "colours/blind.jsonl").overall.ties == 4


def test_bad_records_are_named_and_counted(planted, tmp_path):
    ok = [question(n) for n in range(3)]
    turn = (*ok[0].messages, Message(role="assistant", content="red"))
    gone = Message(role="user", content=(Image(path="gone.png"), Text(text="Which?")))
    film = Message(role="user", content=(Video(frames=(square("red"),)), Text(text="Which?")))
    bad = {
        "choices.answer is missing": question(10, choices=Choices(options=("a", "b"))),
        "'gone.png' does not exist": question(11, messages=(gone,)),
        "has the id 'q1' of row 1": question(12, id="q1"),
        "are both 'red'": question(13, choices=Choices(options=("red", "blue", "red"), answer=0)),
        "is empty": question(14, choices=Choices(options=("red", " "), answer=0)),
        "is a video": question(15, messages=(film,)),
        "the last turn is the assistant's": question(16, messages=turn),
        "neither choices nor an assistant's answer": question(17, choices=None),
        "no options to rank": question(18, choices=None, messages=turn),
        "is not plain text": question(19, choices=Choices(options=((square("red"),), ("b")), answer=0)),
        "the model's context is 256": question(20, text="word " * 300),
    }
    records = [*ok[:2], *bad.values(), ok[2]]
    path = run_task(TASK, planted, tmp_path, source=ListSource(records, root=tmp_path))
    found, answers = score(path), read_answers(path)
    assert [row["row"] for row in answers.rows] == [0, 1, len(records) - 1]
    for number, (reason, entry) in enumerate(zip(bad, answers.set_aside, strict=True), 2):
        assert reason in entry["reason"] and entry["row"] == number
    assert (found.rows, found.overall.n, found.set_aside, found.missing) == (len(records), 3, len(bad), 0)
    assert sum(found.reasons.values()) == len(bad) and answers.complete


def test_rows_of_a_file_that_cannot_be_read_are_counted_too(planted, tmp_path):
    write_jsonl([question(n) for n in range(4)], tmp_path / "q.jsonl")
    lines = (tmp_path / "q.jsonl").read_text().splitlines()
    lines.insert(1, '{"messages": 3}')
    (tmp_path / "q.jsonl").write_text("\n".join(lines) + "\n")
    task = Task(name="mine", scenario={"name": "file", "path": str(tmp_path / "q.jsonl")})
    found = score(run_task(task, planted, tmp_path))
    assert (found.overall.n, found.overall.right, found.unread, found.set_aside) == (4, 4, 1, 0)
    assert "messages" in next(iter(found.reasons))
    assert score(run_task(task, planted, tmp_path)) == found, "asked again, nothing changes"


def counted(monkeypatch):
    """How many questions are really asked."""
    from vitrail.evaluation.inferencers import Likelihood

    asked: list[int] = []
    ask = Likelihood.ask

    def counting(self, bundle, questions, batch_size):
        asked.append(len(questions))
        return ask(self, bundle, questions, batch_size)

    monkeypatch.setattr(Likelihood, "ask", counting)
    return asked


def test_a_broken_off_run_goes_on_and_asks_nothing_again(planted, tmp_path, monkeypatch):
    source = ListSource([question(n) for n in range(11)])
    whole = run_task(TASK, planted, tmp_path / "a", source=source, batch_size=1)
    asked = counted(monkeypatch)
    for kept in range(1, 12):
        path = tmp_path / str(kept) / "colours" / "trained.jsonl"
        path.parent.mkdir(parents=True)
        lines = whole.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        asked.clear()
        assert run_task(TASK, planted, tmp_path / str(kept), source=source, batch_size=1) == path
        assert sum(asked) == 11 - (kept - 1)
        assert path.read_bytes() == whole.read_bytes()
    asked.clear()
    run_task(TASK, planted, tmp_path / "a", source=source)
    assert asked == []


def test_a_window_cut_in_two_ends_as_the_same_bytes(nano, tmp_path):
    """A torn write leaves a part of a window: its float sums must be those of the whole window's batches."""
    source = ListSource([question(n, text="Which " * (1 + n % 5)) for n in range(20)])
    task = Task(name="torn")
    whole = run_task(task, nano, tmp_path / "whole", source=source, batch_size=3).read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in (2, 7, 15):
        path = tmp_path / str(kept) / "torn" / "trained.jsonl"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
        run_task(task, nano, tmp_path / str(kept), source=source, batch_size=3)
        assert path.read_bytes() == whole


KILLED = """
import sys
sys.path[:0] = {paths!r}
import conftest
from vitrail.evaluation import Task, run_task
from vitrail.models.testbeds import nano
import test_run
def progress(done, total):
    print(done, flush=True)
source = test_run.killing_source()
run_task(test_run.TASK, nano.build(seed=0), {folder!r}, source=source, batch_size=1, progress=progress)
"""


def killing_source() -> ListSource:
    return ListSource([question(n, id=f"q{n}") for n in range(160)])


def test_killed_and_started_again_is_as_if_never_killed(nano, tmp_path):
    here = Path(__file__).parent
    code = KILLED.format(paths=[str(here), str(here.parent)], folder=str(tmp_path / "killed"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        for line in process.stdout:
            if int(line) >= 40:
                process.send_signal(signal.SIGKILL)
                break
    path = tmp_path / "killed/colours/trained.jsonl"
    before = path.read_bytes()
    assert 40 <= len(read_answers(path).rows) < 160, "the kill must come in the middle"
    run_task(TASK, nano, tmp_path / "killed", source=killing_source(), batch_size=1)
    whole = run_task(TASK, nano, tmp_path / "whole", source=killing_source(), batch_size=1)
    assert path.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    answers = [[json.loads(line) for line in file.read_text().splitlines()] for file in (path, whole)]
    for one, other in zip(*answers, strict=True):
        for name in ("logprobs", "values", "margin"):
            if name in one:
                assert one.pop(name) == pytest.approx(other.pop(name), abs=1e-5)
        assert one == other


def test_batch_size_and_padding_side_do_not_change_answers(nano, tmp_path):
    source = ListSource([question(n, text="Which " * (1 + n % 5)) for n in range(12)])
    first = read_answers(run_task(TASK, nano, tmp_path / "1", source=source, batch_size=1)).rows
    left = dataclasses.replace(nano)
    left.collator = lambda side="left": nano.collator("left")
    for bundle, size in ((nano, 5), (nano, 16), (left, 4)):
        path = run_task(TASK, bundle, tmp_path / f"{bundle is left}{size}", source=source, batch_size=size)
        for one, other in zip(first, read_answers(path).rows, strict=True):
            assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-5)
            assert one["choice"] == other["choice"] or one["tie"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"instruction": {"name": "template", "query": "brief"}},
            "another prompt .*query: None, now 'brief'",
        ),
        ({"inferencer": {"name": "likelihood", "normalise": "token"}}, "normalise: 'sum', now 'token'"),
    ],
)
def test_settings_never_mix_in_one_file(planted, tmp_path, change, words):
    source = ListSource([question(n) for n in range(2)])
    run_task(TASK, planted, tmp_path, source=source)
    before = (tmp_path / "colours/trained.jsonl").read_bytes()
    with pytest.raises(ValueError, match=f"{words}.*give another folder, or remove the file"):
        run_task(Task(name="colours", **change), planted, tmp_path, source=source)
    assert (tmp_path / "colours/trained.jsonl").read_bytes() == before


def test_another_model_or_other_questions_never_mix_in_one_file(planted, tmp_path):
    source = ListSource([question(n) for n in range(2)])
    run_task(TASK, planted, tmp_path, source=source)
    with pytest.raises(ValueError, match="another scenario"):
        run_task(TASK, planted, tmp_path, source=ListSource([question(n) for n in range(3)]))
    with pytest.raises(ValueError, match="another transform"):
        run_task(TASK, planted, tmp_path, source=source, transform="blind")
    with torch.no_grad():
        planted.model.scale += 1e-3
    with pytest.raises(ValueError, match="another model"):
        run_task(TASK, planted, tmp_path, source=source)


def test_a_literal_placeholder_in_a_question_stays_text(nano, tmp_path):
    source = ListSource([question(0, text="Is <image> a <|im_end|> word?"), question(1)])
    found = score(run_task(TASK, nano, tmp_path, source=source))
    assert (found.overall.n, found.set_aside) == (2, 0)


def test_answers_in_words(nano, tmp_path):
    task = Task(name="words", inferencer={"name": "generate", "max_new_tokens": 3}, metric="match")
    open_question = chat("What is this?", "a cat", id="open")
    source = ListSource([question(0), open_question])
    path = run_task(task, nano, tmp_path, source=source)
    rows = read_answers(path).rows
    assert [row["reference"] for row in rows] == [None, "a cat"]
    found = score(path)
    assert found.overall.right + found.overall.wrong + found.overall.unparsed == found.overall.n == 2
    assert found.overall.chance is None and found.by_kind["colour"].chance == 0.25


def test_wrong_arguments_are_refused(planted, tmp_path):
    with pytest.raises(ValueError, match="batch_size is 0"):
        run_task(TASK, planted, tmp_path, source=ListSource([]), batch_size=0)
    with pytest.raises(ValueError, match=r"condition '\.\./x' cannot name a file"):
        run_task(TASK, planted, tmp_path, "../x", source=ListSource([]))
    with pytest.raises(ValueError, match="transform is 'blnd'; did you mean 'blind'"):
        run_task(TASK, planted, tmp_path, source=ListSource([]), transform="blnd")
    with pytest.raises(ValueError, match="no scenario"):
        run_task(TASK, planted, tmp_path)


def test_progress_and_scenes(nano, tmp_path):
    pytest.importorskip("resvg_py")
    told = []
    task = Task(name="scenes", scenario={"name": "scenes", "n": 12})
    path = run_task(
        task, nano, tmp_path, progress=lambda done, total: told.append((done, total)), batch_size=1
    )
    assert told == [(4, 12), (8, 12), (12, 12)]
    found = score(path)
    assert found.overall.n == 12 and len(found.by_kind) > 1 and set(found.by_names) == {"known"}


def test_pictures_are_questions_clusters_where_nothing_says_so(planted, tmp_path):
    same = [question(n, meta={}, messages=question(0).messages) for n in range(3)]
    other = question(3, meta={}, messages=(Message(role="user", content=(picture(9), Text(text="Which?"))),))
    path = run_task(TASK, planted, tmp_path, source=ListSource([*same, other]), condition="blind")
    rows = read_answers(path).rows
    assert len({row["cluster"] for row in rows[:3]}) == 1 and rows[3]["cluster"] != rows[0]["cluster"]
