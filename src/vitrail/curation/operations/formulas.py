r"""Formulas of a web page as LaTeX, from whatever the page shows them with.

InfiMM-WebMath (arXiv 2409.12568) keeps LaTeX as ``$…$`` in the text. It is read, in this order of trust, from a TeX
annotation inside MathML (KaTeX, Wikipedia, LaTeXML), ``alttext`` of MathML, scripts of type ``math/tex`` (MathJax 2),
the alternative text or the address of pictures of equations, and last from presentation MathML itself. Renderings
that say the same again (MathJax's spans, KaTeX's HTML, Wikipedia's fallback pictures) are left out. ``\(…\)`` and
``\[…\]`` in a text become ``$…$`` and ``$$…$$``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from vitrail.curation.operations.mathml import latex_of_mathml

HIDDEN = ""
"""A node that shows a formula which another node says."""

_RENDERED = frozenset(("mathjax_preview", "mathjax", "mathjax_display", "mathjax_svg", "mathjax_chtml"))
_WRAPPERS = frozenset(("katex", "mwe-math-element"))
_EQUATION_CLASSES = frozenset(("tex", "latex", "math", "equation", "formula", "mathtex", "math-tex"))
_FALLBACK = re.compile(r"mwe-math-fallback")
_TEX_ADDRESS = re.compile(
    r"(?:latex\.codecogs\.com/|codecogs\.com/eqnedit|/latex\.php|/mathtex\.cgi|/mimetex\.cgi|/tex\.cgi|"
    r"chart\.(?:googleapis|apis\.google)\.com/chart\?.*cht=tx|/equation\?tex=)",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(?:^|&)(?:latex|tex|chl|eq)=([^&]+)")
_DELIMITED = re.compile(r"^\s*(?:\$\$?(?P<a>.+?)\$\$?|\\\((?P<b>.+)\\\)|\\\[(?P<c>.+)\\\])\s*$", re.DOTALL)
_DISPLAYSTYLE = re.compile(r"^\{\s*\\(?:displaystyle|textstyle)\b\s*(.*)\}$", re.DOTALL)
_INLINE = re.compile(r"\\\(\s*(.+?)\s*\\\)", re.DOTALL)
_DISPLAY = re.compile(r"(?<!\\)\\\[\s*(.+?)\s*\\\]", re.DOTALL)


def formula(node: Any) -> str | None:
    """What a node of a page says as LaTeX between dollars; :data:`HIDDEN` where another says it; None for no formula.

    ``node`` is an element of resiliparse's tree. What is below a formula needs no look.
    """
    tag = node.tag
    if tag == "math":
        return _wrapped(_of_math(node), _attribute(node, "display") == "block")
    if tag == "script":
        return _of_script(node)
    if tag == "img":
        return _of_image(node)
    classes = _classes(node)
    if tag == "mjx-container" or classes & _WRAPPERS:
        return _of_wrapper(node, tag)
    return _of_rendered(node) if classes & _RENDERED else None


def delimited(text: str) -> str:
    r"""The text with ``\(…\)`` and ``\[…\]`` as dollars; what stands alone is left."""
    if "\\" not in text:
        return text
    return _DISPLAY.sub(r"$$\1$$", _INLINE.sub(r"$\1$", text))


def bare(latex: str) -> str:
    r"""LaTeX without delimiters and without the ``{\displaystyle …}`` that MediaWiki adds."""
    latex = " ".join(latex.split())
    found = _DELIMITED.match(latex)
    if found:
        latex = next(one for one in found.groups() if one is not None).strip()
    found = _DISPLAYSTYLE.match(latex)
    return found[1].strip() if found else latex


def _wrapped(latex: str, display: bool) -> str:
    latex = bare(latex)
    if not latex:
        return HIDDEN
    return f"$${latex}$$" if display else f"${latex}$"


def _attribute(node: Any, name: str) -> str:
    return node.getattr(name) or ""


def _classes(node: Any) -> set[str]:
    return set(_attribute(node, "class").lower().split())


def _of_math(node: Any) -> str:
    for annotation in node.get_elements_by_tag_name("annotation"):
        if "tex" in _attribute(annotation, "encoding").lower():
            return str(annotation.text)
    return _attribute(node, "alttext") or latex_of_mathml(node)


def _of_script(node: Any) -> str | None:
    kind = _attribute(node, "type").lower().replace(" ", "")
    if not kind.startswith("math/tex"):
        return None
    return _wrapped(str(node.text), "mode=display" in kind)


def _of_image(node: Any) -> str | None:
    classes = _classes(node)
    source, alternative = _attribute(node, "src"), _attribute(node, "alt")
    equation = classes & _EQUATION_CLASSES or any(_FALLBACK.match(one) for one in classes)
    served = _TEX_ADDRESS.search(source)
    if not equation and not served:
        return _wrapped(alternative, False) if _DELIMITED.match(alternative) else None
    latex = alternative or (_of_address(source) if served else "")
    if not latex.strip():
        return None
    return _wrapped(latex, any("block" in one or "display" in one for one in classes))


def _of_address(source: str) -> str:
    """The LaTeX that an equation server is asked for."""
    try:
        query = urlsplit(source).query
    except ValueError:
        return ""
    found = _QUERY.search(query)
    return unquote(found[1] if found else query).replace("+", " ")


def _of_rendered(node: Any) -> str | None:
    """MathJax 2: its rendering is followed by the script that says it; without one, ``data-mathml`` may."""
    after = node.next
    while after is not None:
        if after.tag == "script" and _attribute(after, "type").lower().startswith("math/"):
            return HIDDEN
        beside = not after.tag.startswith("#") and _classes(after) & _RENDERED
        if not beside and (not after.tag.startswith("#") or (after.tag == "#text" and after.text.strip())):
            break
        after = after.next
    inner = node.get_elements_by_tag_name("math")
    if inner:
        return formula(inner[0])
    below = node.get_elements_by_tag_name("script")
    if any(_attribute(one, "type").lower().startswith("math/") for one in below):
        return None
    source = _attribute(node, "data-mathml")
    if source:
        from resiliparse.parse.html import HTMLTree

        body: Any = HTMLTree.parse(source).body
        found = body.get_elements_by_tag_name("math")
        return formula(found[0]) if found else HIDDEN
    return HIDDEN if "preview" in _attribute(node, "class").lower() else None


def _of_wrapper(node: Any, tag: str) -> str | None:
    for inner in ("math", "img"):
        for one in node.get_elements_by_tag_name(inner):
            latex = formula(one)
            if latex:
                display = tag == "mjx-container" and _attribute(node, "display") == "true"
                return f"${latex}$" if display and not latex.startswith("$$") else latex
    return None
