"""The seam *scenario*: what is asked. Records with options or a reference answer, from any source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from vitrail import registry
from vitrail.data.folds import picture_of
from vitrail.data.media import media_of, why_unreadable
from vitrail.data.records import Chat, Document, Image, Media, Message, Text
from vitrail.data.sources import Source, set_aside_of, take
from vitrail.evaluation.task import Settings
from vitrail.storage.cache import key


@dataclass(frozen=True)
class Item:
    """One question: ``chat`` ends with the user's turn.

    ``options`` and ``answer`` (an index) for multiple choice, ``reference`` for an answer in words.
    ``cluster`` names the picture: questions about one picture are not independent. ``text``: a document of text alone,
    which is read instead of asked; ``reference`` is the whole of it, and ``chat`` says it. ``groups`` is what a
    benchmark's score tells apart besides ``kind`` (a level, a part, a pair), by name.
    """

    row: int
    id: str
    chat: Chat
    root: Path | None
    kind: str
    cluster: str
    names: str | None
    options: tuple[str, ...] = ()
    answer: int | None = None
    reference: str | None = None
    text: Document | None = None
    groups: Mapping[str, Any] = field(default_factory=dict)


class ScenesScenario:
    """Multiple-choice questions about composed scenes of a frozen suite."""

    class Config(Settings):
        """Which questions: see :meth:`vitrail.data.scenes.suites.SceneSuite.questions`."""

        suite: str = "scenes-v1"
        fold: Literal["development", "test"] = "test"
        names: str = "known"
        seed: int = Field(default=0, ge=0)
        n: int = Field(default=200, ge=1)
        kinds: tuple[str, ...] | None = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def source(self) -> Source:
        """The questions."""
        from vitrail.data.scenes import suite

        c = self.config
        return suite(c.suite).questions(fold=c.fold, names=c.names, seed=c.seed, n=c.n, kinds=c.kinds)


class FileScenario:
    """Chat records of a JSONL or Parquet file: with ``choices``, or ending with a reference answer."""

    class Config(Settings):
        """The file; ``n`` takes the first so many. Rows that cannot be read are set aside and counted."""

        path: str = Field(min_length=1)
        n: int | None = Field(default=None, ge=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    def source(self) -> Source:
        """The records."""
        from vitrail.data.readers import open_source

        source = open_source(self.config.path, on_error="set_aside")
        return source if self.config.n is None else take(source, min(self.config.n, len(source)))


class BenchmarkScenario:
    """A benchmark's official files, or one of ours that needs none (``vitrail eval list`` names them)."""

    class Config(Settings):
        """``benchmark`` by name, the folder ``path`` of its files, and its own ``settings``.

        ``n`` takes the first so many. ``circular``: ask under every rotation of the options; default as its protocol
        says.
        """

        benchmark: str
        path: str | None = None
        settings: dict[str, Any] = Field(default_factory=dict)
        n: int | None = Field(default=None, ge=1)
        circular: bool | None = None

    def __init__(self, config: Config) -> None:
        from vitrail.settings.component import filled, require_known

        self.config = config
        require_known("benchmark", config.benchmark)
        given = {**({} if config.path is None else {"path": config.path}), **config.settings}
        component = registry.get("benchmark", config.benchmark)
        self.benchmark = component(
            component.Config.model_validate(filled("benchmark", config.benchmark, given))
        )

    def source(self) -> Source:
        """The questions."""
        from vitrail.evaluation.circular import Rotations

        source, n = self.benchmark.source(), self.config.n
        if n is not None and n < len(source):
            source = shortened(source, n)
        rotate = self.benchmark.circular if self.config.circular is None else self.config.circular
        if rotate and self.benchmark.listed:
            raise ValueError(
                f"{self.benchmark.title} lists its options inside its questions, so they cannot be rotated; leave "
                "circular out"
            )
        return Rotations(source) if rotate else source


