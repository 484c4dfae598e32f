"""A run that asks for sharding gets an error, not something else."""

import pytest

from conftest import chat
from vitrail.objectives.next_token import NextToken
from vitrail.training.processes import refuse_sharding
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


@pytest.mark.parametrize("value", ["true", "1", "True", "yes"])
def test_fsdp_is_refused(value):
    with pytest.raises(ValueError, match=r"ACCELERATE_USE_FSDP=.* asks for fully sharded .*DDP.*unset it"):
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
