import itertools
import math

import pytest
import torch
import transformers

from vitrail.training.schedules.infinite import InfiniteLRScheduler, constant_lr, infinite_lr, wsd

RATES = {"eta_max": 3e-4, "eta_const": 1.65e-4, "eta_min": 3e-5}
MARKS = {"n_warmup": 10, "n_cooldown": 40, "n_anneal_start": 80, "n_anneal": 20}


def optimizer(*rates):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": rate} for rate in rates or (1.0,)]
    return torch.optim.SGD(groups)


def scheduler(made=None, **changes):
    settings = {"constant": 0.5, "minimum": 0.1, "warmup": 4, "cooldown": 6}
    return InfiniteLRScheduler(made if made is not None else optimizer(), **{**settings, **changes})


def run(made, steps):
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in made.optimizer.param_groups])
        made.optimizer.step()
        made.step()
    return found


@pytest.mark.parametrize("cooldown", ["cosine", "invsqrt", "linear"])
@pytest.mark.parametrize("annealing", ["exponential", "linear"])
def test_it_meets_its_marks_without_jumps_and_is_monotone_between_them(cooldown, annealing):
    def rate(n):
        return infinite_lr(n, **RATES, **MARKS, cooldown=cooldown, annealing=annealing)

    marks = [rate(n) for n in (10, 50, 80, 100)]
    assert marks == pytest.approx([3e-4, 1.65e-4, 1.65e-4, 3e-5], rel=1e-12)
    for mark in (10, 50, 80):
        assert abs(rate(mark) - rate(mark - 1e-6)) < 1e-9
    curve = [rate(n) for n in range(101)]
    steps = [after - before for before, after in itertools.pairwise(curve)]
    assert all(step > 0 for step in steps[:10]) and all(step < 0 for step in steps[10:50])
    assert all(step == 0 for step in steps[50:80]) and all(step < 0 for step in steps[80:])


def test_the_shapes_are_the_published_formulas():
    n, x = 22, (22 - 10) / 40
    cosine = 1.65e-4 + (3e-4 - 1.65e-4) / 2 * (1 + math.cos(math.pi * x))
    assert infinite_lr(n, **RATES, **MARKS) == pytest.approx(cosine, rel=1e-12)
    h = lambda x: 1 / math.sqrt(1 + 10 * x) - 1  # noqa: E731
    inverse = 3e-4 + (1.65e-4 - 3e-4) * h(x) / h(1)
    assert infinite_lr(n, **RATES, **MARKS, cooldown="invsqrt") == pytest.approx(inverse, rel=1e-12)
    assert infinite_lr(85, **RATES, **MARKS) == pytest.approx(1.65e-4 * (3e-5 / 1.65e-4) ** 0.25, rel=1e-12)


def test_annealing_falls_by_equal_ratios():
    curve = [infinite_lr(n, **RATES, **MARKS) for n in range(80, 101)]
    ratios = [after / before for before, after in itertools.pairwise(curve)]
    assert ratios == pytest.approx([ratios[0]] * 20)


def test_without_an_end_the_rate_is_the_same_however_long_it_goes_on():
    short = [infinite_lr(n, **RATES, n_warmup=10, n_cooldown=40) for n in range(60)]
    annealed = [
        infinite_lr(n, **RATES, n_warmup=10, n_cooldown=40, n_anneal_start=900, n_anneal=9) for n in range(60)
    ]
    assert short == annealed and infinite_lr(10**9, **RATES, n_warmup=10, n_cooldown=40) == 1.65e-4


def test_without_a_cooldown_the_warmup_goes_to_the_constant_rate():
    curve = [infinite_lr(n, **RATES, n_warmup=10, n_cooldown=0) for n in range(13)]
    assert curve[9] == pytest.approx(1.65e-4 * 0.9) and curve[10:] == [1.65e-4] * 3


