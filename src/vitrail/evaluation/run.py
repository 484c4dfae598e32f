"""Ask a model everything that a task asks, appending each answer as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.sources import Source, set_aside_of
from vitrail.evaluation import fingerprints
from vitrail.evaluation.answers import (
    FAILED,
    failed_rows,
    forget_failed,
    forget_refused,
    open_answers,
    put_in_order,
    require_same,
    times_path,
)
from vitrail.evaluation.processes import Share, gather, part_path
from vitrail.evaluation.remote import RemoteModel
from vitrail.evaluation.scenarios import Item, as_item
from vitrail.evaluation.task import Task
from vitrail.evaluation.transforms import transform as named_transform
from vitrail.evaluation.transforms import transform_of
from vitrail.inference.methods import TRACE, build, using
from vitrail.storage.cache import key
from vitrail.storage.log import JsonlLog

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

PROTOCOL = ("benchmark", "circular", "questions")
"""What a source may say of itself that its score depends on: which benchmark it is, whether options go round, and how
many questions its rows then are."""

Progress = Callable[[int, int], None]
"""Called with the number of rows that are done and the number of all."""


def run_task(
    task: Task,
    bundle: Bundle | RemoteModel,
    folder: Path | str,
    condition: str = "trained",
    *,
    source: Source | None = None,
    transform: str | None = None,
    progress: Progress | None = None,
    batch_size: int = 16,
    model_fingerprint: str | None = None,
    methods: Sequence[tuple[str, dict[str, Any]]] = (),
    retry_refused: bool = False,
    share: Share | None = None,
) -> Path:
    """Ask a model every question of a task; returns the answers' file, ``<folder>/<task>/<condition>.jsonl``.

    Args:
        task: what is asked and how.
        bundle: the model and what feeds it, or a model at an address.
        folder: of all evaluations of a run.
        condition: names the file: ``trained``, ``blind``, ``untrained`` or a name of your own.
        source: the records, instead of the task's own scenario.
        transform: what happens to a record before it is asked (``as_is``, ``blind``, ``side-64`` …,
            :mod:`vitrail.evaluation.transforms`); default by
            ``condition``.
        progress: is told how far it is.
        batch_size: questions in a forward; it does not change the answers.
        model_fingerprint: identifies the weights where the caller knows it; default a hash over all.
        methods: of inference, by name with settings (:mod:`vitrail.inference.methods`).
        retry_refused: ask those rows again that an address refused, or did not answer, in an earlier run.
        share: ask only what falls to this one of several processes, into a file of its own
            (:mod:`vitrail.evaluation.processes`), which is returned; default everything.

    Killed and started again it goes on: what was answered is not asked again, and the file ends as the same bytes. A
    question that cannot be asked, or that an address refuses or never answers, is set aside with its reason. ValueError
    if the file there was made under other settings, or by another model, and where an address is down: then no row that
    got no answer in this call is set aside, so that the next one asks it again.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    if not condition or condition.startswith(".") or "/" in condition or "\\" in condition:
        raise ValueError(f"condition {condition!r} cannot name a file")
    chosen = transform or transform_of(condition)
    named_transform(chosen)
    source = source if source is not None else task.part("scenario").source()
    path = Path(folder) / task.name / f"{condition}.jsonl"
    if isinstance(bundle, RemoteModel):
        bundle.require(task.inferencer["name"], methods)
    if share is None:
        gather(path)
    built = [(name, build(name, settings)) for name, settings in methods]
    for _, method in built:
        method.prepare(bundle, source)  # type: ignore[arg-type]
    with using(bundle, built) as answering:  # type: ignore[arg-type]
        run = _Run(task, answering, source, chosen, batch_size)
        header = run.header(condition, model_fingerprint)
        if methods:
            header["methods"] = [{"name": name, **settings} for name, settings in methods]
            header["fingerprints"]["methods"] = key(json.dumps(header["methods"], sort_keys=True))
        own, done = path, frozenset[Hashable]()
        if share is not None:
            own, done = part_path(path, share.number), JsonlLog(path, unique="key").seen()
            if done:
                require_same(path, header)
        with open_answers(own, header) as log, JsonlLog(times_path(own)) as times:
            if retry_refused:
                forget_refused(log)
            failed_before = failed_rows(log)
            try:
                run.go(log, times, progress, share or Share(0, 1), done)
            except ValueError as error:
                if isinstance(bundle, RemoteModel) and bundle.is_down(error):
                    forget_failed(log, failed_before)
                raise
            _require_some_answer(log, failed_before)
            if share is None:
                put_in_order(log)
    return own


