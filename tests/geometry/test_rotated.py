import numpy as np
import pytest

from vitrail.geometry import boxes, rotated


def inside(box, x, y):
    cx, cy, w, h, degrees = box
    t = np.deg2rad(degrees)
    along = (x - cx) * np.cos(t) - (y - cy) * np.sin(t)
    across = (x - cx) * np.sin(t) + (y - cy) * np.cos(t)
    return (np.abs(along) <= w / 2) & (np.abs(across) <= h / 2)


def random_boxes(count, seed):
    rng = np.random.default_rng(seed)
    low, high = [20, 20, 4, 4, -180], [44, 44, 30, 30, 180]
    return rng.uniform(low, high, (count, 5))


def test_counter_clockwise_on_the_screen():
    # Turned by 30 degrees counter-clockwise, the right end of a bar rises: y falls.
    right_end = rotated.corners([0, 0, 10, 0, 30])[1]
    assert right_end == pytest.approx([5 * np.cos(np.pi / 6), -2.5])


def test_iou_equals_counting_points():
    a, b = random_boxes(4, 1), random_boxes(5, 2)
    y, x = np.mgrid[0:64:0.1, 0:64:0.1]
    exact = rotated.iou(a, b)
    for i in range(4):
        for j in range(5):
            p, q = inside(a[i], x, y), inside(b[j], x, y)
            assert exact[i, j] == pytest.approx((p & q).sum() / (p | q).sum(), abs=0.01)
    assert exact.max() > 0.2, "the sample must hold overlapping boxes"


def test_upright_boxes_agree_with_plain_ones():
    plain = np.array([[0, 0, 10, 6], [4, 2, 12, 9], [40, 40, 41, 41]], float)
    turned = rotated.from_xyxy(plain)
    assert rotated.iou(turned, turned) == pytest.approx(boxes.iou(plain, plain))
    assert rotated.to_xyxy(turned) == pytest.approx(plain)


@pytest.mark.parametrize("box", random_boxes(8, 3))
def test_normalise_keeps_the_rectangle(box):
    tidy = rotated.normalise(box)
    assert tidy[2] >= tidy[3] and -90 <= tidy[4] < 90
    assert rotated.iou([box], [tidy])[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("box", random_boxes(8, 4))
def test_enclosing_finds_the_rectangle_of_its_corners(box):
    found = rotated.enclosing(rotated.corners(box))
    assert rotated.iou([found], [box])[0, 0] == pytest.approx(1.0)


def test_enclosing_is_smallest_of_all_angles():
    points = np.random.default_rng(5).normal(size=(40, 2)) @ np.array([[3, 1], [0, 1]])
    found = rotated.enclosing(points)
    smallest = np.inf
    for degrees in np.arange(0, 90, 0.05):
        t = np.deg2rad(degrees)
        turned = points @ np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
        smallest = min(smallest, np.ptp(turned, axis=0).prod())
    assert found[2] * found[3] <= smallest + 1e-9
    assert found[2] * found[3] == pytest.approx(smallest, rel=1e-2)
    grown = found + np.array([0, 0, 1e-9, 1e-9, 0])
    assert inside(grown, points[:, 0], points[:, 1]).all()


def test_enclosing_of_lines_and_single_points():
    assert rotated.enclosing([[3, 4]]).tolist() == [3, 4, 0, 0, 0]
    line = rotated.enclosing([[0, 0], [3, -3], [1, -1]])
    assert line[2:] == pytest.approx([3 * np.sqrt(2), 0, 45])
    with pytest.raises(ValueError, match="at least one point"):
        rotated.enclosing(np.zeros((0, 2)))


def test_from_mask_recovers_a_painted_rectangle():
    box = np.array([60.0, 50.0, 60.0, 25.0, 35.0])
    y, x = np.mgrid[0:100, 0:120] + 0.5
    found = rotated.from_mask(inside(box, x, y))
    assert rotated.iou([found], [box])[0, 0] > 0.9
    assert found[4] == pytest.approx(35, abs=2)
    square = np.zeros((9, 9), bool)
    square[2:5, 3:7] = True
    assert rotated.from_mask(square).tolist() == [5, 3.5, 4, 3, 0]
    with pytest.raises(ValueError, match="empty"):
        rotated.from_mask(np.zeros((4, 4), bool))