def test_at_the_full_rate_with_linear_annealing_it_is_warmup_stable_decay():
    own = wsd(optimizer(2.0), warmup=5, stable=10, decay=8)
    theirs_on = optimizer(2.0)
    theirs = transformers.get_scheduler(
        "warmup_stable_decay",
        theirs_on,
        num_warmup_steps=5,
        num_training_steps=23,
        scheduler_specific_kwargs={"num_decay_steps": 8, "decay_type": "linear"},
    )
    theirs.optimizer = theirs_on
    assert run(own, 23) == [pytest.approx(rates) for rates in run(theirs, 23)]


def test_groups_keep_their_ratio():
    found = run(scheduler(optimizer(1e-2, 1e-4)), 30)
    assert all(one == pytest.approx(100 * other) for one, other in found)
    assert found[4][0] == 1e-2 and found[20][1] == 0.5e-4


def test_a_resumed_schedule_goes_on_with_the_same_rates():
    whole = scheduler(optimizer(1e-2, 1e-3))
    whole.anneal_at(20, 8)
    expected = run(whole, 28)
    for stop in (2, 7, 15, 24):
        first = scheduler(optimizer(1e-2, 1e-3))
        first.anneal_at(20, 8)
        run(first, stop)
        second = scheduler(optimizer(7.0, 7.0))
        second.load_state_dict(first.state_dict())
        assert run(second, 28 - stop) == expected[stop:]


def test_a_branch_that_anneals_does_not_change_the_trunk():
    trunk = scheduler()
    run(trunk, 15)
    state = trunk.state_dict()
    branch = scheduler()
    branch.load_state_dict(state)
    branch.begin_annealing(4)
    assert branch.is_annealing and not trunk.is_annealing
    assert [rates[0] for rates in run(branch, 4)] == pytest.approx([0.5 * 0.2 ** (n / 4) for n in range(4)])
    assert state == trunk.state_dict() and run(trunk, 5) == [[0.5]] * 5


def test_behind_its_end_it_stays_at_the_minimum_and_says_so_once():
    made = scheduler()
    made.anneal_at(10, 2)
    with pytest.warns(UserWarning, match="behind the end of annealing at step 12"):
        found = run(made, 16)
    assert [rates[0] for rates in found[12:]] == pytest.approx([0.1] * 4)


def test_a_constant_rate_has_no_end():
    assert run(constant_lr(optimizer(2.0), warmup=2), 4) == [[0.0], [1.0], [2.0], [2.0]]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"constant": 1.5}, "rates must rise"),
        ({"minimum": 0.7}, "minimum=0.7, constant=0.5"),
        ({"minimum": -0.1}, "none below 0"),
        ({"warmup": -1}, "warmup is -1 steps; give 0 or more"),
        ({"cooldown": -2}, "cooldown is -2 steps"),
    ],
)
def test_rates_and_lengths_out_of_order_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        scheduler(**changes)


def test_annealing_is_refused_before_the_cooldown_ends_twice_or_towards_nothing():
    made = scheduler()
    with pytest.raises(ValueError, match="before the cool-down ends at step 10"):
        made.anneal_at(9, 3)
    with pytest.raises(ValueError, match="anneal is 0 steps"):
        made.anneal_at(12, 0)
    made.anneal_at(12, 3)
    with pytest.raises(ValueError, match="annealing begins at step 12 already"):
        made.anneal_at(20, 3)
    with pytest.raises(ValueError, match="exponential annealing never reaches"):
        scheduler(minimum=0.0).anneal_at(12, 3)
    with pytest.raises(ValueError, match="both or neither"):
        infinite_lr(3, **RATES, n_warmup=1, n_cooldown=1, n_anneal=3)


def test_the_state_of_another_kind_is_refused():
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(), 10)
    with pytest.raises(ValueError, match="not of InfiniteLRScheduler"):
        scheduler().load_state_dict(cosine.state_dict())
    with pytest.raises(ValueError, match="2 groups of parameters and the optimizer 1"):
        scheduler().load_state_dict(scheduler(optimizer(1.0, 2.0)).state_dict())
