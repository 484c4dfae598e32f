"""Partitions as tasks of a Ray cluster: one that is running, or one of this machine's cores that is started for a run.

``RAY_ADDRESS`` names a running cluster (``auto``: the one that ``ray start`` started here). Every machine of it must
see input and output under the same paths and have the same vitrail; only paths and settings travel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

STARTS = 3
"""How often a cluster of this machine is started: Ray gives its own helpers 15 seconds, too few on a busy machine."""
_OBJECTS = 100_000_000
"""Bytes for Ray's shared objects; none are made here."""


class RayCluster:
    """A cluster, entered for a run; one that was started here ends with :meth:`close`.

    ``cores``: those of a cluster that is started here. ``attempts``: how often a partition is tried whose worker dies.
    ImportError for Ray that is not installed; RuntimeError where none can be started.
    """

    def __init__(self, cores: int, attempts: int) -> None:
        try:
            import ray
        except ImportError:
            raise ImportError(
                "the engine 'ray' needs the package ray; install vitrail[ray], or use 'cores'"
            ) from None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers otherwise
        self._ray, self._attempts = ray, attempts
        self._mine = False
        if ray.is_initialized():
            return
        if os.environ.get("RAY_ADDRESS", "local") != "local":
            ray.init(log_to_driver=False)
        else:
            self._start(cores)
            self._mine = True

    def _start(self, cores: int) -> None:
        for attempt in range(STARTS):
            try:
                self._ray.init(
                    address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False,
                    object_store_memory=_OBJECTS,
                )  # fmt: skip
                return
            except Exception as error:  # Ray raises a bare Exception when its processes are too slow
                self._ray.shutdown()
                if attempt + 1 == STARTS:
                    raise RuntimeError(
                        f"Ray did not start here in {STARTS} tries ({error}); use the engine 'cores', or name a "
                        "running cluster in RAY_ADDRESS"
                    ) from error

    def close(self) -> None:
        """End the cluster if it was started here."""
        if self._mine:
            self._ray.shutdown()

    def run(self, function: Callable[[Any], None], tasks: Sequence[Any]) -> None:
        """Call ``function`` on each task; no more are handed in than keep the cluster busy.

        The first error of a task is raised when those at work have ended. RuntimeError for a partition whose workers
        keep dying.
        """
        remote = self._ray.remote(max_retries=self._attempts - 1)(function)
        waiting = iter(tasks)
        running: list[Any] = []
        try:
            while True:
                room = 2 * max(int(self._ray.cluster_resources().get("CPU", 1)), 1) - len(running)
                running += [remote.remote(task) for task in islice(waiting, room)]
                if not running:
                    return
                done, running = self._ray.wait(running)
                self._result(done[0])
        except BaseException:
            for one in running:
                self._ray.cancel(one)
            if running:
                self._ray.wait(running, num_returns=len(running))
            raise

    def _result(self, one: Any) -> None:
        exceptions = self._ray.exceptions
        try:
            self._ray.get(one)
        except exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except (
            exceptions.WorkerCrashedError,
            exceptions.OutOfMemoryError,
            exceptions.NodeDiedError,
        ) as error:
            raise RuntimeError(
                f"workers died {self._attempts} times at one partition; is memory short? Ray says: "
                f"{str(error).splitlines()[0]}"
            ) from None
