"""What an operation of a curation pipeline is: a document in, an :class:`Outcome` out.

An :class:`Operation` looks at one document. A :class:`CorpusOperation` needs all of them (duplicates, negatives from
other documents): it makes a small sketch of each document, decides over the sketches of the whole corpus in the
corpus's order, and applies the decisions to one document at a time, so that no text is ever held twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from vitrail.data.records import Document, Image, Text


class OperationConfig(BaseModel):
    """Frozen settings that refuse fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Outcome:
    """What became of a document: ``document``, or None and the ``reason`` why it was dropped.

    ``removed`` counts the parts that went, by reason; ``changed`` says whether anything else is different.
    """

    document: Document | None
    reason: str = ""
    removed: Mapping[str, int] = field(default_factory=dict)
    changed: bool = False

    def __post_init__(self) -> None:
        assert (self.document is None) == bool(self.reason), (
            "a dropped document has a reason, a kept one none"
        )


def kept(document: Document) -> Outcome:
    """The document as it was."""
    return Outcome(document)


def dropped(reason: str, removed: Mapping[str, int] | None = None) -> Outcome:
    """No document. ``removed``: the parts whose removal left nothing."""
    return Outcome(None, reason, removed or {})


def changed(document: Document, **meta: Any) -> Outcome:
    """The document with other ``meta``."""
    return Outcome(document.model_copy(update={"meta": {**document.meta, **meta}}), changed=True)


def without_parts(document: Document, why: Sequence[str | None]) -> Outcome:
    """The parts with a reason in ``why`` left out, the others in their order; dropped when none is left."""
    assert len(why) == len(document.content)
    removed: dict[str, int] = {}
    for reason in why:
        if reason is not None:
            removed[reason] = removed.get(reason, 0) + 1
    if not removed:
        return kept(document)
    content = tuple(part for part, reason in zip(document.content, why, strict=True) if reason is None)
    if not content:
        return dropped("no part is left", removed)
    return Outcome(document.model_copy(update={"content": content}), removed=removed, changed=True)


def filtered(
    document: Document,
    text: Callable[[str], str | None] | None = None,
    image: Callable[[Image], str | None] | None = None,
) -> Outcome:
    """Parts for which ``text`` or ``image`` gives a reason left out."""
    why: list[str | None] = []
    for part in document.content:
        if isinstance(part, Text) and text is not None:
            why.append(text(part.text))
        elif isinstance(part, Image) and image is not None:
            why.append(image(part))
        else:
            why.append(None)
    return without_parts(document, why)


def texts_of(document: Document) -> list[str]:
    """The text parts, in order."""
    return [part.text for part in document.content if isinstance(part, Text)]


def images_of(document: Document) -> list[Image]:
    """The pictures, in order."""
    return [part for part in document.content if isinstance(part, Image)]


def language_of(document: Document) -> str:
    """The language found so far; empty before any was looked for."""
    return str(document.meta.get("language", ""))


class Operation:
    """Called with a document. Subclasses have a frozen ``Config``; ``packages`` are those whose version matters."""

    Config: ClassVar[type[OperationConfig]] = OperationConfig
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()
        self.root = Path(".")
        """Where relative paths of pictures begin; set by whoever runs the operation."""
        self.say: Callable[[str], None] = lambda line: None
        """Told of what takes long; set by whoever runs the operation."""

    def __call__(self, document: Document) -> Outcome:
        """ValueError for a document that cannot be judged: it is set aside, and counted."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        """What the result depends on besides the settings: versions of packages, digests of files named."""
        return {name: metadata.version(name) for name in self.packages}


class CorpusOperation(Operation):
    """Sketch, decide, apply. ``sketch_schema`` names the columns of a sketch (pyarrow fields).

    ``sketched_together``: how many documents :meth:`sketches` is given at once where there are as many. What is decided
    must not depend on which these are.
    """

    sketched_together: ClassVar[int] = 1

    def sketch_schema(self) -> Any:
        """The Arrow schema of :meth:`sketch`."""
        raise NotImplementedError

    def sketch(self, document: Document) -> dict[str, Any]:
        """What :meth:`decide` must know of a document."""
        raise NotImplementedError

    def sketches(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """The sketch of each document. For operations that are faster at many: a model in full batches."""
        return [self.sketch(document) for document in documents]

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """Decisions (whatever JSON holds) by position in the corpus; a document without one stays as it is.

        ``sketches`` may be gone through more than once.
        """
        raise NotImplementedError

    def apply(self, document: Document, decision: Any) -> Outcome:
        """Carry out a decision."""
        raise NotImplementedError

    def alone(self, document: Document) -> tuple[str, Document]:
        """What can be said of one document without the others, in words, and what is left of it by that."""
        return "judged among all documents of a corpus; passed over here", document

    def __call__(self, document: Document) -> Outcome:
        """TypeError: there is no judging one document alone."""
        raise TypeError(f"{type(self).__name__} judges a document among others; it has decide() and apply()")


def needs(package: str, operation: str) -> ImportError:
    """The error of an operation whose package is not installed."""
    return ImportError(f"the operation {operation!r} needs {package}; install vitrail[curation]")
