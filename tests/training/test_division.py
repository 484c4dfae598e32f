"""A step's records stay together, whichever processes share them."""

import itertools

import pytest

from vitrail.training.division import Division
from vitrail.training.sampling import BatchSampler


def among(world, **changes):
    return Division.among(world, **{"batch_size": 2, "accumulation": 2, "begun": 2, **changes})


def shares(division, entries):
    return [division.split(entries, rank) for rank in range(division.world)]


def test_as_many_processes_as_at_first_take_every_second_record():
    assert shares(among(2), list(range(8))) == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_whole_micro_batches_change_hands(world):
    found = list(itertools.chain(*shares(among(world), list(range(8)))))
    assert sorted(found) == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert among(world).micro_batches == 4 // world
    among(world, decomposes=False)  # nothing is cut


def test_micro_batches_are_cut_where_there_are_fewer_than_processes():
    division = among(8)
    assert (division.pieces, division.micro_batches, division.size) == (2, 1, 8)
    assert sorted(itertools.chain(*shares(division, list(range(8))))) == [[n] for n in range(8)]
    assert among(3, batch_size=6).pieces == 3  # and no further than it takes


@pytest.mark.parametrize(
    ("world", "changes", "said"),
    [
        (3, {}, "begun with 2 processes and takes 8 records a step, which 3 .* use 1, 2, 4 or 8, or remove"),
        (8, {"decomposes": False}, "compares the records of a micro-batch.*use 1, 2 or 4, or remove"),
        (2, {"begun": 1, "accumulation": 1, "batch_size": 1}, "use 1, or remove"),
    ],
)
def test_uneven_shares_are_refused_with_what_is_possible(world, changes, said):
    with pytest.raises(ValueError, match=said):
        among(world, **changes)


def test_a_sampler_gives_every_process_its_part_of_the_same_steps():
    def steps(world):
        samplers = [
            BatchSampler(
                24, steps=3, batch_size=2, accumulation=2, rank=rank, world=world, division=among(world)
            )
            for rank in range(world)
        ]
        assert {len(one) for one in samplers} == {3 * 4 // world}
        found = [list(one) for one in samplers]
        size = 4 // world
        return [
            sorted(n for own in found for batch in own[step * size : (step + 1) * size] for n in batch)
            for step in range(3)
        ]

    assert steps(1) == steps(2) == steps(4)
