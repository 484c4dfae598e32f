import subprocess
import sys

import pytest

from vitrail.training.memory import keep_freed_memory

PROGRAM = """
import resource, sys
from vitrail.training.memory import keep_freed_memory
import torch
keep = sys.argv[1] == "keep"
if keep and not keep_freed_memory():
    sys.exit(3)
def step():
    return sum(block.sum() for block in [torch.ones(7_000_000) for _ in range(10)])
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    run = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True)
    if run.returncode == 3:
        pytest.skip("needs glibc: this libc has no mallopt")
    return int(run.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    # Left alone, the allocator gives most of 280 MB back after each step: thousands of pages to map anew.
    # Where its heap happens to lie, a process may be spared that, so several are asked.
    kept, plain = (sorted(page_faults(how) for _ in range(3)) for how in ("keep", "plain"))
    assert kept[1] < plain[-1] / 4


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
