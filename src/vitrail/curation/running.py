"""A pipeline run into a folder: partitions through its steps, decisions between them, files and a funnel at the end.

    OUT/data/<language>/00000.parquet   what was kept, a file for each partition (``OUT/data/00000.parquet`` without
                                        languages)
    OUT/funnel.json                     counts of every operation, by reason and language; how long documents are;
                                        pairs of duplicates
    OUT/pipeline.yaml                   the pipeline, every default filled in
    OUT/work/                           every partition after every step; a run that is repeated goes on from there

No byte below ``data`` and of ``funnel.json`` depends on the engine, the number of workers, or how often the run was
stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.curation import distributions
from vitrail.curation.counts import OperationCounts, add_up
from vitrail.curation.duplicate_pairs import pairs_of
from vitrail.curation.engines import Engine, Workers
from vitrail.curation.operations.operation import CorpusOperation, Operation
from vitrail.curation.outputs import DISTRIBUTIONS, WriteTask, published, write
from vitrail.curation.pipeline import Pipeline, code_fingerprint, identity, input_files
from vitrail.curation.steps import (
    Sketches,
    Step,
    Task,
    kept_in,
    partitions_of,
    read_counts,
    steps_of,
    work,
)
from vitrail.storage import atomic
from vitrail.storage.cache import FolderCache, file_digest, key
from vitrail.storage.lock import FileLock

FUNNEL, PIPELINE, DATA, WORK = "funnel.json", "pipeline.yaml", "data", "work"
PAIRS = "pairs.json"


@dataclass(frozen=True)
class Ran:
    """What a run gave: its folder, the counts of every operation in order, and the files written."""

    folder: Path
    counts: list[OperationCounts]
    files: list[Path]
    partitions: int


def run(
    pipeline: Pipeline,
    out: Path | str,
    *,
    base: Path | str = ".",
    engine: Engine = "cores",
    workers: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Ran:
    """Run ``pipeline`` into the folder ``out``; what is there already of an equal run is not made again.

    ``base`` is where the input's relative paths begin; ``say`` is told of each step. ValueError for input that is not
    there, ImportError for an operation whose package is missing, :class:`~vitrail.storage.lock.Locked` while another
    process writes into ``out``.
    """
    out, base = Path(os.path.abspath(out)), Path(os.path.abspath(base))
    if out.exists() and not (out / PIPELINE).exists() and any(out.iterdir()):
        raise ValueError(f"{out} is there and was not made by a pipeline; choose another folder")
    operations = pipeline.build()
    files = input_files(pipeline.input, base)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock", f"the folder {out}"):
        atomic.sweep(out)
        atomic.write_text(out / PIPELINE, pipeline.as_yaml())
        with Workers(engine, workers) as ready:
            return _Run(pipeline, operations, out, base, ready, say).go(files)


class _Run:
    def __init__(
        self,
        pipeline: Pipeline,
        operations: list[Operation],
        out: Path,
        base: Path,
        workers: Workers,
        say: Callable[[str], None],
    ) -> None:
        self.pipeline, self.operations, self.out, self.base = pipeline, operations, out, base
        self.workers, self.say = workers, say
        for operation in operations:
            operation.root, operation.say = base, say
        self.pairs: dict[str, list[dict[str, Any]]] = {}
        self.cache = FolderCache(out / WORK)
        self.cache.sweep(older_than_hours=0)
        self.identities = [
            identity(settings, operation)
            for settings, operation in zip(pipeline.operations, operations, strict=True)
        ]

    def go(self, files: list[Path]) -> Ran:
        groups = partitions_of(self.pipeline.input, files)
        settings = self.pipeline.input.model_dump(mode="json", exclude={"files"})
        keys = [
            key("input", code_fingerprint(), settings, *(self._named(path) for path in group))
            for group in groups
        ]
        folders: list[Path] = []
        counts: list[list[OperationCounts]] = [[] for _ in groups]
        for step in steps_of(self.operations):
            decisions = self._decisions(step, keys, folders)
            keys = [
                key("step", one, [self.identities[n] for n in self._numbers(step)], given)
                for one, (given, _) in zip(keys, decisions, strict=True)
            ]
            tasks = [
                Task(
                    keys[n], self.cache.root, self.pipeline, step, self.base,
                    files=groups[n] if not folders else (),
                    before=folders[n] if folders else None,
                    decisions=decisions[n][1],
                )
                for n in range(len(groups))
            ]  # fmt: skip
            self._work(work, tasks, self._about(step))
            folders = [self.cache.path(one) for one in keys]
            counts = [[*old, *read_counts(folder)] for old, folder in zip(counts, folders, strict=True)]
        return self._publish(keys, folders, counts)

    def _named(self, path: Path) -> list[str]:
        return [os.path.relpath(path, self.base), file_digest(path)]

    def _numbers(self, step: Step) -> list[int]:
        ends = [number for number in (step.applies, step.sketches) if number is not None]
        return sorted({*ends, *step.operations})

    def _about(self, step: Step) -> str:
        names = self.pipeline.names()
        return (
            ", ".join(names[number] for number in self._numbers(step) if number != step.sketches) or "input"
        )

    def _work(self, function: Callable[[Any], None], tasks: Sequence[Any], about: str) -> None:
        left = [task for task in tasks if task.key not in self.cache]
        ready = f", {len(tasks) - len(left):,} were there" if len(left) < len(tasks) else ""
        self.say(f"{about}: {len(left):,} of {len(tasks):,} partitions to do{ready}")
        self.workers.run(function, left)

    def _decisions(self, step: Step, keys: list[str], folders: list[Path]) -> list[tuple[str, Path | None]]:
        """Key and file of the decisions for each partition."""
        if step.applies is None:
            return [("", None) for _ in keys]
        operation = self.operations[step.applies]
        assert isinstance(operation, CorpusOperation)
        name = self.pipeline.names()[step.applies]
        made = key("decide", code_fingerprint(), self.identities[step.applies], keys)
        if made not in self.cache:
            self.say(f"{name}: deciding over {len(folders):,} partitions")
        folder = self.cache.get_or_make(made, lambda folder: _decide(operation, folders, folder))
        if pairs := json.loads((folder / PAIRS).read_bytes()):
            self.pairs[name] = pairs
        files = [folder / f"{number:05d}.json" for number in range(len(folders))]
        return [(file_digest(path), path) for path in files]

    def _publish(self, keys: list[str], folders: list[Path], counts: list[list[OperationCounts]]) -> Ran:
        output = self.pipeline.output
        tasks = [
            WriteTask(
                key("write", code_fingerprint(), one, output.model_dump(mode="json")),
                self.cache.root, output, folder, self.base,
            )
            for one, folder in zip(keys, folders, strict=True)
        ]  # fmt: skip
        self._work(write, tasks, "output")
        self.cache.sweep(older_than_hours=0)  # what workers that died were making
        written = [self.cache.path(task.key) for task in tasks]
        total = add_up([*old, *read_counts(folder)] for old, folder in zip(counts, written, strict=True))
        files = self._linked(published(written))
        rows = {
            "operations": [one.as_json() for one in total],
            "partitions": len(folders),
            "distributions": distributions.add_up(
                json.loads((folder / DISTRIBUTIONS).read_bytes()) for folder in written
            ),
            "duplicates": self.pairs,
        }
        atomic.write_text(self.out / FUNNEL, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        return Ran(self.out, total, files, len(folders))

    def _linked(self, found: list[tuple[str, int, Path]]) -> list[Path]:
        """Put the written files in their places; the folder of an earlier run is replaced as a whole."""
        target, old = self.out / DATA, self.out / f"{atomic._PREFIX}old-{DATA}"
        names = []
        if target.exists():
            os.rename(target, old)
        with atomic.new_folder(target) as folder:
            for language, number, path in found:
                name = f"{number:05d}{path.suffix}"
                name = f"{language}/{name}" if self.pipeline.output.by_language else name
                (folder / name).parent.mkdir(exist_ok=True)
                _link(path, folder / name)
                names.append(target / name)
        shutil.rmtree(old, ignore_errors=True)
        return names


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _decide(operation: CorpusOperation, folders: list[Path], folder: Path) -> None:
    """One file of decisions for each partition, by the document's place in it."""
    decisions = operation.decide(Sketches(folders))
    start = 0
    for number, before in enumerate(folders):
        end = start + kept_in(before)
        mine = {str(place - start): decisions[place] for place in range(start, end) if place in decisions}
        (folder / f"{number:05d}.json").write_text(json.dumps(mine), encoding="utf-8")
        start = end
    text = json.dumps(pairs_of(decisions, folders), ensure_ascii=False)
    (folder / PAIRS).write_bytes(text.encode("utf-8", "replace"))
