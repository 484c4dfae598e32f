"""Pages about mathematics: formulas of every kind as LaTeX, the cheap look, recall and precision on composed pages."""

from __future__ import annotations

import random
import re
from html import unescape
from pathlib import Path

import pytest

from vitrail.curation.inputs.page import page
from vitrail.curation.operations.extract import Extract
from vitrail.curation.operations.joined_texts import JoinTexts
from vitrail.curation.operations.math_pages import ExtractMath, MathMarkup
from vitrail.data.records import Document, Image, Text

KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mi>q</mi><annotation '
    'encoding="application/x-tex">q_1</annotation></semantics></math></span><span class="katex-html" '
    'aria-hidden="true">q1</span></span>'
)
WIKIPEDIA = (
    '<span class="mwe-math-element"><span style="display:none"><math alttext="{\\displaystyle E=mc^{2}}"><semantics>'
    '<mi>E</mi><annotation encoding="application/x-tex">{\\displaystyle E=mc^{2}}</annotation></semantics></math>'
    "</span>"
    '<img src="https://e.org/x.svg" class="mwe-math-fallback-image-inline" alt="{\\displaystyle E=mc^{2}}"></span>'
)
MATHJAX_2 = (
    '<span class="MathJax_Preview"></span><span class="MathJax"><nobr>alpha</nobr></span>'
    '<script type="math/tex">\\alpha</script>'
)
MATHJAX_3 = (
    '<mjx-container class="MathJax" display="true"><svg></svg><mjx-assistive-mml><math><mi>z</mi></math>'
    "</mjx-assistive-mml></mjx-container>"
)
PRESENTATION = (
    "<math><mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><msqrt><mi>β</mi></msqrt></mfrac><mo>≤</mo>"
    "<msubsup><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></msubsup><msup><mi>x</mi><mn>2</mn></msup>"
    "<mi>sin</mi><mi>x</mi></math>"
)


def said(html, operation=ExtractMath, **config):
    made = operation(operation.Config(**config))
    return made(page("p", f"<body>{html}</body>", url="http://e.org/")).document


@pytest.mark.parametrize(
    "html, latex",
    [
        (KATEX, "$q_1$"),
        (WIKIPEDIA, "$E=mc^{2}$"),
        (MATHJAX_2, "$\\alpha$"),
        (MATHJAX_3, "$$z$$"),
        (f'<span class="MathJax" data-mathml="{PRESENTATION}"></span>', None),
        (PRESENTATION, "$\\frac{a+1}{\\sqrt{\\beta}}\\leq\\sum_{i=1}^nx^2\\sin x$"),
        ('<math display="block" alttext="x^2"><mi>y</mi></math>', "$$x^2$$"),
        ('<script type="math/tex; mode=display">a&lt;b</script>', "$$a&lt;b$$"),
        ('<img class="tex" src="a.png" alt="\\frac12">', "$\\frac12$"),
        ('<img src="a.png" alt="$x^2$">', "$x^2$"),
        ('<img src="https://latex.codecogs.com/gif.latex?E%3Dmc%5E2">', "$E=mc^2$"),
        ('<img src="http://s0.wp.com/latex.php?latex=x%5E2&bg=ffffff">', "$x^2$"),
        ("\\(x_1\\) and \\[ y \\]", "$x_1$ and $$y$$"),
        ("<math></math>", ""),
    ],
)
def test_formulas_are_latex_in_their_place(html, latex):
    if latex is None:
        latex = "$\\frac{a+1}{\\sqrt{\\beta}}\\leq\\sum_{i=1}^nx^2\\sin x$"
    (part,) = said(f"<p>so {html} there</p>").content
    assert part.text == f"so {latex} there".replace("  ", " ")


def test_pictures_stay_and_pages_without_formulas_are_as_before():
    table = "<nav>menu</nav><table><tr><td>1<td>2</table>"
    html = f'<p>A cat <img src="cat.png" alt="a cat, $5"> costs {KATEX}.</p>{table}'
    found = said(html).content
    assert [getattr(part, "text", None) or part.url for part in found] == [
        "A cat", "http://e.org/cat.png", "costs $q_1$.", "1\n2",
    ]  # fmt: skip
    plain = said("<p>a \\(b\\) <math alttext='c'></math>", Extract, min_page_bytes=0, min_texts=0)
    assert plain.content == (Text(text="a \\(b\\)"),)


