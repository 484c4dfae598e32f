"""What every loop does in its folder: rounds one after the other, each of phases that are done once.

::

    rounds/start/run/      the model that the first round begins with, where it has to be made
    rounds/00/             one folder a round
      <phase>.jsonl        rows of a phase, appended as they come
      run/                 the round's training, a run folder of its own
      round.json           counts and scores; written last
    rounds/spent.jsonl     what remote partners were asked for, by address

Killed at any moment and started again, a loop does what is left and ends with equal files: rows of a phase depend on
their own item and the recipe's seed, not on what was asked beside them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.records import Chat, Record
from vitrail.inference.remote import RemoteSettings
from vitrail.storage import atomic
from vitrail.storage.cache import key
from vitrail.storage.log import JsonlLog

if TYPE_CHECKING:
    from vitrail.data.sources import Source
    from vitrail.inference.answerers import Answerer
    from vitrail.models.bundle import Bundle

T = TypeVar("T")
Partner = RemoteSettings | str
"""Who is asked: ``self`` (the model as the round has it), ``start`` (as the first round had it), another model's folder
or hub name, or an address (:class:`~vitrail.inference.remote.RemoteSettings`)."""


class Settings(BaseModel):
    """Frozen, and refuses fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class LoopSettings(Settings):
    """What all loops have.

    ``data``: the source that the loop takes its questions from (default: the last stage's). Stages that train on it are
    repeated every round, on what the loop makes of it; stages in front of them run once. ``rounds``: how many.
    ``every_round``: the recipe's evaluations are asked after each round, not after the last one alone. ``keep``: the
    run's model is the last round's, or that of the best score in the first evaluation. ``batch_size``: questions in a
    forward; it changes no answer. ``share_start``: stages that run once are run in the user's cache, where all loops
    that begin alike share them.
    """

    data: str | None = Field(default=None, min_length=1)
    rounds: int = Field(default=4, ge=1)
    every_round: bool = True
    keep: Literal["last", "best"] = "last"
    batch_size: int = Field(default=16, ge=1)
    share_start: bool = False


class Workshop(Protocol):
    """What a recipe gives its loop. Models are named by folders or hub names."""

    folder: Path
    seed: int

    def source(self) -> Source:
        """The loop's data, as questions."""
        ...

    def start(self) -> str:
        """The model that the first round begins with; made now if it is not there."""
        ...

    def train(self, folder: Path, records: Path, root: Path | None, start: str | None) -> str:
        """Take ``start`` (None: the same fresh beginning every time) through the round's stages on the file
        ``records``, in ``folder`` or what is left of it; returns the trained model.
        """
        ...

    def bundle(self, model: str) -> Bundle:
        """A model on the device; one is held at a time."""
        ...

    def measure(self, folder: Path, model: str) -> dict[str, float]:
        """The recipe's evaluations of a model, by name; more is better."""
        ...

    def note(self, text: str) -> None:
        """Tell whoever listens."""
        ...


@dataclass(frozen=True)
class Forecast:
    """One line of a plan: ``what`` is done ``times`` times a round at the most (None: not known), by ``whom``."""

    what: str
    times: int | None
    whom: str


class Loop(ABC):
    """One kind of loop. A subclass has a frozen ``Config`` that extends :class:`LoopSettings`."""

    Config: type[LoopSettings]

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def round(self, here: Round) -> dict[str, Any]:
        """One whole round, or what is left of it; its summary. ``model`` is the trained one, ``stop`` a reason why no
        further round is needed (None: none).
        """

    @abstractmethod
    def forecast(self, n: int) -> list[Forecast]:
        """What a round asks for, with ``n`` records of data."""


