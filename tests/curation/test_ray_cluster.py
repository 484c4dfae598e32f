"""The engine of a Ray cluster: equal bytes, a killed worker, errors, on one cluster of two cores; starts, pretended.

Ray gives its own helpers 15 seconds to start, which a busy machine exceeds: what needs a real cluster is `long`.
"""

from __future__ import annotations

import os
import signal
import sys
import types

import pytest

import web_archives
from vitrail.curation.engines import Workers
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.ray_cluster import RayCluster
from vitrail.curation.running import run
from web_archives import tree


@pytest.fixture(scope="module")
def cluster():
    """Started once: what runs while it is there uses it and leaves it running."""
    pytest.importorskip("ray", reason="ray is not installed")
    made = RayCluster(2, 1)
    yield made
    made.close()


@pytest.mark.long
def test_a_cluster_writes_the_same_bytes(cluster, tmp_path):
    web_archives.crawl(tmp_path / "crawl")
    web_archives.cut_off(tmp_path / "crawl/1.warc.gz")
    operations = ["extract", "language", "exact_duplicates", "near_duplicates", "document_length"]
    pipeline = Pipeline.model_validate(
        {"input": {"name": "warc", "files": ["crawl/*.warc.gz"]}, "operations": operations}
    )
    run(pipeline, tmp_path / "one", base=tmp_path, engine="process")
    ran = run(pipeline, tmp_path / "ray", base=tmp_path, engine="ray")
    assert tree(tmp_path / "ray") == tree(tmp_path / "one") and ran.partitions == 3
    assert ran.counts[0].set_aside == {"cut off": 1} and sys.modules["ray"].is_initialized()


@pytest.mark.long
def test_a_killed_worker_loses_nothing(cluster, tmp_path):
    def die_once(number: int) -> None:
        mark = tmp_path / f"died-{number}"
        if number == 1 and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / f"done-{number}").write_text("x")

    with Workers("ray", 2) as workers:
        workers.run(die_once, range(7))
    assert sorted(path.name for path in tmp_path.glob("done-*")) == [f"done-{n}" for n in range(7)]
    assert (tmp_path / "died-1").exists()


@pytest.mark.long
def test_errors_are_the_tasks_own(cluster):
    def fail(number: int) -> None:
        raise ValueError(f"task {number} is wrong")

    def die(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ValueError, match=r"^task \d is wrong$"):
        cluster.run(fail, [1, 2])
    with pytest.raises(RuntimeError, match="workers died 1 times at one partition"):
        cluster.run(die, [1])


class Pretended:
    """What the engine asks of Ray, done in this process. ``fails``: how many starts fail."""

    def __init__(self, fails: int = 0) -> None:
        self.fails, self.started, self.waiting, self.most, self.running = fails, [], [], 0, False

    def is_initialized(self):
        return self.running

    def init(self, **how):
        self.started.append(how)
        if len(self.started) <= self.fails:
            raise Exception("The current node timed out during startup.")
        self.running = True

    def shutdown(self):
        self.running = False

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, **how):
        self.retries = how["max_retries"]
        return lambda function: types.SimpleNamespace(remote=lambda task: self._handed(function, task))

    def _handed(self, function, task):
        self.waiting.append((function, task))
        self.most = max(self.most, len(self.waiting))
        return len(self.waiting) - 1, function, task

    def wait(self, some):
        return some[:1], some[1:]

    def get(self, one):
        self.waiting.pop()
        one[1](one[2])


def test_a_start_that_was_too_slow_is_tried_again_and_few_tasks_are_handed_in_at_once(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done: list[int] = []
    monkeypatch.setitem(sys.modules, "ray", made := Pretended(fails=2))
    monkeypatch.setattr(made, "exceptions", _exceptions(), raising=False)
    with Workers("ray", 2) as workers:
        workers.run(done.append, [])
        assert not made.started
        workers.run(done.append, range(20))
        assert made.running and made.most == 4 and made.retries == 2
    assert done == list(range(20)) and not made.running
    assert [one["num_cpus"] for one in made.started] == [2, 2, 2] and os.environ[
        "RAY_USAGE_STATS_ENABLED"
    ] == "0"
    monkeypatch.setitem(sys.modules, "ray", Pretended(fails=9))
    with pytest.raises(RuntimeError, match=r"did not start here in 3 tries \(The current node timed out"):
        RayCluster(2, 1)


def test_a_running_cluster_is_named_and_stays(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setitem(sys.modules, "ray", made := Pretended())
    RayCluster(2, 1).close()
    assert made.running and made.started == [{"log_to_driver": False}]
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"install vitrail\[ray\], or use 'cores'"):
        Workers("ray", 1).run(print, [1])


def _exceptions() -> types.SimpleNamespace:
    names = ("RayTaskError", "WorkerCrashedError", "OutOfMemoryError", "NodeDiedError")
    return types.SimpleNamespace(**{name: type(name, (Exception,), {}) for name in names})
