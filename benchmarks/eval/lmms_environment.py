"""lmms-eval in an environment of its own, for the scripts here; what vitrail itself runs in stays as it is.

lmms-eval 0.7.3's `llava_hf` imports decord, whose last release (2021) has no wheels for ARM, macOS or newer Pythons;
decord2 is its continuation under the same import name, with wheels for them. No video is read here. Later versions of
filelock lack a module that lmms-eval 0.7.3 imports. Where torch for CPUs alone is wanted, uv's own variable says so:
`UV_TORCH_BACKEND=cpu python benchmarks/eval/…`.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

NEEDS = ("lmms-eval==0.7.3", "filelock<3.30", "decord2", "torch", "torchvision", "pillow")


def python_of(folder: Path) -> Path:
    """The Python of the environment in ``folder``; made with uv, or venv and pip, where it is not there whole."""
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.is_file() and ready.read_text().split() == list(NEEDS):
        return python
    print(f"making an environment with lmms-eval in {folder}: minutes, once", file=sys.stderr, flush=True)
    uv = _uv()
    if uv:
        subprocess.run(
            [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True
        )
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *NEEDS], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *NEEDS], check=True)
    ready.write_text("\n".join(NEEDS) + "\n")
    return python


def _uv() -> list[str]:
    """How uv is called here; nothing where it is not."""
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []
