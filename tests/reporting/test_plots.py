import builtins
import re

import pytest

from vitrail.reporting.plots import Bars, Curves, _smoothed, _thinned, require
from vitrail.statistics.intervals import proportion


def test_bars_take_numbers_triples_and_estimates():
    estimate = proportion([1, 1, 0, 1])
    chart = Bars("t", ["what", "where"], {"trained": [0.5, estimate], "blind": [(0.3, 0.2, 0.4), None]})
    html = chart.html()
    for cell in ("50.0 %", "75.0 % (30.1 to 95.4)", "30.0 % (20.0 to 40.0)", "–"):
        assert f'<td class="n">{cell}</td>' in html
    assert ">what<" in html and ">75<" in html


def test_colours_follow_the_page_and_letters_stay_text():
    html = Bars("t", ["a"], {"x": [(0.5, 0.4, 0.6)], "y": [0.2]}, {"chance": [0.25]}).html()
    for variable in ("--ink", "--line", "--muted", "--s1", "--s2", "--surface"):
        assert f": var({variable})" in html
    assert "#0400" not in html and "#010101" not in html
    assert "<text" in html and "http-equiv" not in html and "<?xml" not in html
    svg = html[html.index("<svg") : html.index("</svg>")]
    assert "width=" not in svg.split(">")[0] and "viewBox" in svg.split(">")[0]


def test_two_charts_share_no_identifiers():
    ids = [
        set(re.findall(r' id="([^"]+)"', Bars(t, [t], {"x": [v]}).html()))
        for t, v in (("a", 0.1), ("b", 0.2))
    ]
    assert ids[0] and not ids[0] & ids[1]


def test_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match=r"'x' has 1 values for 2 groups"):
        Bars("t", ["a", "b"], {"x": [1]})
    with pytest.raises(ValueError, match="at least one group"):
        Bars("t", [], {"x": []})
    with pytest.raises(ValueError, match="2 x and 1 y"):
        Curves("t", {"x": ([0, 1], [1])})
    with pytest.raises(ValueError, match="smooth is 1"):
        Curves("t", {"x": ([0], [1])}, smooth=1)


def test_smoothing_starts_at_the_first_value_and_keeps_gaps():
    nan = float("nan")
    assert _smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2, 2, 2])
    assert _smoothed([1.0, nan, 3.0], 0.5) == pytest.approx(
        [1.0, nan, (0.25 * 1 + 0.5 * 3) / 0.75], nan_ok=True
    )


def test_long_curves_are_thinned_by_means():
    xs, ys = _thinned([float(x) for x in range(2400)], [float(x % 2) for x in range(2400)])
    assert len(xs) == 800 and xs[0] == 1.0 and ys[0] == pytest.approx(1 / 3)
    assert _thinned([1.0], [2.0]) == ([1.0], [2.0])


def test_curves_summarise_their_values():
    html = Curves(
        "loss", {"align": ([1, 2, 3], [4.0, 1.0, 2.0]), "none": ([1], [float("nan")])}, log=True
    ).html()
    for cell in ("4 (1)", "2 (3)", "1", "3"):
        assert f'<td class="n">{cell}</td>' in html


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'vitrail\[report\]'"):
        require()
