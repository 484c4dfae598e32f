"""A run that asks for sharding gets an error, not something else."""

import subprocess
import sys

import pytest

from conftest import chat
from vitrail.objectives.next_token import NextToken
from vitrail.training import processes
from vitrail.training.processes import refuse_sharding
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


@pytest.mark.parametrize("value", ["true", "1", "True", "yes"])
def test_fsdp_is_refused(value):
    with pytest.raises(
        ValueError, match=r"ACCELERATE_USE_FSDP=.* asks for fully sharded .*unset it.*sharding: full"
    ):
        refuse_sharding({"ACCELERATE_USE_FSDP": value})


@pytest.mark.parametrize("environment", [{}, {"ACCELERATE_USE_FSDP": "false"}, {"ACCELERATE_USE_FSDP": "0"}])
def test_nothing_asked_for_is_no_error(environment):
    assert refuse_sharding(environment) is None


def test_a_stage_is_refused_before_anything_is_written(nano, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    data = [nano.encoder.encode(chat("what?", "a cat"))]
    config = StageConfig(name="tiny", max_steps=1, batch_size=1)
    with pytest.raises(ValueError, match="asks for fully sharded"):
        train_stage(nano.model, data, nano.collator(), NextToken(), config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_group_needs_a_number_and_a_place_in_it(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.count(), processes.number(), processes.is_first()) == (1, 0, True)
    monkeypatch.setenv("WORLD_SIZE", "4")  # some schedulers set it alone
    assert processes.count() == 1
    monkeypatch.setenv("RANK", "2")
    assert (processes.count(), processes.number(), processes.is_first()) == (4, 2, False)


LEAVES = """
import atexit
import torch.distributed as dist
from vitrail.training.processes import leave_in_order
atexit.register(lambda: print("connected" if dist.is_initialized() else "left"))  # runs last
leave_in_order()
leave_in_order()
dist.init_process_group("gloo", init_method="file://{}", rank=0, world_size=1)
"""


def test_a_process_disconnects_before_the_interpreter_ends(tmp_path):
    program = LEAVES.format(tmp_path / "meeting")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "left"), done.stderr
