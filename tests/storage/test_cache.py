import multiprocessing
import os
import time

import pytest

from vitrail.storage.cache import FolderCache, default_root, file_digest, key


def test_keys_depend_on_every_part_and_on_where_parts_end():
    assert key("ab", "c") != key("a", "bc")
    assert key(b"a") != key("a")
    assert key({"a": 1, "b": [2]}) == key({"b": [2], "a": 1})
    assert key(1) != key("1") and key(1) != key(1.5) and key(None) != key("null")
    # Pinned: a change of the recipe for keys would silently empty everybody's cache.
    assert key("tower", {"size": 224}, b"\x00\xff").startswith("f3b1a547476eb80b")


def test_a_path_is_no_key(tmp_path):
    with pytest.raises(TypeError):
        key(tmp_path)


def test_default_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("VITRAIL_CACHE")
    assert default_root().parts[-2:] == (".cache", "vitrail")


def test_an_entry_is_made_once(tmp_path):
    cache, calls = FolderCache(tmp_path), []

    def make(folder):
        calls.append(folder)
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("hello")

    name = key("x")
    assert name not in cache
    first = cache.get_or_make(name, make)
    assert cache.get_or_make(name, make) == first
    assert len(calls) == 1 and name in cache
    assert (first / "sub" / "a.txt").read_text() == "hello"
    assert file_digest(first / "sub" / "a.txt").startswith("2cf24dba5fb0a30e")
    assert cache.remove(name) and not cache.remove(name) and name not in cache


def test_a_failed_make_leaves_nothing(tmp_path):
    cache, name = FolderCache(tmp_path), key("x")

    def fail(folder):
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.get_or_make(name, fail)
    with pytest.raises(RuntimeError, match="nothing was written"):
        cache.get_or_make(name, lambda folder: None)
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == []
    assert name not in cache


def test_a_key_that_could_leave_the_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="hexadecimal"):
        FolderCache(tmp_path).path("../../etc/passwd")


def _make_slowly(root, barrier, queue):
    def make(folder):
        (folder / "a.txt").write_text("same")
        barrier.wait(20)
        (folder / "b.txt").write_text("same")

    path = FolderCache(root).get_or_make(key("x"), make)
    queue.put((str(path), sorted(file.name for file in path.iterdir())))


def test_two_processes_that_make_the_same_entry_both_finish(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_make_slowly, args=(tmp_path, barrier, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert results[0] == results[1] == (str(FolderCache(tmp_path).path(key("x"))), ["a.txt", "b.txt"])
    assert len(list((tmp_path / key("x")[:2]).iterdir())) == 1


def test_sweeping_takes_old_leftovers_only(tmp_path):
    cache = FolderCache(tmp_path)
    for name, age in (("old", 48), ("new", 0)):
        leftover = tmp_path / "ab" / f".partial-{name}"
        leftover.mkdir(parents=True)
        (leftover / "x").write_text("x")
        os.utime(leftover, (time.time() - age * 3600,) * 2)
    assert cache.sweep() == 1
    assert [entry.name for entry in (tmp_path / "ab").iterdir()] == [".partial-new"]
