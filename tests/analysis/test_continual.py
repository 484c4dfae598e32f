import numpy as np
import pytest

from vitrail.analysis.continual import area, continual_metrics, gap_report, matrix_of, transient_jump


def test_forgetting_is_how_far_the_end_lies_behind_the_best():
    accuracy = [[0.9, 0.1, 0.0], [0.6, 0.8, 0.1], [0.7, 0.5, 0.9]]
    found = continual_metrics(accuracy, higher_is_better=True)
    assert found.final == pytest.approx(0.7) and found.forgetting == pytest.approx((0.2 + 0.3) / 2)
    losses = -np.array(accuracy)
    assert continual_metrics(losses).forgetting == pytest.approx(0.25)
    assert (
        continual_metrics([[2.0]]).forgetting == 0
        and continual_metrics([[1, 2], [0.5, 1]]).forgetting == -0.5
    )
    with pytest.raises(ValueError, match="a row and a column for each dataset"):
        continual_metrics([[1, 2]])
    with pytest.raises(ValueError, match="not finite"):
        continual_metrics([[float("nan")]])


def rows(*losses):
    return [{"step": step, "a": {"loss": loss}, "b": {"loss": 2 * loss}} for step, loss in losses]


def test_the_jump_is_the_worst_of_the_first_steps_over_the_boundary():
    probed = rows((0, 1.0), (10, 1.6), (20, 1.2), (30, 5.0))
    assert transient_jump(probed, ["a"], 20) == pytest.approx(0.6)
    assert transient_jump(probed, ["a", "b"], 20) == pytest.approx(0.9)
    assert transient_jump(rows((0, 1.0), (10, 0.5)), ["a"], 20) == 0
    with pytest.raises(ValueError, match="first probe is missing"):
        transient_jump(probed[1:], ["a"], 20)


def test_a_matrix_is_read_from_the_last_probes():
    ends = [rows((9, 1.0))[0], rows((9, 3.0))[0]]
    assert matrix_of(ends, ["a", "b"]).tolist() == [[1.0, 2.0], [3.0, 6.0]]
    with pytest.raises(ValueError, match="'b' was not probed on 'c'"):
        matrix_of(ends, ["b", "c"])
    assert area(rows((0, 1.0), (10, 3.0), (30, 3.0)), "a") == pytest.approx((20 + 60) / 30)


def test_the_gap_of_a_v_and_of_a_rise():
    gap = gap_report([50, 40, 45, 52])
    assert (gap.depth, gap.position, gap.recovery, gap.peak, gap.final) == (10, 1, 3, 52, 52)
    assert gap.below == pytest.approx(15 / 4)
    assert gap_report([1, 2, 3]).depth == 0 and gap_report([3, 2, 1]).recovery is None
    with pytest.raises(ValueError, match="one finite value at least"):
        gap_report([])
