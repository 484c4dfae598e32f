"""Two processes train what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

HERE = Path(__file__).parent
pytestmark = pytest.mark.long


def launch(folder: Path, processes: int, batch_size: int, break_at: int = 0) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    run = [sys.executable]
    if processes > 1:
        run += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    program = [str(HERE / "distributed_stage.py"), str(folder), str(batch_size), str(break_at)]
    return subprocess.run([*run, *program], env=environment, capture_output=True, text=True, timeout=400)


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_equal_one_and_resume(tmp_path):
    alone, together, resumed = (tmp_path / name for name in ("alone", "together", "resumed"))
    for folder, processes, size in ((alone, 1, 4), (together, 2, 2)):
        done = launch(folder, processes, size)
        assert done.returncode == 0, done.stderr[-3000:]
    for one, two in zip(rows(alone), rows(together), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=2e-5)
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-3)
        assert (one["samples"], one["tokens"]) == (two["samples"], two["tokens"])
    assert json.loads((together / "plan.json").read_text())["processes"] == 2

    assert launch(resumed, 2, 2, break_at=8).returncode != 0
    assert [path.name for path in resumed.glob("checkpoint-*")] == ["checkpoint-2"]
    assert (resumed / "checkpoint-2" / "rng_state_1.pth").exists()
    done = launch(resumed, 2, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(together)]
    one, two = (load_file(folder / "final.safetensors") for folder in (resumed, together))
    assert all((one[name] == two[name]).all() for name in two)
