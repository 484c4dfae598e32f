"""The work on one partition: files in, a folder out.

A pipeline falls into steps at its corpus operations. A step carries out the decisions of the corpus operation before
it, then its own operations on each document, and makes the sketches that the next corpus operation decides by. The
folder holds ``documents.jsonl``, ``dropped.jsonl`` (every document that left, and why), ``counts.json`` and, where a
corpus operation follows, ``sketches.arrow``. It is addressed by everything that it depends on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs import INPUT, read_documents
from vitrail.curation.operations.operation import CorpusOperation, Operation, Outcome, language_of
from vitrail.curation.pipeline import InputSettings, OperationSettings, Pipeline
from vitrail.data.records import Document
from vitrail.storage.cache import FolderCache

_SKETCHES_A_BATCH = 1024
_SKETCHED_BYTES = 64_000_000
"""Documents that wait to be sketched together are sketched when they hold more than this."""


@dataclass(frozen=True)
class Step:
    """A stretch of a pipeline between two corpus operations: numbers of operations in its list."""

    applies: int | None
    operations: tuple[int, ...]
    sketches: int | None


def steps_of(operations: Sequence[Operation]) -> list[Step]:
    """The steps, in order; the last one sketches nothing."""
    steps: list[Step] = []
    applies: int | None = None
    run: list[int] = []
    for number, operation in enumerate(operations):
        if isinstance(operation, CorpusOperation):
            steps.append(Step(applies, tuple(run), number))
            applies, run = number, []
        else:
            run.append(number)
    return [*steps, Step(applies, tuple(run), None)]


@dataclass(frozen=True)
class Task:
    """A step on a partition. ``files`` are the partition's own in the first step, ``before`` the folder of the step
    before in all others; ``decisions`` is the file of those for this partition.
    """

    key: str
    cache: Path
    pipeline: Pipeline
    step: Step
    base: Path
    files: tuple[Path, ...] = ()
    before: Path | None = None
    decisions: Path | None = None


def work(task: Task) -> None:
    """Make the folder of a task, unless it is there."""
    FolderCache(task.cache).get_or_make(task.key, lambda folder: _Worker(task, folder).run())


class _Worker:
    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder
        names, settings = task.pipeline.names(), task.pipeline.operations
        self.first = OperationCounts(INPUT) if task.before is None else None
        self.applies = None if task.step.applies is None else self._build(settings[task.step.applies])
        self.operations = [self._build(settings[number]) for number in task.step.operations]
        self.sketches = None if task.step.sketches is None else self._build(settings[task.step.sketches])
        numbers = [*([] if task.step.applies is None else [task.step.applies]), *task.step.operations]
        self.counts = [OperationCounts(names[number]) for number in numbers]

    def _build(self, settings: OperationSettings) -> Operation:
        operation: Operation = settings.build()
        operation.root = self.task.base
        return operation

    def run(self) -> None:
        with ExitStack() as stack:
            kept = stack.enter_context(open(self.folder / "documents.jsonl", "wb"))
            self.dropped = stack.enter_context(open(self.folder / "dropped.jsonl", "wb"))
            write_sketch = self._sketch_writer(stack)
            for number, document in enumerate(self._documents()):
                after = self._judged(number, document)
                if after is not None:
                    kept.write(after.model_dump_json(exclude_none=True).encode() + b"\n")
                    write_sketch(after)
        counts = [*([self.first] if self.first is not None else []), *self.counts]
        text = json.dumps([one.as_json() for one in counts], ensure_ascii=False)
        (self.folder / "counts.json").write_bytes(text.encode("utf-8", "replace"))

    def _documents(self) -> Iterator[Document]:
        if self.first is None:
            assert self.task.before is not None
            return read_kept(self.task.before)
        return read_documents(self.task.pipeline.input, self.task.files, self.task.base, self.first)

    def _judged(self, number: int, document: Document) -> Document | None:
        counts = iter(self.counts)
        if isinstance(self.applies, CorpusOperation):
            decision = self._decisions.get(number)
            corpus = self.applies
            here = document

            def carried_out(_: Document) -> Outcome:
                return Outcome(here) if decision is None else corpus.apply(here, decision)

            after = self._counted(next(counts), carried_out, document)
            if after is None:
                return None
            document = after
        for operation in self.operations:
            after = self._counted(next(counts), operation, document)
            if after is None:
                return None
            document = after
        return document

    def _counted(self, counts: OperationCounts, operation: Any, document: Document) -> Document | None:
        try:
            outcome: Outcome = operation(document)
        except (ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}"
            counts.add_fault(document, reason, str(error))
            self._log(counts.name, document, reason, detail=str(error)[:500])
            return None
        counts.add(document, outcome)
        if outcome.document is None:
            self._log(counts.name, document, outcome.reason)
        return outcome.document

    def _log(self, operation: str, document: Document, reason: str, **more: Any) -> None:
        row = {"id": document.id, "operation": operation, "reason": reason, "language": language_of(document)}
        self.dropped.write(json.dumps({**row, **more}, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    @property
    def _decisions(self) -> dict[int, Any]:
        if not hasattr(self, "_loaded"):
            assert self.task.decisions is not None
            rows = json.loads(self.task.decisions.read_bytes())
            self._loaded = {int(position): decision for position, decision in rows.items()}
        return self._loaded

    def _sketch_writer(self, stack: ExitStack) -> Any:
        if not isinstance(self.sketches, CorpusOperation):
            return lambda document: None
        import pyarrow as pa

        operation, schema = self.sketches, self.sketches.sketch_schema()
        file = stack.enter_context(pa.OSFile(str(self.folder / "sketches.arrow"), "wb"))
        writer = stack.enter_context(pa.ipc.new_stream(file, schema))
        rows: list[dict[str, Any]] = []
        pending: list[Document] = []
        size = 0

        def sketch() -> None:
            nonlocal size
            rows.extend(operation.sketches(pending))
            pending.clear()
            size = 0

        def flush() -> None:
            if rows:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                rows.clear()

        def finish(kind: Any, *_: object) -> None:
            if kind is None:
                sketch()
                flush()

        stack.push(finish)

        def write(document: Document) -> None:
            nonlocal size
            pending.append(document)
            size += sum(size_of(part) for part in document.content)
            if len(pending) >= operation.sketched_together or size > _SKETCHED_BYTES:
                sketch()
            if len(rows) >= _SKETCHES_A_BATCH:
                flush()

        return write


def size_of(part: Any) -> int:
    """Characters of a text, bytes of a medium that holds its own."""
    return len(part.text) if part.type == "text" else len(getattr(part, "bytes", None) or b"")


def read_kept(folder: Path) -> Iterator[Document]:
    """The documents of a step's folder, in order."""
    with open(folder / "documents.jsonl", "rb") as file:
        for line in file:
            yield Document.model_validate_json(line)