@dataclass(frozen=True)
class Round:
    """One round: ``number`` of ``of``, in ``folder``. ``before``: the summary of the one before it."""

    number: int
    of: int
    folder: Path
    workshop: Workshop
    batch_size: int
    before: Mapping[str, Any] | None = None

    @property
    def last(self) -> bool:
        """Whether none follows."""
        return self.number == self.of - 1

    @property
    def folder_before(self) -> Path:
        """The folder of the round before this one."""
        return self.folder.with_name(f"{self.number - 1:02d}")

    def model_before(self) -> str:
        """The model that the round begins with."""
        return str(self.before["model"]) if self.before is not None else self.workshop.start()

    def seed(self, *what: Any) -> int:
        """A seed for something drawn in this round."""
        return int(key("loop", self.workshop.seed, self.number, *what)[:7], 16)

    def rows(
        self,
        name: str,
        items: Sequence[T],
        make: Callable[[Sequence[T]], Iterable[Mapping[str, Any]]],
        chunk: int = 64,
    ) -> list[dict[str, Any]]:
        """One row an item, in order, from ``<name>.jsonl`` as far as it is there; ``make`` gives the rest in chunks."""
        with JsonlLog(self.folder / f"{name}.jsonl") as log:
            done = len(log)
            for start in range(done, len(items), chunk):
                part = items[start : start + chunk]
                for row in make(part):
                    log.append(row)
                if len(items) > chunk:
                    self.note(f"{name}: {min(start + chunk, len(items)):,} of {len(items):,}")
            return log.read()

    def once(self, name: str, make: Callable[[], Iterable[Record]]) -> Path:
        """The file ``<name>.jsonl`` of records, written as a whole if it is not there."""
        path = self.folder / f"{name}.jsonl"
        if not path.exists():
            write_records(make(), path)
        return path

    def answerer(self, model: str) -> Answerer:
        """A model of this machine as who answers."""
        from vitrail.inference.answerers import ModelAnswerer

        return ModelAnswerer(self.workshop.bundle(model), batch_size=self.batch_size)

    def partner(self, who: Partner, model: str) -> Answerer:
        """Who is asked; ``self`` is ``model``."""
        if isinstance(who, RemoteSettings):
            from vitrail.inference.remote import RemoteAnswerer

            return RemoteAnswerer(
                who, ledger=self.workshop.folder / f"spent-{key(who.base_url, who.model)[:8]}.jsonl"
            )
        return self.answerer(local(who, model, self.workshop))

    def note(self, text: str) -> None:
        """Tell, with the round's number."""
        self.workshop.note(f"round {self.number + 1} of {self.of}: {text}")


def local(who: str, model: str, workshop: Workshop) -> str:
    """The folder or hub name behind ``self`` (which is ``model``), ``start``, or a model's own name."""
    return model if who == "self" else workshop.start() if who == "start" else who


def named(who: Partner) -> str:
    """A partner for tables."""
    return f"{who.model} at {who.base_url}" if isinstance(who, RemoteSettings) else who


def write_records(records: Iterable[Record], path: Path) -> int:
    """Records as they are: paths of pictures stay what they are, bytes stand in the rows. Atomic; returns how many."""
    from vitrail.data.readers.writing import json_bytes

    count = 0
    with atomic.new_file(path) as file:
        for count, record in enumerate(records, 1):
            file.write(json_bytes(record, count - 1) + b"\n")
    return count


def read_records(path: Path) -> list[Chat]:
    """The chats of a file that :func:`write_records` wrote."""
    from vitrail.data.readers import open_source

    return list(open_source(path)) if path.stat().st_size else []  # type: ignore[arg-type]


def run_rounds(loop: Loop, workshop: Workshop) -> list[dict[str, Any]]:
    """All rounds, or what is left of them; their summaries as they stand in ``round.json``."""
    config, found = loop.config, []
    before: dict[str, Any] | None = None
    for number in range(config.rounds):
        folder = workshop.folder / f"{number:02d}"
        path = folder / "round.json"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            here = Round(number, config.rounds, folder, workshop, config.batch_size, before)
            summary = {"round": number, **loop.round(here)}
            if config.every_round or config.keep == "best":
                summary["scores"] = workshop.measure(folder / "run", summary["model"])
            atomic.write_json(path, summary)
        before = json.loads(path.read_text(encoding="utf-8"))
        assert before is not None
        found.append(before)
        workshop.note(f"round {number + 1} of {config.rounds}: {sentence(before)}")
        if before.get("stop"):
            break
    return found


def chosen(rounds: Sequence[Mapping[str, Any]], keep: str) -> Mapping[str, Any]:
    """The round whose model is the run's: the last, or the first of the best score in the first evaluation.

    ValueError where there is no score to choose by.
    """
    if keep == "last":
        return rounds[-1]
    if not rounds[0].get("scores"):
        raise ValueError("loop.keep is best, and the recipe has no evaluation to choose by; give it one")
    return max(rounds, key=lambda one: next(iter(one["scores"].values())))


def sentence(summary: Mapping[str, Any]) -> str:
    """A round in words."""
    left_out = ("round", "model", "stop", "scores", "reasons")
    said = [
        f"{name.replace('_', ' ')} {_short(value)}" for name, value in summary.items() if name not in left_out
    ]
    said += [f"{name} {_short(value)}" for name, value in summary.get("scores", {}).items()]
    stop = [f"stops: {summary['stop']}"] if summary.get("stop") else []
    return "; ".join([*said, *stop])


def _short(value: Any) -> str:
    return (
        f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )
