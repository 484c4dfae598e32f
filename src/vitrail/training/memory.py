"""Freed memory stays with the process while it trains on a CPU.

glibc gives large blocks back to the kernel as soon as they are freed, and a training step frees and takes the same
ones each time: every page is then mapped and zeroed anew. Keeping them saves that (``benchmarks/step.py``); the
process holds its peak between steps, which the next step needs anyway.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEPT = 2**31 - 1
_LARGEST_ON_HEAP = 2**25  # glibc takes no more


def keep_freed_memory() -> bool:
    """Tell the allocator of this process; returns whether it listened (it does on Linux with glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST_ON_HEAP))
