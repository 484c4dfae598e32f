"""The study of the infinite schedule: equal texts and steps, one warm-up, and figures off the probes."""

import pytest

from vitrail.recipes.loading import load
from vitrail.studies import infinite_lr
from vitrail.studies.arms import budget
from vitrail.studies.declaring import study


@pytest.fixture(scope="module")
def design():
    return study("infinite_lr").design("nano")


def test_method_and_control_differ_in_the_schedule_alone(design):
    control, method = design.control.recipe, design.methods[0].recipe
    assert budget(control) == budget(method) and control["data"] == method["data"]
    for one, other in zip(control["stages"], method["stages"], strict=True):
        assert {**one, "schedule": None} == {**other, "schedule": None}
    schedules = [stage["schedule"] for stage in method["stages"]]
    assert all(one["name"] == "infinite" for one in schedules)
    assert [one.get("anneal", 0) for one in schedules] == [0, 0, infinite_lr.ANNEAL]
    assert {stage["schedule"]["name"] for stage in control["stages"]} == {"repeated_cosine"}


def test_rates_at_the_borders_are_those_of_the_card(design):
    import torch

    def rates(arm):
        found, state = [], None
        for stage in load(dict(arm.recipe)).stages:
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            made, continues = stage.made_schedule, stage.continues is not None
            steps = stage.max_steps
            scheduler = made.scheduler(optimizer, steps, stage.warmup_steps(steps), continues)
            if continues and made.open_ended:
                scheduler.load_state_dict(state)
                made.goes_on(scheduler, steps)
            for _ in range(steps):
                found.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
            state = scheduler.state_dict()
        return found

    n = infinite_lr.STEPS
    infinite, cosine = rates(design.methods[0]), rates(design.control)
    assert len(infinite) == len(cosine) == 3 * n
    assert infinite[n : 2 * n] == pytest.approx([0.55] * n) and infinite[-1] < 0.12
    assert max(cosine[n : 2 * n]) == pytest.approx(1.0) and cosine[n] == pytest.approx(0.1)


def test_every_arm_takes_as_many_steps(design):
    for arm in design.arms:
        assert sum(stage["max_steps"] for stage in arm.recipe["stages"]) == 3 * infinite_lr.STEPS
    replayed = next(arm for arm in design.context if arm.name == "infinite, replay").recipe
    assert replayed["data"][replayed["stages"][2]["data"]]["sources"]["many"] == pytest.approx(0.9)
    back = next(arm for arm in design.context if arm.name == "infinite, reversed").recipe
    assert [stage["name"] for stage in back["stages"]] == list(reversed(infinite_lr.DATASETS))
