"""One writer at a time: an advisory lock that the kernel drops when its process ends, however it ends.

``flock`` belongs to an open file, so it cannot go stale: no lock survives its process. A forked child (a data
loader's worker) closes its copy at once and never holds its parent's lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path
from typing import Protocol


class _Holder(Protocol):
    def _forget(self) -> None: ...


_HELD: weakref.WeakSet[_Holder] = weakref.WeakSet()


class Locked(ValueError):
    """Another process holds the lock; the message names it."""


class FileLock:
    """An exclusive lock on the file ``path`` (made when missing), which also holds the owner's process id.

    Use as a context manager, or :meth:`acquire` and :meth:`release`. ``what`` is how an error names the
    locked thing. :class:`Locked` is raised at once when somebody else holds it; there is no waiting.
    """

    def __init__(self, path: Path, what: str):
        self.path = Path(path)
        self.what = what
        self._handle: int | None = None

    def acquire(self) -> FileLock:
        """Take the lock, or raise :class:`Locked` with the holder's process id."""
        if self._handle is not None:
            raise Locked(f"{self.what} is already open for writing in this process; close it first.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            lock_handle(handle, self.what, lambda: os.pread(handle, 32, 0).decode("ascii", "replace").strip())
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        drop_in_children(self)
        return self

    def release(self) -> None:
        """Give the lock back; the empty file stays (removing it would let two processes lock two files)."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            unlock_and_close(self._handle)
            self._handle = None

    def _forget(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None

    def __enter__(self) -> FileLock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_handle(handle: int, what: str, holder: object = None) -> None:
    """``flock`` an open file descriptor exclusively; :class:`Locked` if somebody else has it.

    ``holder`` may be a function that returns the holder's process id as text.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process = holder() if callable(holder) else ""
        by = f"by process {process}" if process else "by another process"
        raise Locked(
            f"{what} is being written {by}; wait for it to end, stop it, or choose another path."
        ) from None


def unlock_and_close(handle: int) -> None:
    """Give up an ``flock`` even where a forked child has not closed its copy of the file yet."""
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def drop_in_children(holder: _Holder) -> None:
    """Call ``holder._forget()`` in every process forked from now on, to close its copy of the locked file."""
    _HELD.add(holder)


def _forget_in_child() -> None:
    for holder in list(_HELD):
        holder._forget()
    _HELD.clear()


os.register_at_fork(after_in_child=_forget_in_child)
