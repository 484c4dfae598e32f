"""Points over two axes."""

import pytest

from vitrail.reporting.scatter import Point, Scatter


def test_every_point_is_drawn_and_told():
    points = [Point("first & last", 1.0, 0.5, 0.1, 0.02), Point("$other$", 2.0, 0.25)]
    html = Scatter("x and y", points, "MIR", "accuracy").html()
    assert html == Scatter("x and y", points, "MIR", "accuracy").html()
    assert html.count("<svg") == 1 and "first &amp; last" in html and "$other$" in html
    for figure in ("MIR", "accuracy", "0.25", "0.02"):
        assert figure in html


def test_no_points():
    with pytest.raises(ValueError, match="needs at least one point"):
        Scatter("nothing", [], "x", "y")