class _Run:
    """One evaluation under way."""

    def __init__(self, task: Task, bundle: Bundle, source: Source, transform: str, batch_size: int) -> None:
        self.task, self.bundle, self.source = task, bundle, source
        self.transform, self.batch_size = transform, batch_size
        self.change = named_transform(transform)
        self.instruction = task.part("instruction")
        if hasattr(self.instruction, "prepare"):
            self.instruction.prepare(source)
        self.inferencer = task.part("inferencer")
        self.metric = task.part("metric")
        self.first_row_of: dict[str, int] = {}

    def header(self, condition: str, model_fingerprint: str | None) -> dict[str, Any]:
        """What the answers depend on. ``run`` holds what they must not depend on, for the record."""
        task = self.task.model_dump(mode="json")
        return {
            "task": task,
            "condition": condition,
            "model": self.bundle.name,
            "source": self.source.name,
            "rows": len(self.source),
            **_protocol(self.source),
            "fingerprints": {
                "scenario": self.source.fingerprint,
                "inferencer": key(json.dumps(task["inferencer"], sort_keys=True)),
                "metric": key(json.dumps(task["metric"], sort_keys=True)),
                "transform": self.transform,
                **self._of_inferencer(),
                **self._of_model({**task["instruction"], **self._examples()}, model_fingerprint),
            },
            "run": {"batch_size": self.batch_size, **self.inferencer.describe(self.bundle)},
        }

    def _of_inferencer(self) -> dict[str, str]:
        """The fingerprints of what an inferencer brings besides the model: the helpers of a judge."""
        found = getattr(self.inferencer, "fingerprints", None)
        return {} if found is None else found(self.bundle)

    def _of_model(self, instruction: dict[str, Any], model_fingerprint: str | None) -> dict[str, str]:
        """The fingerprints of prompt, processor and weights."""
        if isinstance(self.bundle, RemoteModel):
            return self.bundle.fingerprints(instruction)
        return {
            "prompt": fingerprints.prompt(self.bundle, instruction),
            "processor": fingerprints.processor(self.bundle),
            "model": model_fingerprint or fingerprints.weights(self.bundle.model),
        }

    def _examples(self) -> dict[str, str]:
        """The fingerprint of examples that an instruction takes from a file of their own."""
        found = getattr(self.instruction, "fingerprint", "")
        return {"examples": found} if found else {}

    def _know_ids(self, log: JsonlLog, alone: bool) -> None:
        """Whose id is whose: told by the rows in the log where they are the first ones, by all records where later rows
        are there already, or another process may ask the earlier ones.
        """
        there = {row["row"]: row["id"] for row in log if row["type"] in ("answer", "set_aside")}
        if not alone or len(there) <= max(there, default=-1):
            there = {row: self._id(row) for row in range(len(self.source))}
        for row in sorted(there):
            self.first_row_of.setdefault(there[row], row)

    def _id(self, row: int) -> str:
        try:
            found = getattr(self.source[row], "id", None)
        except (ValueError, OSError):
            found = None
        return found or f"row-{row}"

    def go(
        self,
        log: JsonlLog,
        times: JsonlLog,
        progress: Progress | None,
        share: Share,
        done: frozenset[Hashable],
    ) -> None:
        """Everything of this share that is neither in the log nor ``done``, window by window, in the order of the
        source.
        """
        seen = log.seen() | done
        for bad in set_aside_of(self.source).rows if share.number == 0 else ():
            if f"line:{bad.line}" not in seen:
                reason = f"{bad.field}: {bad.reason}" if bad.field else bad.reason
                entry = {"line": bad.line, "id": bad.id, "reason": reason}
                log.append({"key": f"line:{bad.line}", "type": "unread", **entry})
        self._know_ids(log, alone=share.of == 1)
        total, size = len(self.source), 4 * self.batch_size
        windows = [range(start, min(start + size, total)) for start in range(0, total, size)]
        left = [rows for rows in windows if any(f"row:{row}" not in done for row in rows)]
        for rows in left[share.number :: share.of]:
            missing = [row for row in rows if f"row:{row}" not in seen]
            if missing:
                self._ask_window(rows, missing, log, times)
            if progress is not None:
                progress(rows.stop, total)

    def _ask_window(self, rows: range, missing: list[int], log: JsonlLog, times: JsonlLog) -> None:
        begun = time.perf_counter()
        # Float sums depend in their last bits on what shares a batch: a window that a kill cut in two
        # is asked as a whole again, so that its answers are those of a run that was never killed.
        whole = self.batch_size > 1 and not isinstance(self.bundle, RemoteModel)
        asked = list(rows) if whole else missing
        entries = [entry for entry in self._answer(asked) if entry["row"] in set(missing)]
        log.extend(entries)
        spent = {"row": missing[0], "rows": len(entries)}
        times.append({**spent, "seconds": round(time.perf_counter() - begun, 4)})

    def _answer(self, rows: list[int]) -> list[dict[str, Any]]:
        """The entries of some rows: asked together, in their order."""
        entries: dict[int, dict[str, Any]] = {}
        ready: list[tuple[Any, Item, Any]] = []
        for row in rows:
            record: Any = None
            try:
                record = self.source[row]
                item = self._checked(as_item(record, row, self.source.root))
                prompt = self.instruction.prompt(item)
                ready.append((record, item, self.inferencer.encode(self.bundle, prompt, item.root)))
            except (ValueError, OSError) as error:
                entries[row] = self._aside(row, record, str(error))
        answers = (
            self.inferencer.ask(self.bundle, [asked for *_, asked in ready], self.batch_size) if ready else []
        )
        for (record, item, asked), answer in zip(ready, answers, strict=True):
            if "refused" in answer:
                entries[item.row] = {**self._aside(item.row, record, answer["refused"]), **_status(answer)}
                continue
            traces = getattr(getattr(asked, "prompt", None), "meta", {}).get(TRACE)
            told = {**answer, TRACE: traces} if traces else answer
            entries[item.row] = self._entry(item, told)
        return [entries[row] for row in rows]

    def _aside(self, row: int, record: Any, reason: str) -> dict[str, Any]:
        """The entry of a row that has no answer."""
        name = getattr(record, "id", None) or f"row-{row}"
        self.first_row_of.setdefault(name, row)
        place = {"key": f"row:{row}", "type": "set_aside", "row": row, "id": name}
        told = self._about(row) if record is None else _told(record)
        return {**place, **told, "reason": " ".join(reason.split())}

    def _about(self, row: int) -> dict[str, Any]:
        """What the source can tell of a record that it cannot give."""
        about = getattr(self.source, "about", None)
        return {} if about is None else about(row)

    def _checked(self, item: Item) -> Item:
        """The item under this condition. ValueError for an id that an earlier row has."""
        first = self.first_row_of.setdefault(item.id, item.row)
        if first != item.row:
            raise ValueError(f"has the id {item.id!r} of row {first}; ids must be unique")
        chat = self.change(item.chat, item.root)
        return item if chat is item.chat else Item(**{**vars(item), "chat": chat})

    def _entry(self, item: Item, answer: dict[str, Any]) -> dict[str, Any]:
        row = {
            "key": f"row:{item.row}",
            "type": "answer",
            "row": item.row,
            "id": item.id,
            "kind": item.kind,
            "cluster": item.cluster,
            "names": item.names,
            "options": list(item.options),
            "answer": item.answer,
            "reference": item.reference,
            **({"groups": dict(item.groups)} if item.groups else {}),
            **answer,
        }
        judged = self.metric.judge(row)
        measured = {"loss": self.metric.loss(row)} if hasattr(self.metric, "loss") else {}
        return {**row, **judged._asdict(), **measured}


