"""The wheel, installed into an empty environment, has everything it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCENES = "from vitrail.data.scenes import suite; suite('scenes-v1').questions(n=1)[0]"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_code_and_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith(("vitrail/", "vitrail-")) for name in names)
    for file in ROOT.joinpath("src/vitrail").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
            assert f"vitrail/{file.relative_to(ROOT / 'src/vitrail').as_posix()}" in names


@pytest.mark.timeout(600)
def test_it_runs_in_an_empty_environment(wheel, tmp_path):
    python = tmp_path / "env" / "bin" / "python"
    environment = {**os.environ, "VIRTUAL_ENV": str(tmp_path / "env")}
    environment.setdefault("UV_FIND_LINKS", environment.get("PIP_FIND_LINKS", ""))
    environment.pop("PYTHONPATH", None)
    import torch

    own = [sys.executable, "-m", "uv"]
    version = torch.__version__.split("+")[0]
    for step in (
        [*own, "venv", "--python", sys.executable, str(tmp_path / "env")],
        [*own, "pip", "install", "--python", str(python), f"torch=={version}", f"{wheel}[scenes]"],
        [str(python.with_name("vitrail")), "--help"],
        [str(python.with_name("vitrail")), "recipe", "list"],
        [str(python), "-c", "from vitrail.models.testbeds import nano; nano.build()"],
        [
            str(python),
            "-c",
            SCENES,
        ],
    ):
        result = subprocess.run(step, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert result.returncode == 0, f"{step}: {result.stdout[-2000:]}{result.stderr[-2000:]}"
