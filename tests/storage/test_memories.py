"""The store of memories: exact search, one writer, deletion to the byte, and kills."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from vitrail.storage.lock import Locked
from vitrail.storage.memories import MemoryStore


def vector(seed, dim=8):
    drawn = np.random.default_rng(seed).normal(size=dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    with MemoryStore(tmp_path / "memory", writing=True) as one:
        one.declare("pictures", 8, "encoder")
        yield one


def test_search_is_brute_force_and_l2_orders_as_cosine_does(store):
    with store.batch():
        for number in range(300):
            store.put(f"k{number}", vectors={"pictures": vector(number)})
    rows = np.stack([vector(number) for number in range(300)]).astype(np.float64)
    for seed in range(1000, 1010):
        query = vector(seed)
        (found,) = store.nearest("pictures", query, 7)
        by_cosine = np.argsort(-rows @ query.astype(np.float64), kind="stable")[:7]
        assert [match.key for match in found] == [f"k{place}" for place in by_cosine]
        np.testing.assert_allclose(
            [match.distance**2 for match in found], 2 - 2 * (rows @ query)[by_cosine], atol=1e-6
        )
    assert [len(row) for row in store.nearest("pictures", rows[:3], 400)] == [300] * 3
    assert store.nearest("pictures", rows[:1], 0) == [[]]


def test_equals_come_in_the_order_of_their_first_writing(store):
    with store.batch():
        for number in range(40):
            store.put(f"k{number:02d}", vectors={"pictures": vector(number % 2)})
    (found,) = store.nearest("pictures", vector(0), 5)
    assert [match.key for match in found] == ["k00", "k02", "k04", "k06", "k08"]
    assert len({match.distance for match in found}) == 1


def test_an_open_reader_sees_every_write_and_what_it_holds_stays_in_step(store, tmp_path):
    state, rng = {}, random.Random(0)
    with MemoryStore(tmp_path / "memory") as reader:
        for step in range(60):
            key = f"k{rng.randrange(12)}"
            if key in state and rng.random() < 0.4:
                store.forget(key)
                del state[key]
            else:
                state[key] = vector(step)
                store.put(key, {"step": step}, b"p", {"pictures": state[key]})
            assert reader.version == store.version
            (found,) = reader.nearest("pictures", vector(999), 20)
            expected = sorted(state, key=lambda name: np.linalg.norm(state[name] - vector(999)))
            assert [match.key for match in found] == expected
        with pytest.raises(ValueError, match="open for reading"):
            reader.put("x")


def test_an_entry_written_again_without_a_vector_is_found_no_more(store):
    store.put("a", vectors={"pictures": vector(0)})
    store.put("b", vectors={"pictures": vector(1)})
    assert len(store.nearest("pictures", vector(0), 5)[0]) == 2
    store.put("a", {"n": 1})
    assert [match.key for match in store.nearest("pictures", vector(0), 5)[0]] == ["b"]


def test_a_batch_is_there_whole_or_not_at_all(store):
    store.put("a", {"n": 1}, b"picture", {"pictures": vector(1)})
    before = store.version
    with pytest.raises(RuntimeError), store.batch():
        store.put("a", {"n": 2})
        store.put("b")
        raise RuntimeError
    assert store.version == before and "b" not in store
    assert store.get("a").attributes == {"n": 1} and store.get("a").picture == b"picture"
    with pytest.raises(ValueError, match="remembers no 'c'"):
        store.forget("a", "c")
    assert "a" in store


def test_what_is_forgotten_or_replaced_leaves_no_byte(store, tmp_path):
    rng, live, gone = random.Random(1), {}, []

    def mark(kind, step):
        return f"{kind}{step:05d}!".encode()

    with store.batch():
        for step in range(400):
            if live and rng.random() < 0.5:
                key = rng.choice(sorted(live))
                gone += live[key]
                if rng.random() < 0.5:
                    store.forget(key)
                    del live[key]
                    gone.append(key.encode())
                    continue
            else:
                key = f"key{step:05d}!"
            live[key] = [mark("note", step), mark("pixels", step)]
            store.put(
                key,
                {"info": f"note{step:05d}!" * rng.randint(1, 40)},
                mark("pixels", step) * rng.randint(1, 900),
                {"pictures": np.full(8, step + 1, np.float32)},
            )
            live[key].append(np.full(8, step + 1, "<f4").tobytes())
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(gone) > 100 and not [one for one in gone if one in everything]
    assert all(mark in everything for marks in live.values() for mark in marks[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory", "memory.lock"]


def test_one_writer_at_a_time_and_sentences_for_the_rest(store, tmp_path):
    with pytest.raises(Locked, match=r"the memory .* is being written"):
        MemoryStore(tmp_path / "memory", writing=True)
    with pytest.raises(FileNotFoundError, match="no memory"):
        MemoryStore(tmp_path / "none")
    (tmp_path / "text").write_text("not a memory, but long enough to have a header of its own" * 20)
    with pytest.raises(ValueError, match="cannot be read as a memory"):
        MemoryStore(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (a)")
    with pytest.raises(ValueError, match="no memory of vitrail"):
        MemoryStore(tmp_path / "other", writing=True)
    for wrong, message in (
        ({"pictures": vector(0, 4)}, "width 8"),
        ({"words": vector(0)}, "no space 'words'"),
        ({"pictures": np.full(8, np.nan)}, "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            store.put("a", vectors=wrong)
    with pytest.raises(ValueError, match="use the same encoder"):
        store.declare("pictures", 8, "another")
    with pytest.raises(ValueError, match="k is -1"):
        store.nearest("pictures", vector(0), -1)


WRITER = """
import random, sys
import numpy as np
from vitrail.storage.memories import MemoryStore
path, seed, writes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
with MemoryStore(path, writing=True) as store:
    store.declare("v", 4, "e")
    for step in range(writes):
        key, stamp = f"k{rng.randrange(30)}", seed * 100_000 + step
        drop = key in store and rng.random() < 0.3
        print("begin", key, -1 if drop else stamp, flush=True)
        if drop:
            store.forget(key)
        else:
            store.put(key, {"stamp": stamp}, b"%d." % stamp * 3000, {"v": np.full(4, stamp, np.float32)})
        print("done", key, -1 if drop else stamp, flush=True)
"""


def killed(path, seed, writes, lines):
    """A writer, killed when it has said so many lines (or at its end); what it said."""
    command = [sys.executable, "-c", WRITER, str(path), str(seed), str(writes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = []
    for line in process.stdout:
        said.append(line.split())
        if len(said) == lines:
            time.sleep(random.Random(seed).random() * 0.02)
            process.send_signal(signal.SIGKILL)
            break
    said += [line.split() for line in process.stdout]
    process.wait()
    return said


def check_after_a_kill(path, said, state):
    """Every acknowledged write is there, the one under way is there or is not, and all of it fits together."""
    open_one = None
    for word, key, stamp in said:
        if word == "begin":
            open_one = (key, int(stamp))
        else:
            state[key], open_one = int(stamp), None
    with MemoryStore(path) as store:
        found = {entry.key: entry.attributes["stamp"] for entry in store.entries()}
        if open_one is not None and found.get(open_one[0], -1) == open_one[1]:
            state[open_one[0]] = open_one[1]
        assert found == {key: stamp for key, stamp in state.items() if stamp >= 0}
        for key, stamp in found.items():
            assert store.get(key).picture == b"%d." % stamp * 3000
            (match,) = store.nearest("v", np.full(4, stamp, np.float32), 1)[0]
            assert match.distance == 0
        assert len(store.nearest("v", np.zeros(4), 100)[0]) == len(found)


def test_a_killed_writer_leaves_what_it_acknowledged(tmp_path):
    state = {}
    check_after_a_kill(tmp_path / "memory", killed(tmp_path / "memory", 0, 30, 21), state)
    assert state


@pytest.mark.long
def test_a_thousand_random_writes_and_a_kill_every_fifty_or_so(tmp_path):
    state, finished = {}, 0
    for seed in range(1, 200):
        said = killed(tmp_path / "memory", seed, 1000, 20 + random.Random(seed).randrange(160))
        check_after_a_kill(tmp_path / "memory", said, state)
        finished += sum(word == "done" for word, *_ in said)
        if finished >= 1000:
            break
    assert finished >= 1000, json.dumps(state)
