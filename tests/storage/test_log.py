import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vitrail.storage.lock import Locked
from vitrail.storage.log import JsonlLog, read_log


def test_rows_come_back_in_order(tmp_path):
    with JsonlLog(tmp_path / "a" / "log.jsonl") as log:
        log.append({"step": 1, "text": "Ünï\nline"})
        log.append({"step": np.int64(2), "values": np.array([1.5, 2.5])})
    assert read_log(log.path) == [{"step": 1, "text": "Ünï\nline"}, {"step": 2, "values": [1.5, 2.5]}]


def test_a_log_that_does_not_exist_is_empty_and_reading_makes_nothing(tmp_path):
    log = JsonlLog(tmp_path / "log.jsonl", unique="id")
    assert (log.read(), len(log), log.seen()) == ([], 0, frozenset())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [b'{"step": 3, "te', b"{", b'{"a": "\xc3'])
def test_a_torn_last_line_is_not_read_and_cut_off_before_the_next_append(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    assert [row["step"] for row in read_log(path)] == [1, 2]
    with JsonlLog(path) as log:
        log.append({"step": 3})
        assert log.torn == len(torn)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_a_whole_last_row_without_newline_is_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}')
    with JsonlLog(path) as log:
        log.append({"step": 2})
    assert [row["step"] for row in read_log(path)] == [1, 2]


def test_a_torn_line_longer_than_a_block_is_cut(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"x": "' + b"a" * 200_000)
    with JsonlLog(path) as log:
        log.append({"step": 2})
    assert [row["step"] for row in read_log(path)] == [1, 2]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n[1]\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl, line 2: not a JSON object"):
        read_log(path)


def test_keys_are_unique_across_openings(tmp_path):
    path = tmp_path / "log.jsonl"
    with JsonlLog(path, unique="id") as log:
        log.append({"id": "q1"})
    with JsonlLog(path, unique="id") as log:
        assert log.seen() == {"q1"} and "q1" in log and "q2" not in log
        with pytest.raises(ValueError, match="id 'q1' already"):
            log.append({"id": "q1"})
        with pytest.raises(ValueError, match="lacks 'id'"):
            log.append({"name": "q2"})
        log.append({"id": "q2"})
    assert [row["id"] for row in read_log(path)] == ["q1", "q2"]


def test_keys_of_several_fields(tmp_path):
    with JsonlLog(tmp_path / "log.jsonl", unique=("id", "seed")) as log:
        log.append({"id": "q", "seed": 0})
        log.append({"id": "q", "seed": 1})
        assert log.seen() == {("q", 0), ("q", 1)}
        with pytest.raises(ValueError, match="id 'q', seed 1"):
            log.append({"id": "q", "seed": 1})


def test_truncating_takes_the_log_back_and_frees_its_keys(tmp_path):
    with JsonlLog(tmp_path / "log.jsonl", unique="step") as log:
        for step in range(10):
            log.append({"step": step})
        assert log.truncate_after(lambda row: row["step"] <= 5) == 4
        assert log.truncate_after(lambda row: row["step"] <= 5) == 0
        log.append({"step": 6})
        assert [row["step"] for row in log] == [0, 1, 2, 3, 4, 5, 6]


def test_a_row_that_json_cannot_hold_leaves_no_trace(tmp_path):
    with JsonlLog(tmp_path / "log.jsonl") as log:
        log.append({"step": 1})
        with pytest.raises(TypeError):
            log.append({"step": object()})
    assert read_log(log.path) == [{"step": 1}]


def test_one_writer_at_a_time_and_readers_are_free(tmp_path):
    with JsonlLog(tmp_path / "log.jsonl") as log:
        log.append({"step": 1})
        with pytest.raises(Locked, match="is being written"):
            JsonlLog(log.path).append({"step": 2})
        assert read_log(log.path) == [{"step": 1}]
    with JsonlLog(log.path) as again:
        again.append({"step": 2})


def test_a_forked_child_does_not_keep_the_log_locked(tmp_path):
    log = JsonlLog(tmp_path / "log.jsonl")
    log.append({"step": 1})
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        log.close()
        with JsonlLog(log.path) as again:
            again.append({"step": 2})
        assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it was there all the time
        assert read_log(log.path) == [{"step": 1}, {"step": 2}]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_closing_frees_the_log_whoever_still_has_it_open(tmp_path):
    log = JsonlLog(tmp_path / "log.jsonl")
    log.append({"step": 1})
    copy = os.dup(log._handle)
    log.close()
    with JsonlLog(log.path) as again:
        again.append({"step": 2})
    assert os.fstat(copy).st_size == log.path.stat().st_size  # the copy was open all the time
    os.close(copy)
    assert read_log(log.path) == [{"step": 1}, {"step": 2}]


ORPHAN = """
import os, sys, time
from vitrail.storage.log import JsonlLog
log = JsonlLog(sys.argv[1])
log.append({"step": 1})
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_a_worker_that_outlives_its_killed_parent_does_not_keep_the_log_locked(tmp_path):
    path = tmp_path / "log.jsonl"
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(path)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    try:
        with pytest.raises(Locked):
            JsonlLog(path).append({"step": 2})
        parent.kill()
        parent.wait()
        with JsonlLog(path) as log:
            log.append({"step": 2})
    finally:
        os.kill(worker, signal.SIGKILL)
        parent.kill()


WRITER = """
import sys
from vitrail.storage.log import JsonlLog
log = JsonlLog(sys.argv[1], unique="i", sync_every=1000)
i = len(log.seen())
while True:
    log.append({"i": i, "text": "x" * (i * 7919 % 5000)})
    print(i, flush=True)
    i += 1
"""


def test_killed_writers_lose_nothing_they_reported_and_tear_nothing(tmp_path):
    path, reported = tmp_path / "log.jsonl", -1
    for seconds in (0.05, 0.11, 0.17):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline()
        time.sleep(seconds)
        writer.kill()
        lines = writer.communicate()[0].splitlines()
        reported = max(reported, *(int(line) for line in lines[:-1] or ["-1"]))
        rows = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        assert [row["i"] for row in rows] == list(range(len(rows)))
        assert len(rows) > reported


def test_a_log_is_rewritten_in_one_step_and_stays_ours(tmp_path):
    path = tmp_path / "log.jsonl"
    with JsonlLog(path, unique="step") as log:
        log.extend([{"step": 3}, {"step": 1, "text": "é"}, {"step": 2}])
        held = os.stat(path).st_ino
        log.rewrite([row for row in log.read()[::-1] if row["step"] != 2])
        assert os.stat(path).st_ino != held, "never in place"
        with pytest.raises(Locked):
            JsonlLog(path).append({"step": 9})
        log.append({"step": 2})
        with pytest.raises(ValueError, match="step 1 already"):
            log.append({"step": 1})
    assert read_log(path) == [{"step": 1, "text": "é"}, {"step": 3}, {"step": 2}]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]
