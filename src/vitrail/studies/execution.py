"""Running cells: in this process, or in processes of their own, several at a time where there are cores for them.

A process of its own gives a cell its own peak of memory, and a crash costs one cell. A killed study leaves at most the
cells under way; whoever starts it again waits for those that a process left behind still writes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.studies import trainings
from vitrail.studies.cells import Cell, Store

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe

Finished = Callable[[Cell, dict[str, Any]], None]
_RESULT = "result.json"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_cell(cell: Cell, folder: Path, threads: int | None = None, device: str = "auto") -> dict[str, Any]:
    """Train and measure one cell in ``folder``; its result as plain values.

    The folder keeps answers, metrics and plan; weights go when the result is written, so that a cell whose study was
    killed just then ends with it, too. A training that other cells share stays beside it. ValueError as the recipe's
    own.
    """
    import torch

    from vitrail.recipes.loading import load
    from vitrail.recipes.plan import plan
    from vitrail.recipes.run import run
    from vitrail.storage import atomic
    from vitrail.storage.environment import describe
    from vitrail.storage.lock import Locked
    from vitrail.storage.runs import RunFolder
    from vitrail.studies import measuring

    if threads is not None:
        torch.set_num_threads(threads)

    def train(what: Recipe, where: Path) -> None:
        while True:
            try:
                run(what, where, device=device, report=False, planned=planned)
                break
            except Locked:  # a process of a killed study still writes it
                time.sleep(2.0)

    recipe, place = load(dict(cell.recipe)), RunFolder(folder)
    if (folder / _RESULT).exists():  # the study was killed before it heard of it
        _forget_weights(place)
        return dict(json.loads((folder / _RESULT).read_text(encoding="utf-8")))
    begun, planned, trained = time.perf_counter(), None, 0
    if not place.plan_path.exists():
        # Memory is measured, so that nobody reads what would be planned.
        planned = plan(recipe, measure_speed=False, measure_memory=False)
    if cell.training is not None:
        shared = RunFolder(folder.parent / f"{trainings.FOLDER}{cell.training}")
        train(load(trainings.training_of(cell.recipe)), shared.path)
        trained = trainings.note_peak(shared, measuring.peak_bytes())
        trainings.take_over(place, recipe, shared)
    train(recipe, folder)
    probed = _probe(cell.probe, place, device) if cell.probe is not None else {}
    environment = describe()
    result = {
        **measuring.measured(place, cell.evaluation),
        **measuring.costs(place, cell.recipe),
        "peak_bytes": max(trained, measuring.peak_bytes()),
        "seconds": round(time.perf_counter() - begun, 3),
        "probe": probed,
        "machine": environment["fingerprint"],
        "commit": environment["commit"],
    }
    atomic.write_json(folder / _RESULT, result)
    _forget_weights(place)
    return result


def _probe(name: str, run: Any, device: str) -> dict[str, Any]:
    import importlib

    from vitrail.models.loading import load
    from vitrail.recipes.assembly import place
    from vitrail.recipes.stage_model import model_after

    module, _, rest = name.partition(":")
    function, _, stage = rest.partition("@")
    bundle = model_after(run, stage) if stage else load(run.model_path)
    found = getattr(importlib.import_module(module), function)(run, place(bundle, device))
    return {key: float(value) for key, value in found.items()}


def _forget_weights(run: Any) -> None:
    for place in (run.path, *(run.path / "rounds").glob("*/run")):
        shutil.rmtree(place / "model", ignore_errors=True)
        for path in (place / "stages").glob("*/*.safetensors"):
            path.unlink(missing_ok=True)


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    work: Path,
    *,
    jobs: int = 1,
    threads: int | None = None,
    device: str = "auto",
    inline: bool = False,
    finished: Finished | None = None,
    until: float | None = None,
) -> list[dict[str, Any]]:
    """The results of ``cells`` in their order; those that the store has are not run.

    ``jobs`` cells run at a time, in processes with ``threads`` threads each; ``inline`` runs them here, one by one.
    ``until`` (of :func:`time.monotonic`): none is begun later. The list then ends with the last cell before the first
    missing one. Whatever fails is raised when what runs beside it has been stored.
    """
    results: dict[int, dict[str, Any]] = {}
    waiting = []
    for index, cell in enumerate(cells):
        known = store.get(cell)
        if known is None:
            waiting.append(index)
        else:
            results[index] = known

    def keep(index: int, result: dict[str, Any]) -> None:
        store.put(cells[index], result)
        results[index] = store.get(cells[index])  # type: ignore[assignment]
        shutil.rmtree(work / cells[index].name, ignore_errors=True)
        shared = cells[index].training
        if shared is not None and shared not in {
            cells[one].training for one in waiting if one not in results
        }:
            trainings.forget_large(work, shared)
        if finished is not None:
            finished(cells[index], results[index])

    if inline:
        from vitrail.studies import warm  # noqa: F401

        for index in waiting:
            if until is not None and time.monotonic() > until:
                break
            keep(index, run_cell(cells[index], work / cells[index].name, threads, device))
    elif waiting:
        _in_processes(cells, waiting, work, jobs, threads, device, keep, until)
    whole = []
    for index in range(len(cells)):
        if index not in results:
            break
        whole.append(results[index])
    return whole


def _in_processes(
    cells: Sequence[Cell],
    waiting: list[int],
    work: Path,
    jobs: int,
    threads: int | None,
    device: str,
    keep: Callable[[int, dict[str, Any]], None],
    until: float | None,
) -> None:
    import multiprocessing

    context = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    if sys.platform != "win32":
        context.set_forkserver_preload(["vitrail.studies.warm"])
    todo, failed = list(waiting), None
    under_way: dict[Future, int] = {}
    with (
        _environment(threads),
        ProcessPoolExecutor(jobs, context, initializer=_quiet, max_tasks_per_child=1) as pool,
    ):
        while todo or under_way:
            while (
                todo and len(under_way) < jobs and failed is None and not (until and time.monotonic() > until)
            ):
                busy = {cells[index].training for index in under_way.values()} - {None}
                free = [index for index in todo if cells[index].training not in busy]
                if not free:
                    break
                index = free[0]
                todo.remove(index)
                task: Future = pool.submit(run_cell, cells[index], work / cells[index].name, threads, device)
                under_way[task] = index
            if not under_way:
                break
            for task in wait(under_way, return_when=FIRST_COMPLETED).done:
                index = under_way.pop(task)
                error = task.exception()
                if error is None:
                    keep(index, task.result())
                elif failed is None:
                    failed = (cells[index], error)
    if failed is not None:
        cell, error = failed
        raise ValueError(f"{cell.arm} ({cell.role}, draw {cell.draw}) failed: {error}") from error


def _quiet() -> None:
    from vitrail.studies.warm import quiet

    quiet()


@contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    """Threads of libraries are counted when a process begins."""
    before = {name: os.environ.get(name) for name in _THREADS}
    if threads is not None:
        os.environ.update({name: str(threads) for name in _THREADS})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
