"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from vitrail.storage import atomic


def test_files_replace_what_was_there(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    atomic.write_text(target, "one")
    atomic.write_text(target, "zwei é")
    assert target.read_text("utf-8") == "zwei é"
    assert list(target.parent.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_who_reads_the_old_file_reads_it_to_the_end(tmp_path):
    """The new content comes as another file in the old one's place, never written over it."""
    target = tmp_path / "file"
    atomic.write_bytes(target, b"old content")
    with open(target, "rb") as reader:
        atomic.write_bytes(target, b"new")
        assert reader.read() == b"old content"
    assert target.read_bytes() == b"new"


def test_an_error_leaves_the_old_file(tmp_path):
    target = tmp_path / "file"
    atomic.write_bytes(target, b"old")
    with pytest.raises(RuntimeError), atomic.new_file(target) as file:
        file.write(b"half of the new")
        raise RuntimeError
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_folders_appear_whole(tmp_path):
    target = tmp_path / "folder"
    with atomic.new_folder(target) as place:
        (place / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    with pytest.raises(FileExistsError, match="exists already"), atomic.new_folder(target):
        pass
    with pytest.raises(RuntimeError), atomic.new_folder(tmp_path / "other"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_writer_leaves_the_old_or_the_new_state(tmp_path):
    target = tmp_path / "file"
    code = (
        "import sys; from vitrail.storage import atomic\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    atomic.write_bytes(sys.argv[1], (b'%08d' % n) * 20000)\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(target)])
        while not target.exists():
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        content = target.read_bytes()
        assert content == content[:8] * 20000
        atomic.sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [target]
