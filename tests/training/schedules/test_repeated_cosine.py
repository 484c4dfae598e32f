import math

import pytest
import torch

from vitrail.training.schedules.repeated_cosine import RepeatedCosineScheduler, repeated_cosine_lr


def test_each_cycle_warms_up_and_falls():
    curve = [repeated_cosine_lr(n, 1.0, 0.1, 4, 20) for n in range(41)]
    assert curve[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert curve[12] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 8 / 16)))
    assert curve[20:25] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])
    assert curve[19] > 0.1 and curve[40] == pytest.approx(0.1)
    assert repeated_cosine_lr(0, 1.0, 0.1, 4, 20, first=False) == pytest.approx(0.1)


def test_a_resumed_schedule_goes_on_with_the_same_rates():
    def made(rate):
        parameter = torch.nn.Parameter(torch.zeros(1))
        return RepeatedCosineScheduler(torch.optim.SGD([parameter], lr=rate), minimum=0.1, warmup=2, cycle=7)

    def run(scheduler, steps):
        found = []
        for _ in range(steps):
            found.append(scheduler.optimizer.param_groups[0]["lr"])
            scheduler.optimizer.step()
            scheduler.step()
        return found

    expected, first, second = run(made(0.5), 20), made(0.5), made(9.0)
    run(first, 9)
    second.load_state_dict(first.state_dict())
    assert run(second, 11) == expected[9:]


@pytest.mark.parametrize(
    "minimum, warmup, message", [(1.2, 2, "between 0 and"), (0.1, 7, "fewer than the 7")]
)
def test_what_cannot_be_is_refused(minimum, warmup, message):
    with pytest.raises(ValueError, match=message):
        repeated_cosine_lr(0, 1.0, minimum, warmup, 7)