def read_counts(folder: Path) -> list[OperationCounts]:
    """The counts of a step's folder, checked."""
    return [OperationCounts.from_json(values) for values in json.loads((folder / "counts.json").read_bytes())]


def read_dropped(folder: Path) -> Iterator[dict[str, Any]]:
    """Every document that left in a step, with operation and reason."""
    with open(folder / "dropped.jsonl", "rb") as file:
        for line in file:
            yield json.loads(line)


class Sketches:
    """The sketches of all partitions, in the corpus's order, as often as they are asked for; never all in memory."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import pyarrow as pa

        for folder in self.folders:
            with open(folder / "sketches.arrow", "rb") as file, pa.ipc.open_stream(file) as reader:
                for batch in reader:
                    yield from batch.to_pylist()


def kept_in(folder: Path) -> int:
    """How many documents a step's folder holds."""
    return read_counts(folder)[-1].kept


def partitions_of(settings: InputSettings, files: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Files in groups, in order: a WARC file alone, smaller files together as the settings say."""
    groups: list[list[Path]] = []
    size = 0
    for path in files:
        length = path.stat().st_size
        full = not groups or len(groups[-1]) >= settings.partition_files
        if full or settings.name == "warc" or size + length > settings.partition_bytes:
            groups.append([])
            size = 0
        groups[-1].append(path)
        size += length
    return [tuple(group) for group in groups]