def shortened(source: Source, n: int) -> Source:
    """The first ``n`` questions of a benchmark, which it stays; what was set aside stays counted."""
    some: Any = take(source, n)
    some.benchmark, some.set_aside = getattr(source, "benchmark", None), set_aside_of(source)
    for name in ("options_of", "about"):
        if hasattr(source, name):
            setattr(some, name, getattr(source, name))
    return some


def as_item(record: Any, row: int, root: Path | None) -> Item:
    """A record as a question. ValueError with the reason why it cannot be asked."""
    if isinstance(record, Document) and all(isinstance(part, Text) for part in record.content):
        return _read(record, _common(record, row, root))
    if not isinstance(record, Chat):
        raise ValueError(
            f"is a {getattr(record, 'kind', type(record).__name__)!r} record; only chats and texts can be asked"
        )
    _require_pictures(media_of(record.messages, "messages"), root)
    common = _common(record, row, root)
    if record.choices is None:
        return _open_question(record, common)
    if record.messages[-1].role != "user":
        raise ValueError(f"the last turn is the {record.messages[-1].role}'s; the user must ask")
    if record.choices.answer is None:
        raise ValueError("choices.answer is missing: the right option is not known")
    options = _option_texts(record.choices.options, root)
    empty = [index for index, option in enumerate(options) if not option.strip()]
    if empty:
        raise ValueError(f"choices.options[{empty[0]}] is empty")
    for index, option in enumerate(options):
        if option in options[:index]:
            raise ValueError(f"choices.options[{options.index(option)}] and [{index}] are both {option!r}")
    return Item(chat=record, options=options, answer=record.choices.answer, **common)


def _require_pictures(media: Iterable[tuple[str, Media]], root: Path | None) -> None:
    for place, medium in media:
        if not isinstance(medium, Image):
            raise ValueError(f"{place} is a {medium.type}; only pictures can be shown")  # type: ignore[attr-defined]
        problem = why_unreadable(medium, root)
        if problem is not None:
            raise ValueError(f"{place}: {problem}")


def _option_texts(options: tuple[Any, ...], root: Path | None) -> tuple[str, ...]:
    """What the options say; of options that are one picture each, which picture it is (equal ones are one)."""
    for index, parts in enumerate(options):
        plain = all(isinstance(part, Text) for part in parts)
        one_picture = len(parts) == 1 and isinstance(parts[0], Image)
        if plain == (not isinstance(options[0][0], Text)) or not (plain or one_picture):
            raise ValueError(
                f"choices.options[{index}] is not plain text, nor are all options one picture each"
            )
    if isinstance(options[0][0], Text):
        return tuple("".join(part.text for part in parts) for parts in options)
    _require_pictures(media_of(options, "choices.options"), root)
    return tuple(key("picture", parts[0].read(root))[:16] for parts in options)


def _common(record: Any, row: int, root: Path | None) -> dict[str, Any]:
    return {
        "row": row,
        "id": record.id if record.id is not None else f"row-{row}",
        "root": root,
        "kind": str(record.meta.get("kind", "all")),
        "cluster": str(record.meta.get("picture") or picture_of(record, row)),
        "names": record.meta.get("names"),
        "groups": dict(record.meta.get("groups") or {}),
    }


def _read(record: Document, common: dict[str, Any]) -> Item:
    """A text, to be read."""
    text = "".join(part.text for part in record.content if isinstance(part, Text))
    if not text.strip():
        raise ValueError("the text is empty")
    said = Chat(messages=(Message(role="assistant", content=(Text(text=text),)),))
    return Item(chat=said, reference=text, text=record, **common)


def _open_question(record: Chat, common: dict[str, Any]) -> Item:
    """A chat whose last turn is the answer."""
    *before, last = record.messages
    if last.role != "assistant" or not before or before[-1].role != "user":
        raise ValueError("has neither choices nor an assistant's answer to the user's last turn")
    if not last.text.strip():
        raise ValueError("the reference answer is empty")
    return Item(chat=record.model_copy(update={"messages": tuple(before)}), reference=last.text, **common)
