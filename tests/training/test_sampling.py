from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.training.sampling import BatchSampler, lengths_of, shuffled, step_batches


def lengths(count, seed=0):
    return np.random.default_rng(seed).integers(5, 300, count)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_record_is_used_equally_often(count, size, seed, by_length):
    if size > count:
        with pytest.raises(ValueError, match="one optimiser step takes"):
            next(step_batches(count, size, seed))
        return
    steps = 5 * count // size + 1
    known = lengths(count) if by_length else None
    batches = list(islice(step_batches(count, size, seed, known), steps))
    assert all(len(set(step.tolist())) == size for step in batches)  # a record never meets itself
    used = np.bincount(np.concatenate(batches), minlength=count)
    # Steps are shuffled inside an epoch and what is left over opens the next: at most two epochs are open.
    assert used.max() - used.min() <= 2
    assert used.sum() == steps * size


def test_a_whole_epoch_is_a_permutation():
    batches = list(islice(step_batches(96, 8, 0, lengths(96)), 12))
    assert sorted(np.concatenate(batches)) == list(range(96))


def test_what_is_left_over_opens_the_next_epoch():
    batches = list(islice(step_batches(10, 4, 3), 5))
    assert sorted(np.concatenate(batches)) == sorted([*range(10)] * 2)


def test_batches_have_similar_lengths():
    known = lengths(2000)

    def padding(batches):
        return sum(known[step].max() * len(step) - known[step].sum() for step in batches) / known.sum()

    by_length = padding(islice(step_batches(2000, 8, 0, known), 250))
    at_random = padding(islice(step_batches(2000, 8, 0), 250))
    assert by_length < 0.05 < 0.3 < at_random


def test_order_depends_on_the_seed_alone_and_differs_by_epoch():
    one, two = (list(islice(step_batches(64, 8, 7, lengths(64)), 16)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert any((a != b).any() for a, b in zip(one[:8], one[8:], strict=True))
    other = list(islice(step_batches(64, 8, 8, lengths(64)), 16))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_the_shuffle_is_pinned():
    """Drift of the order between versions would break resumed runs silently."""
    assert shuffled(10, 0, 0).tolist() == [0, 8, 9, 3, 7, 5, 1, 2, 6, 4]


def sampler(**changes):
    return BatchSampler(50, **{"steps": 9, "batch_size": 8, "seed": 1, "lengths": lengths(50), **changes})


def test_the_records_of_a_step_do_not_depend_on_its_division():
    whole = [set(batch) for batch in sampler()]
    parts = list(sampler(batch_size=1, accumulation=8))
    assert len(parts) == 72
    assert [set().union(*parts[i : i + 8]) for i in range(0, 72, 8)] == whole
    ranks = [list(sampler(batch_size=2, accumulation=2, rank=rank, world=2)) for rank in (0, 1)]
    assert [len(batch) for rank in ranks for batch in rank] == [2] * 36
    together = [set(a) | set(b) for a, b in zip(*ranks, strict=True)]
    assert [together[i] | together[i + 1] for i in range(0, 18, 2)] == whole


def test_the_length_of_a_stage():
    assert len(sampler()) == 9 and len(list(sampler())) == 9
    assert len(sampler(batch_size=2, accumulation=4)) == 36


def test_lengths_are_asked_for_once():
    class Known:
        lengths = (3, 4)

    class Record:
        length = 7

    assert lengths_of(Known()) == [3, 4]
    assert lengths_of([Record(), Record()]) == [7, 7]
    with pytest.raises(ValueError, match="2 lengths for 3 records"):
        next(step_batches(3, 1, 0, [1, 2]))
