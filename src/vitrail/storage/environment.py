"""What a report says about the machine and the software, without names of hosts, users or folders.

Importing nothing heavy: versions come from the packages' metadata, and torch is asked for threads and devices
only where the process has imported it already.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from vitrail.storage.cache import key

PACKAGES = (
    "vitrail",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "numpy",
    "scipy",
    "pillow",
    "pyarrow",
    "safetensors",
    "onnxruntime",
)
"""What results may depend on. Only installed ones are reported."""


def describe() -> dict[str, Any]:
    """The environment as JSON: ``python``, ``platform``, ``cpu``, ``cores``, ``memory_gib``, ``threads``,
    ``devices``, ``packages``, ``commit`` and ``fingerprint``.
    """
    described: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": _cores(),
        "memory_gib": _memory(),
        "threads": _threads(),
        "devices": _devices(),
        "packages": versions(),
        "commit": _commit(),
    }
    described["fingerprint"] = fingerprint(described)
    return described


def fingerprint(described: dict[str, Any]) -> str:
    """16 hex digits over what equal bits depend on: processor, cores, threads, devices, versions.

    Two runs with equal fingerprints, the same recipe and the same commit give equal bits.
    """
    relevant = {
        name: value
        for name, value in described.items()
        if name not in ("memory_gib", "commit", "fingerprint")
    }
    return key("environment", relevant)[:16]


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """The installed version of each package, those not installed left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "cpu model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores this process may use, which containers make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else None


def _devices() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _commit() -> str | None:
    """The checked-out commit, when this very file is tracked by git; ``+`` when the checkout has changes."""
    here = Path(__file__).resolve()
    # A virtual environment inside somebody's repository must not be taken for ours.
    if not _output("git", "-C", str(here.parent), "ls-files", here.name):
        return None
    commit = _output("git", "-C", str(here.parent), "rev-parse", "HEAD")
    changed = _output(
        "git", "-C", str(here.parent), "status", "--porcelain", "--untracked-files=no", "--", ":/"
    )
    return f"{commit}+" if commit and changed else commit or None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
