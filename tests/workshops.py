"""A workshop for tests of loops: models are functions of a question, and training writes down what it got."""

from __future__ import annotations

from pathlib import Path

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.inference.answerers import FunctionAnswerer
from vitrail.loops.rounds import Round, read_records


class Listed:
    """Records as a source."""

    name, fingerprint, root = "listed", "listed", None

    def __init__(self, records):
        self.records = list(records)

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        return self.records[index]

    def __iter__(self):
        return iter(self.records)


class Pretended:
    """``answer(model, chat)`` is what a model says; ``model`` counts the trainings. ``trained`` holds each one's start
    and records.
    """

    def __init__(self, folder, records, answer, seed=0):
        self.folder, self.seed, self._source, self._answer = Path(folder), seed, Listed(records), answer
        self.trained, self.notes, self.asked = [], [], 0

    def source(self):
        return self._source

    def start(self):
        return "start"

    def train(self, folder, records, root, start):
        self.trained.append((start, read_records(records)))
        (folder).mkdir(parents=True, exist_ok=True)
        (folder / "trained").touch()
        return f"model-{folder.parent.name}"

    def bundle(self, model):
        return model

    def measure(self, folder, model):
        return {"score": float(int(model[-2:]) % 2)}

    def note(self, text):
        self.notes.append(text)

    def answerer(self, model):
        def say(chat):
            self.asked += 1
            return self._answer(model, chat)

        return FunctionAnswerer(say, model)


def pretend(monkeypatch):
    """Rounds ask a pretended workshop's functions."""
    monkeypatch.setattr(Round, "answerer", lambda self, model: self.workshop.answerer(model))


def asked(text, answer, id=None, options=None, images=(), **meta):
    """A question with its answer."""
    user = Message(role="user", content=(*images, Text(text=text)))
    if options is not None:
        choices = Choices(options=tuple((Text(text=one),) for one in options), answer=options.index(answer))
        return Chat(id=id, messages=(user,), choices=choices, meta=meta)
    return Chat(id=id, messages=(user, Message(role="assistant", content=answer)), meta=meta)
