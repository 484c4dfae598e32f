"""Effects on one axis."""

import re
import xml.etree.ElementTree as ET

import pytest

from vitrail.reporting.effects import Effect, Effects


def svg(page):
    return ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_places_keep_their_order():
    rows = [Effect("a", 0.04, 0.01, 0.07, "seen"), Effect("b", -0.02, -0.05, 0.01, "not seen")]
    found = Effects("effects", rows, delta=0.03, scale=100, unit="points").html()
    dots = [float(dot.get("cx")) for dot in svg(found).iter("circle")]
    lines = [(float(line.get("x1")), float(line.get("x2"))) for line in svg(found).iter("line")]
    zero, delta, first, second = (lines[index] for index in range(4))
    assert dots[1] < zero[0] < delta[0] < dots[0]
    assert first[0] < dots[0] < first[1] and second[0] < dots[1] < second[1]
    assert zero[0] < first[0] and second[0] < zero[0] < second[1]
    assert "+4 [+1, +7]" in found and "δ = 3" in found and "points" in found


def test_what_a_screen_reader_hears_and_what_is_escaped():
    found = Effects("t", [Effect("<b>", 0.1, 0.0, 0.2, "undecided")]).html()
    label = svg(found).get("aria-label")
    assert label == "<b>: +0.1 [+0, +0.2] undecided" and "<b>" not in re.sub("aria-label=.*?>", "", found)


def test_no_effect_at_all():
    flat = Effects("t", [Effect("a", 0.0, 0.0, 0.0)]).html()
    assert len(list(svg(flat).iter("circle"))) == 1
    with pytest.raises(ValueError, match="needs at least one effect"):
        Effects("t", [])
