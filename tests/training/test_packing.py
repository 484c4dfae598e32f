"""Which records share a row: against the definition, a plain reference, and what an epoch is."""

from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vitrail.training.packing import (
    Packing,
    check,
    epoch_rows,
    expected_rows,
    fewest_rows,
    fill_of,
    first_fit,
    packed_steps,
    padded_fill,
    rows_of_epochs,
)
from vitrail.training.sampling import step_batches


def lengths(count, seed=0, most=300):
    return np.random.default_rng(seed).integers(5, most, count).tolist()


def plain_first_fit(known, capacity):
    """Longest first, each into the first row that has room."""
    rows, room = [], []
    for place in sorted(range(len(known)), key=lambda place: -known[place]):
        for row, left in enumerate(room):  # noqa: B007
            if left >= known[place]:
                break
        else:
            row = len(rows)
            rows.append([])
            room.append(capacity)
        rows[row].append(place)
        room[row] -= known[place]
    return [sorted(row) for row in rows]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80), st.integers(40, 90))
@settings(max_examples=200, deadline=None)
def test_rows_are_those_of_first_fit_decreasing(known, capacity):
    assert first_fit(known, capacity) == plain_first_fit(known, capacity)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 4), st.integers(2, 30))
@settings(max_examples=80, deadline=None)
def test_an_epoch_holds_each_record_once_in_rows_that_fit(known, epoch, window):
    rows = epoch_rows(known, Packing(length=50, window=window), seed=3, epoch=epoch)
    assert sorted(chain.from_iterable(rows)) == list(range(len(known)))
    assert all(0 < sum(known[number] for number in row) <= 50 for row in rows)
    assert len(rows) >= fewest_rows(known, Packing(length=50, window=window))


def test_first_fit_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="51 does not fit into 50"):
        first_fit([3, 51], 50)
    assert first_fit([], 50) == []


@pytest.mark.parametrize("size", [1, 3, 8])
def test_epochs_follow_each_other_with_nothing_lost_and_nothing_twice(size):
    known, packing = lengths(200), Packing(length=512, window=64)
    rows = [len(epoch_rows(known, packing, 5, epoch)) for epoch in range(4)]
    steps = list(islice(packed_steps(known, size, 5, packing), sum(rows) // size))
    assert all(len(step) == size for step in steps)
    flat = [row for step in steps for row in step]
    begin = 0
    for count in rows[:-1]:
        # What did not fill a step opens the next epoch, so an epoch's rows stand one after another.
        epoch = flat[begin : begin + count]
        assert sorted(chain.from_iterable(epoch)) == list(range(200))
        begin += count
    for step in steps:
        numbers = list(chain.from_iterable(step))
        assert len(set(numbers)) == len(numbers)  # a record does not meet itself


def test_order_depends_on_the_seed_alone_and_differs_by_epoch():
    known, packing = lengths(300), Packing(length=1024, window=128)
    one, two = (list(islice(packed_steps(known, 2, 7, packing), 40)) for _ in range(2))
    assert one == two != list(islice(packed_steps(known, 2, 8, packing), 40))
    assert set(epoch_rows(known, packing, 7, 0)).isdisjoint(epoch_rows(known, packing, 7, 1))


def test_rows_are_nearly_full_where_padding_would_be_a_third():
    known, packing = lengths(4000), Packing(length=2048)
    found = fill_of(epoch_rows(known, packing, 0, 0), known, packing)
    assert found.share > 0.99 and found.tokens == sum(known) and found.records == 4000
    assert sum(found.histogram) == found.rows and found.histogram[-1] > 0.95 * found.rows
    assert f"share {found.rows:,} rows of 2,048 tokens" in found.sentence(2048)
    at_random = padded_fill(islice(step_batches(4000, 8, 0), 500), known, 1, 1)
    by_length = padded_fill(islice(step_batches(4000, 8, 0, known), 500), known, 1, 1)
    assert at_random.share < 0.65 < 0.9 < by_length.share < found.share


def test_the_histogram_counts_tenths():
    rows = [(0,), (1,), (2,), (3,)]
    assert fill_of(rows, [1, 10, 11, 100], Packing(length=100)).histogram == (2, 1, 0, 0, 0, 0, 0, 0, 0, 1)


def test_padding_is_counted_by_micro_batch_and_process():
    known = [1, 2, 3, 4, 5, 6, 7, 8]
    step = np.arange(8)

    def places(accumulation, world):
        return padded_fill(iter([step]), known, accumulation, world).places

    assert places(1, 1) == 8 * 8
    assert places(2, 1) == 4 * 4 + 4 * 8
    assert places(1, 2) == 4 * 7 + 4 * 8  # processes take every second record


def test_rows_of_epochs_counts_a_part_of_the_last():
    known, packing = lengths(100), Packing(length=700, window=40)
    counts = [len(epoch_rows(known, packing, 2, epoch)) for epoch in range(3)]
    assert rows_of_epochs(known, packing, 2, 1) == counts[0]
    assert rows_of_epochs(known, packing, 2, 2.5) == counts[0] + counts[1] + 0.5 * counts[2]
    assert rows_of_epochs(known, packing, 2, 0.25) == 0.25 * counts[0]


@pytest.mark.parametrize("length", [64, 320, 1000, 4096])
def test_expected_rows_are_near_what_there_are(length):
    known = [min(one, length) for one in lengths(2000, most=400)]
    packing = Packing(length=length)
    there = len(epoch_rows(known, packing, 0, 0))
    assert expected_rows(2000, sum(known) / 2000, packing) == pytest.approx(there, rel=0.25)


def test_records_longer_than_a_row_and_steps_larger_than_an_epoch_are_refused():
    packing = Packing(length=100)
    with pytest.raises(
        ValueError, match=r"packing.length is 100, but 2 of 4 .*record 1 has 150.*longest 180.*too_long"
    ):
        check([5, 150, 7, 180], packing)
    with pytest.raises(ValueError, match=r"takes 4 rows .* more than 3 of 100"):
        next(packed_steps([90, 90, 90], 4, 0, packing))
    for wrong in ({"length": 0}, {"length": 10, "window": 1}, {"length": 10, "size": 3}):
        with pytest.raises(ValidationError):
            Packing(**wrong)
