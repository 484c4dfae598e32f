"""The rose: every paper a pane, panes that do not overlap, seams side by side."""

import itertools
import math
import re

import pytest

from vitrail.serving.atlas.window import RADII, SIZE, in_order, panes, ring_sizes


def test_the_window_of_96_has_twelve_equal_parts():
    assert ring_sizes(96) == [12, 24, 24, 36]
    made = panes(96)
    assert len(made) == 96
    parts = [
        [(pane.ring, round(pane.angle % (math.tau / 12), 6)) for pane in made[i : i + 8]]
        for i in range(0, 96, 8)
    ]
    assert all(part == parts[0] for part in parts)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 50, 95, 96, 97, 200])
def test_any_number_of_panes(count):
    made = panes(count)
    assert len(made) == len({(pane.ring, pane.index) for pane in made}) == count
    assert all("nan" not in pane.path and pane.path.endswith("Z") for pane in made)


def test_no_pane_reaches_into_another():
    for pane in panes(96):
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", pane.path.replace("A", " "))]
        assert all(-1 <= n <= SIZE + 1 for n in numbers)
        corners = re.findall(r"(?<=[ML])(\S+) (\S+?)(?=[LQAZ])", pane.path)
        radii = [math.hypot(float(x) - 500, float(y) - 500) for x, y in corners]
        assert min(radii) > RADII[pane.ring] and max(radii) < RADII[pane.ring + 1]
    centres = [(pane.x, pane.y) for pane in panes(96)]
    assert min(math.dist(a, b) for a, b in itertools.combinations(centres, 2)) > 60


def test_papers_of_a_seam_are_neighbours():
    seams = {"a": "head", "b": "tower", "c": "head", "d": "tower"}
    assert in_order(list("abcd"), seams, ["tower", "head"]) == ["b", "d", "a", "c"]


def test_nothing_cannot_be_drawn():
    with pytest.raises(ValueError, match="a window of 0 panes"):
        panes(0)
