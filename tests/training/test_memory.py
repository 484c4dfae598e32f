import resource
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
def work():
    return torch.ones(4_000_000).sum()
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    run = subprocess.run([sys.executable, "-c", PROGRAM, "keep"], capture_output=True, text=True)
    if run.returncode == 3:
        pytest.skip("this libc has no mallopt")
    assert int(run.stdout) < 100, run.stderr


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
    assert resource.getpagesize() > 0
