import pytest
from pydantic import ValidationError

from vitrail.training.stages import StageConfig


def stage(**changes):
    return StageConfig(**{"name": "align", "max_steps": 100, **changes})


def test_defaults_make_a_stage():
    config = stage()
    assert config.trains == ("connector",)
    assert config.objective.name == "next_token"
    assert config.records_a_step == 8
    assert StageConfig.model_validate(config.model_dump()) == config
    assert StageConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"max_steps": None}, "needs a budget"),
        ({"warmup": 100}, "warmup=100 steps does not fit into a stage of 100"),
        ({"warmup": 250}, "does not fit"),
        ({"warmup": 1.5}, "neither a share below 1 nor a whole number"),
        ({"decay": 0.2}, "decay has no effect with schedule='cosine'"),
        ({"min_learning_rate": 0.1}, "min_learning_rate has no effect"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": {"tower": 1e-3}}, "lacks 'connector'"),
        ({"learning_rate": {"connector": 1e-3, "language": 1e-3}}, "names 'language'"),
        ({"trains": ()}, "at least 1"),
        ({"learning_rat": 1e-3}, "learning_rat"),
        ({"objective": "next_tokn"}, "did you mean 'next_token'"),
        (
            {"objective": {"name": "next_token", "zloss": 1}},
            "zloss: there is no such field; did you mean 'z_loss'",
        ),
        ({"objective": {"name": "next_token", "z_loss": -1}}, "z_loss: must be greater"),
        ({"name": "../up"}, "name"),
    ],
)
def test_what_cannot_work_is_refused_when_read(changes, message):
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        stage(**changes)


def test_warmup_as_share_and_as_steps():
    assert stage(warmup=0.1).warmup_steps(100) == 10
    assert stage(warmup=10).warmup_steps(50) == 10
    assert stage(warmup=0.5).warmup_steps(1) == 0
    epochs = stage(max_steps=None, epochs=1, warmup=20)
    with pytest.raises(ValueError, match="stage of 12"):
        epochs.warmup_steps(12)


def test_rates_by_part():
    config = stage(trains=("connector", "language"), learning_rate={"connector": 1e-3, "language": 1e-4})
    assert config.rate_of("language") == 1e-4
    assert config.rate_of("objective") == 1e-3
    assert stage(learning_rate=1e-2).rate_of("connector") == 1e-2


def test_objectives_are_built_from_their_settings():
    objective = stage(objective={"name": "next_token", "z_loss": 0.1}).objective.build()
    assert objective.config.z_loss == 0.1


def test_how_often_to_save_is_not_what_a_stage_is():
    assert stage(checkpoint_steps=3, workers=2).identity() == stage().identity()
    assert stage(learning_rate=1e-2).identity() != stage().identity()


@pytest.mark.parametrize(
    ("records", "processes", "expected"),
    [(32, 1, (8, 4)), (31, 1, (7, 4)), (3, 1, (1, 3)), (1, 1, (1, 1)), (5, 2, (1, 2)), (1, 2, (8, 4))],
)
def test_a_step_takes_what_there_is(records, processes, expected):
    """Four batches of eight; with too few records smaller batches, then fewer; one record for two stays an error."""
    stage = StageConfig(name="s", max_steps=1, batch_size=8, accumulation=4)
    fitted = stage.fitted(records, processes)
    assert (fitted.batch_size, fitted.accumulation) == expected
    assert fitted.model_copy(update={"batch_size": 8, "accumulation": 4}) == stage
