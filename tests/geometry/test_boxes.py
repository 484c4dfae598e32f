import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitrail.geometry import boxes

WHOLE = st.integers(-50, 50).map(float)


def paint(box, size=40):
    canvas = np.zeros((size, size), bool)
    x1, y1, x2, y2 = (int(v) for v in box)
    canvas[y1:y2, x1:x2] = True
    return canvas


def test_conversions_by_hand():
    assert boxes.convert([10, 20, 30, 60], "xyxy", "xywh").tolist() == [10, 20, 20, 40]
    assert boxes.convert([10, 20, 30, 60], "xyxy", "cxcywh").tolist() == [20, 40, 20, 40]
    assert boxes.convert([20, 40, 20, 40], "cxcywh", "xywh").tolist() == [10, 20, 20, 40]


@given(arrays(np.float64, (3, 4), elements=WHOLE))
@pytest.mark.parametrize("form", ["xyxy", "xywh", "cxcywh"])
def test_conversions_round_trip(form, b):
    assert np.array_equal(boxes.convert(boxes.convert(b, "xyxy", form), form, "xyxy"), b)


def test_iou_equals_counting_pixels():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 25, (12, 2))
    b = np.concatenate([low, low + rng.integers(1, 15, (12, 2))], axis=1)
    painted = [paint(box) for box in b]
    for i, row in enumerate(boxes.iou(b[:5], b)):
        for j, value in enumerate(row):
            both, either = (painted[i] & painted[j]).sum(), (painted[i] | painted[j]).sum()
            assert value == pytest.approx(both / either)


def test_giou_of_boxes_apart_falls_with_distance():
    near, far = boxes.giou([[0, 0, 1, 1]], [[2, 0, 3, 1], [9, 0, 10, 1]])[0]
    assert near == pytest.approx(-1 / 3) and far == pytest.approx(-0.8)


def test_empty_boxes_have_no_overlap():
    assert boxes.iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]).tolist() == [[0.0]]
    assert boxes.area([5, 5, 2, 9]) == 0


def test_clip_and_scale():
    assert boxes.clip([-5, 3, 80, 90], 64, 48).tolist() == [0, 3, 64, 48]
    assert boxes.scale([1, 2, 3, 4], 10, 100).tolist() == [10, 200, 30, 400]


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="last axis must hold 4"):
        boxes.area([1, 2, 3])
    with pytest.raises(ValueError, match="target is 'yolo'"):
        boxes.convert([0, 0, 1, 1], "xyxy", "yolo")
