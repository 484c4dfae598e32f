"""Work that threads do ahead of its reader, in order and within bounds.

For decoding pictures, which releases the interpreter's lock: while one batch is computed with, the next ones are read.
Results come in the order of the items, whatever the number of threads; an error comes at its item's turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T], work: Callable[[T], R], *, held: int, threads: int = 2) -> Iterator[R]:
    """``work(item)`` for each of ``items``; at most ``held`` results exist that the reader has not asked for.

    With ``held=0`` nothing is done ahead, and no thread is started. No thread is left when the iterator ends, is closed
    or forgotten, or raises; what is being worked on then is finished first. ``items`` are read by the caller's thread.
    """
    if held == 0:
        yield from map(work, items)
        return
    left = iter(items)
    pool = ThreadPoolExecutor(max(1, min(threads, held)), thread_name_prefix="vitrail-ahead")
    waiting: deque[Future[R]] = deque()
    try:
        waiting.extend(pool.submit(work, item) for item in islice(left, held))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(left, 1))
            yield result
            del result  # the reader alone holds it now
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=True)
