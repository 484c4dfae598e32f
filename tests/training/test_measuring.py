"""What a step takes, by a clock that the test turns."""

import pytest

from vitrail.training import measuring
from vitrail.training.measuring import ROUNDS, measure


class Machine:
    """Steps named by their length take that many seconds, times a factor for each run."""

    def __init__(self, factors=()):
        self.now, self.runs, self.factors = 100.0, [], list(factors)

    def clock(self):
        return self.now

    def run(self, step):
        factor = self.factors.pop(0) if self.factors else 1.0
        self.runs.append(step)
        self.now += step * factor

    def measure(self, steps=(9, 1, 2, 3), seconds=1e9, **options):
        return measure(self.run, steps, seconds, clock=self.clock, **options)


def test_a_quiet_machine():
    machine = Machine()
    found = machine.measure()
    assert machine.runs == [9] + [1, 2, 3] * ROUNDS
    assert found == measuring.StepTime(best=2.0, usual=2.0, busy=False)


def test_the_warm_up_does_not_count():
    assert Machine([50.0]).measure() == measuring.StepTime(2.0, 2.0, False)


def test_each_length_counts_with_its_best_round():
    machine = Machine([1, 4, 1, 1, 1, 4, 1, 1, 1, 4])
    found = machine.measure()
    assert found.best == pytest.approx(2.0)
    assert found.usual == pytest.approx(4.0)  # every step took 4, 1 and 1 times as long
    assert found.busy
    assert "2 s at best" in found.note("s") and "4 s on average" in found.note("s")


@pytest.mark.parametrize(("factor", "busy"), [(1.4, False), (1.6, True)])
def test_busy_means_half_as_long_again(factor, busy):
    assert Machine([1, factor]).measure().busy is busy


def test_a_machine_that_is_slow_throughout_is_not_busy():
    assert Machine([3.0] * 10).measure() == measuring.StepTime(6.0, 6.0, False)


def test_a_short_budget_has_fewer_rounds():
    machine = Machine()
    machine.measure(seconds=16.0)  # the warm-up takes 9, a round 6
    assert machine.runs == [9] + [1, 2, 3] * 2
    machine = Machine([1, 9, 9, 9])
    assert not machine.measure(seconds=0.0).busy  # one round: nobody can tell
    assert machine.runs == [9, 1, 2, 3]


def test_all_processes_run_as_many_rounds():
    machine = Machine()
    machine.measure(seconds=1e9, agreed=lambda mine: False)
    assert machine.runs == [9, 1, 2, 3]