def test_a_formula_outside_of_every_text_element_is_not_lost():
    found = said(f"<span>{KATEX}</span><p>b", Extract, min_page_bytes=0, min_texts=0, formulas=True)
    assert [part.text for part in found.content] == ["$q_1$", "b"]


def test_a_formula_nested_deeper_than_anybody_writes_is_refused():
    with pytest.raises(ValueError, match="nests deeper than 100"):
        said("<p><math>" + "<mrow>" * 200 + "<mi>x</mi>")


def test_neighbouring_texts_are_joined():
    picture = Image(url="https://e.org/a.png")
    document = Document(id="d", content=(Text(text="a"), Text(text="b"), picture, Text(text="c")))
    outcome = JoinTexts()(document)
    assert outcome.document.content == (Text(text="a\n\nb"), picture, Text(text="c"))
    assert outcome.removed == {"joined to the text before": 1} and not JoinTexts()(outcome.document).changed


SHOWN = {
    "katex": lambda tex: (
        f'<span class="katex"><math><annotation encoding="application/x-tex">{tex}</annotation></math></span>'
    ),
    "mathml": lambda tex: f'<math alttext="{tex}"><mi>x</mi></math>',
    "script": lambda tex: f'<script type="math/tex">{tex}</script>',
    "picture": lambda tex: f'<img class="latex" src="/latex.php?latex=x" alt="{tex}">',
    "sphinx": lambda tex: f'<img class="math" src="_images/math/1.png" alt="{tex}"/>',
    "source": lambda tex: f"\\({tex} = \\sqrt{{2}}\\)",
}
PROSE = "The house by the river has a garden where children play in summer and nobody counts the days. " * 3
TRAPS = (
    "Prices start at $5 and end at $9.", "C:\\temp\\alpha.txt is missing", "E-mail a_b@e.org", "<p>2 + 2 = 4",
)  # fmt: skip


def test_recall_and_precision_of_the_cheap_look_on_pages_whose_truth_is_known():
    draw = random.Random(1)
    wanted, kept = [], []
    for number in range(200):
        mathematical = number % 4 == 0
        how = SHOWN[draw.choice(sorted(SHOWN))]
        inner = (
            how(draw.choice((r"\frac{a}{b}", r"\sum_i x_i", r"\alpha \leq 2")))
            if mathematical
            else draw.choice(TRAPS)
        )
        wanted.append(mathematical)
        kept.append(MathMarkup()(page("p", f"<p>{PROSE}{inner}</p>")).document is not None)
    hits = sum(a and b for a, b in zip(wanted, kept, strict=True))
    assert hits / sum(wanted) == 1.0 and hits / sum(kept) == 1.0
    assert MathMarkup()(page("p", "<p>plain")).reason == "no sign of formulas"
    with pytest.raises(ValueError, match="marks is no regular expression"):
        MathMarkup.Config(marks="(")


def measured(folder):
    """Recall and precision of the cheap look, formulas of every other page, and those that extraction lost."""
    look, extract = MathMarkup(), ExtractMath()
    wanted, kept, formulas, lost = [], [], 0, 0
    for path in sorted(folder.rglob("*.html"))[::2]:
        text = path.read_text("utf-8", "replace")
        wanted.append('class="math"' in text)
        kept.append(look(page("p", text)).document is not None)
        latex = re.findall(r'<img class="math"[^>]*alt="([^"]*)"', text, re.DOTALL)
        found = " ".join(part.text for part in extract.nodes(text) if isinstance(part, Text)) if latex else ""
        found = " ".join(found.split())
        formulas += len(latex)
        lost += sum(" ".join(unescape(one).split()) not in found for one in latex)
    hits = sum(a and b for a, b in zip(wanted, kept, strict=True))
    return hits / sum(wanted), hits / sum(kept), formulas, lost


@pytest.mark.debian("python-sympy-doc")
def test_the_documentation_of_sympy():
    recall, precision, formulas, lost = measured(Path("/usr/share/doc/python-sympy-doc/html"))
    assert recall == 1.0 and precision > 0.9 and formulas > 1000 and lost == 0
