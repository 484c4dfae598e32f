import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from vitrail.reporting import (
    Bars,
    Code,
    Curves,
    DataTable,
    Gallery,
    Headline,
    KeyValues,
    Notice,
    Page,
    Question,
    Text,
)
from vitrail.reporting.page import anchors, number

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Checker(HTMLParser):
    """Tags balanced, ids unique, every fragment link and label has its target."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.problems = [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [
            attributes[name][1:]
            for name in ("href", "xlink:href")
            if attributes.get(name, "").startswith("#")
        ]
        self.links += attributes.get("aria-labelledby", "").split()
        if tag == "img" and not attributes.get("alt"):
            self.problems.append("a picture without alt")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")


def check(html):
    checker = Checker()
    checker.feed(html)
    assert checker.problems == [] and checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert set(checker.links) <= set(checker.ids)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", html)
    return html


def full():
    page = Page(EVIL, EVIL, EVIL)
    page.section("One", EVIL).add(Text(f"{EVIL}\n\nsecond"), Notice(EVIL, "warning"), Code(EVIL, EVIL))
    page.section("One", folded=True).add(
        Headline([(EVIL, EVIL, EVIL)]),
        KeyValues({EVIL: EVIL, "deep": {"a": 1, "b": [True, None]}}, EVIL),
        DataTable([EVIL, "n"], [[EVIL, 1]], EVIL),
        Gallery(
            [Question(EVIL, options=[EVIL, "b"], truth=0, prediction=1, kind=EVIL, note=EVIL, answer=EVIL)],
            "g",
        ),
        Bars(
            EVIL,
            [EVIL, "$a$"],
            {EVIL: [0.5, (0.4, 0.3, 0.5)], "b": [None, 1]},
            {EVIL: [0.25, None]},
            note=EVIL,
        ),
        Bars("again", ["a"], {"b": [0.5]}),
        Curves(EVIL, {EVIL: ([0, 1, 2], [3, 2, float("nan")])}, x_label=EVIL, y_label="$x^2$", note=EVIL),
    )
    return page


def test_everything_is_escaped_and_well_formed(tmp_path):
    html = check(full().write(tmp_path / "a" / "page.html").read_text())
    assert "alert(" in html and "<script>alert" not in html
    assert html.count("<script>") == 1


def test_equal_content_gives_equal_bytes():
    assert full().html() == full().html()


def test_an_empty_page_is_a_page():
    html = check(Page("empty").html())
    assert "<title>empty</title>" in html and "<section" not in html
    page = Page("one")
    page.section("nothing in it")
    html = check(page.html())
    assert html.count("<section") == 1 and "nothing in it" in html


def test_anchors_are_unique():
    assert anchors(["Results", "Results", "Ergebnisse für Äpfel", "…", "results-2"]) == [
        "results",
        "results-2",
        "ergebnisse-f-r-pfel",
        "section",
        "results-2-2",
    ]


@pytest.mark.parametrize(
    "value, shown",
    [
        (None, "–"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (123456.7, "123,457"),
        ("a", "a"),
    ],
)
def test_numbers_for_reading(value, shown):
    assert number(value) == shown


def test_nested_values_become_rows():
    html = KeyValues({"packages": {"torch": "2.13"}, "devices": [], "sizes": [1, 2000]}).html()
    assert "packages.torch" in html and "1, 2,000" in html


def test_tables_refuse_ragged_rows_and_align_numbers():
    with pytest.raises(ValueError, match="row 1 has 1 cells under 2 columns"):
        DataTable(["a", "b"], [[1, 2], [3]])
    html = DataTable(["name", "n"], [["a", 1], ["b", None]], emphasis=[1]).html()
    assert '<th scope="col" class="n">n</th>' in html and '<tr class="strong">' in html
    assert '<th scope="col">name</th>' in html


def test_importing_and_tables_need_no_matplotlib_nor_torch():
    code = (
        "import sys; from vitrail.reporting import *; p = Page('a');"
        "p.section('b').add(KeyValues({'c': 1})); p.html();"
        "print([m for m in ('torch', 'matplotlib', 'numpy', 'PIL', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
