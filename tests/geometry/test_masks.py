import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vitrail.geometry import masks


def rectangle():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    return mask


# Counts as pycocotools 2.0 writes them.
COCO = {
    "=3300000005": rectangle(),
    "0130N1420NLO20N11": (np.arange(35).reshape(5, 7) * 7 % 5) < 2,
    "06": np.ones((3, 2), bool),
    "6": np.zeros((3, 2), bool),
}


@pytest.mark.parametrize("counts", COCO)
def test_equals_pycocotools(counts):
    mask = COCO[counts]
    encoding = {"size": list(mask.shape), "counts": counts}
    assert masks.encode(mask) == encoding
    assert np.array_equal(masks.decode(encoding), mask)
    assert np.array_equal(masks.decode({**encoding, "counts": counts.encode()}), mask)


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)), st.booleans())
def test_round_trip(mask, compressed):
    assert np.array_equal(masks.decode(masks.encode(mask, compressed=compressed)), mask)


def test_long_runs_need_several_characters():
    mask = np.zeros((700, 900), bool)
    mask[350:, 450:] = True
    assert np.array_equal(masks.decode(masks.encode(mask)), mask)


def test_damaged_encodings_are_refused():
    with pytest.raises(ValueError, match="counts sum to 6, but size 3 × 3"):
        masks.decode({"size": [3, 3], "counts": "06"})
    with pytest.raises(ValueError, match="cut off"):
        masks.decode({"size": [3, 2], "counts": "0V"})
    with pytest.raises(ValueError, match="does not use"):
        masks.decode({"size": [3, 2], "counts": "0~"})


def test_box_area_and_overlap():
    mask = rectangle()
    assert masks.to_box(mask) == (2, 1, 7, 4)
    assert masks.area(mask) == 15
    assert masks.to_box(np.zeros((4, 4))) is None
    moved = np.roll(mask, 1, axis=1)
    assert masks.iou([mask], [mask, moved, ~mask])[0] == pytest.approx([1, 12 / 18, 0])
    with pytest.raises(ValueError, match="of equal size"):
        masks.iou([mask], [mask.T])