def _status(answer: dict[str, Any]) -> dict[str, Any]:
    """How an address refused a question, or failed at it; nothing of what could not be sent at all."""
    if answer["failed"]:
        return {FAILED: answer["status"]}
    return {} if answer["status"] is None else {"refused": answer["status"]}


def _require_some_answer(log: JsonlLog, failed_before: frozenset[str]) -> None:
    """ValueError where an address answered none of the rows, too few of them to be sure of it on the way."""
    lines = log.read()
    failed = [line for line in lines if FAILED in line and line["key"] not in failed_before]
    if failed and not any(line["type"] == "answer" or "refused" in line for line in lines):
        forget_failed(log, failed_before)
        raise ValueError(
            f"none of {len(failed)} questions was answered; the last one: {failed[-1]['reason']}; look at the address "
            "and go on later"
        )


def _protocol(source: Source) -> dict[str, Any]:
    values = {name: getattr(source, name, None) for name in PROTOCOL}
    return {name: value for name, value in values.items() if isinstance(value, (str, int)) and value}


def _told(record: Any) -> dict[str, Any]:
    """What is known of a record that cannot be asked, so that its score says what was not run."""
    meta = getattr(record, "meta", {})
    kind = {"kind": str(meta["kind"])} if "kind" in meta else {}
    return {**kind, **({"groups": dict(meta["groups"])} if meta.get("groups") else {})}
