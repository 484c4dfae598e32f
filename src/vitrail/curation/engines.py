"""Where the partitions of a pipeline are worked on: in this process, on all cores, or on a Ray cluster.

An engine calls a function on each task and waits. A task writes its result into a content-addressed folder that is
there whole or not at all, so that an engine may call twice, in any order, and changes nothing that is written.

Measured before this was built, a plain pool of processes over partitions was faster than Ray Data, Daft and datatrove
on the same steps; those lose the order of rows besides. So the pool is ours and Ray gets the same function as tasks
(``benchmarks/curation/compare.py`` measures it again).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal, get_args

from vitrail.curation.ray_cluster import RayCluster

Engine = Literal["process", "cores", "ray"]
ATTEMPTS = 3
"""How often workers may die without any task finishing in between."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """An engine, ready to be asked several times; processes live until :meth:`close` (or the ``with`` block's end).

    ValueError for an unknown engine or fewer than one worker.
    """

    def __init__(self, engine: Engine = "cores", workers: int | None = None) -> None:
        if engine not in get_args(Engine):
            raise ValueError(f"engine is {engine!r}; use one of {', '.join(get_args(Engine))}")
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; give 1 or more")
        self.engine, self.count = engine, workers or cores()
        self._pool: ProcessPoolExecutor | None = None
        self._ray: RayCluster | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; a Ray cluster that was running before stays."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        if self._ray is not None:
            self._ray.close()
            self._ray = None

    def run(self, function: Callable[[Any], None], tasks: Sequence[Any]) -> None:
        """Call ``function`` (of a module, so that other processes find it) on each task.

        The first error of a task is raised when those at work have ended. RuntimeError when workers keep dying;
        ImportError for Ray that is not installed.
        """
        if self.engine == "ray" and tasks:
            if self._ray is None:
                self._ray = RayCluster(self.count, ATTEMPTS)
            self._ray.run(function, tasks)
        elif self.engine == "process" or min(self.count, len(tasks)) <= 1:
            for task in tasks:
                function(task)
        else:
            self._on_cores(function, list(tasks))

    def _on_cores(self, function: Callable[[Any], None], tasks: list[Any]) -> None:
        deaths = 0
        while tasks:
            left = self._until_broken(function, tasks)
            deaths = deaths + 1 if len(left) == len(tasks) else 0
            if deaths >= ATTEMPTS:
                raise RuntimeError(
                    f"workers died {ATTEMPTS} times with nothing finished, at work on the first of {len(left)} "
                    "partitions left; is memory short? Try fewer workers, or the engine 'process'"
                )
            tasks = left

    def _until_broken(self, function: Callable[[Any], None], tasks: list[Any]) -> list[Any]:
        """Work until all is done or a worker dies; what is left, in order."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, context, _end_with_parent)
        done: set[int] = set()
        running: dict[Future[None], int] = {}
        waiting = iter(range(len(tasks)))
        try:
            for index in waiting:
                running[self._pool.submit(function, tasks[index])] = index
                if len(running) == self.count * 2:
                    break
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    done.add(running.pop(future))
                    index = next(waiting, -1)
                    if index >= 0:
                        running[self._pool.submit(function, tasks[index])] = index
        except BrokenProcessPool:
            self.close()
        except BaseException:
            self.close()
            raise
        return [task for index, task in enumerate(tasks) if index not in done]


def _end_with_parent() -> None:
    """In a worker: when the process that drives is killed, end, too; what is half done was never there."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="vitrail-parent", daemon=True).start()
