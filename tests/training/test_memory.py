import subprocess
import sys

import pytest

from vitrail.training.memory import keep_freed_memory

PROGRAM = """
import resource, sys
from vitrail.training.memory import keep_freed_memory
import torch
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def step():
    return float(sum(made.sum() for made in [torch.ones(n) for n in (4_000_000, 1_000_000, 200_000) * 4]))
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
[step() for _ in range(3)]
before = faults()
[step() for _ in range(5)]
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    run = subprocess.run([sys.executable, "-c", PROGRAM, "keep"], capture_output=True, text=True)
    if run.returncode == 3:
        pytest.skip("this libc has no mallopt")
    usual = subprocess.run([sys.executable, "-c", PROGRAM, "usual"], capture_output=True, text=True)
    assert int(run.stdout) < int(usual.stdout) / 10, (run.stdout, usual.stdout, run.stderr)


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
