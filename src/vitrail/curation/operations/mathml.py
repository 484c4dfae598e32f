r"""Presentation MathML → LaTeX, for formulas that carry no TeX of their own.

The elements of MathML Core; identifiers and operators become commands by their Unicode names (``α`` → ``\alpha``) or
by a short table, and stay as they are where neither knows them. Written here because the converters there are parse
XML (a page's MathML is HTML) and bring a parser of their own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

_DEPTH = 100
_COMMANDS = {
    "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "∮": r"\oint", "√": r"\sqrt", "≤": r"\leq", "≥": r"\geq",
    "≠": r"\neq", "≈": r"\approx", "≡": r"\equiv", "×": r"\times", "⋅": r"\cdot", "·": r"\cdot", "÷": r"\div",
    "±": r"\pm", "∓": r"\mp", "∞": r"\infty", "→": r"\to", "⇒": r"\Rightarrow", "⇔": r"\Leftrightarrow",
    "↦": r"\mapsto", "∈": r"\in", "∉": r"\notin", "⊂": r"\subset", "⊆": r"\subseteq", "∪": r"\cup", "∩": r"\cap",
    "∅": r"\emptyset", "∀": r"\forall", "∃": r"\exists", "¬": r"\neg", "∧": r"\wedge", "∨": r"\vee",
    "∂": r"\partial", "∇": r"\nabla", "∼": r"\sim", "≅": r"\cong", "∝": r"\propto", "⊥": r"\perp", "∥": r"\parallel",
    "…": r"\ldots", "⋯": r"\cdots", "′": "'", "−": "-", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "ℏ": r"\hbar", "∘": r"\circ", "⊕": r"\oplus", "⊗": r"\otimes",
    "⟨": r"\langle", "⟩": r"\rangle", "‖": r"\|", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "#": r"\#",
    "_": r"\_", "\u2061": "", "\u2062": "", "\u2063": "", "\u2064": "", "\u200b": "", "\u00a0": "",
}  # fmt: skip
_FUNCTIONS = frozenset(
    (
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln",
        "exp", "lim", "max", "min", "sup", "inf", "det", "dim", "ker", "gcd", "arg", "deg", "Pr",
    )
)  # fmt: skip
_ACCENTS = {
    "^": r"\hat", "ˆ": r"\hat", "¯": r"\overline", "‾": r"\overline", "_": r"\overline", "→": r"\vec", "⃗": r"\vec",
    "~": r"\tilde", "˜": r"\tilde", "˙": r"\dot", "¨": r"\ddot", "⏞": r"\overbrace",
}  # fmt: skip
_SCRIPTS = {
    "msub": "_", "msup": "^", "munder": "_", "mover": "^", "msubsup": "_^", "munderover": "_^",
}  # fmt: skip
_WORD_COMMAND = re.compile(r"\\[A-Za-z]+$")


def latex_of_mathml(node: Any) -> str:
    """LaTeX of a ``math`` element of resiliparse's tree, without delimiters.

    ValueError for one nested deeper than anybody writes.
    """
    return " ".join(_row(node, 0).split())


def _children(node: Any) -> list[Any]:
    found, child = [], node.first_child
    while child is not None:
        if not child.tag.startswith("#"):
            found.append(child)
        child = child.next
    return found


def _row(node: Any, depth: int) -> str:
    children = _children(node)
    if not children:
        return _signs(str(node.text).strip())
    return _joined([_latex(child, depth + 1) for child in children])


def _joined(parts: list[str]) -> str:
    """Parts in a row; a space only where a command would run into a letter."""
    line = ""
    for part in parts:
        line += (" " if _WORD_COMMAND.search(line) and part[:1].isalnum() else "") + part
    return line


def _latex(node: Any, depth: int) -> str:
    if depth > _DEPTH:
        raise ValueError(f"a formula nests deeper than {_DEPTH} elements; leave the page out")
    tag = node.tag
    if tag in ("mi", "mn", "mo"):
        return _token(tag, " ".join(str(node.text).split()))
    if tag in ("mtext", "ms"):
        text = str(node.text).replace("\u00a0", " ")
        return rf"\text{{{text}}}" if text.strip() else " "
    if tag == "mspace":
        return " "
    if tag in ("annotation", "annotation-xml", "mphantom", "none", "mprescripts"):
        return ""
    if tag == "semantics":
        inner = _children(node)
        return _latex(inner[0], depth + 1) if inner else ""
    if tag == "mtable":
        return _table(node, depth)
    if tag == "mfenced":
        fence = _joined_by(node, ",", depth)
        return f"{node.getattr('open') or '('}{fence}{node.getattr('close') or ')'}"
    return _layout(tag, node, depth)


def _layout(tag: str, node: Any, depth: int) -> str:
    parts = [_latex(child, depth + 1) for child in _children(node)]
    if tag == "mfrac" and len(parts) == 2:
        return rf"\frac{{{parts[0]}}}{{{parts[1]}}}"
    if tag == "msqrt":
        return rf"\sqrt{{{_joined(parts) or str(node.text).strip()}}}"
    if tag == "mroot" and len(parts) == 2:
        return rf"\sqrt[{parts[1]}]{{{parts[0]}}}"
    if tag == "mover" and len(parts) == 2 and str(_children(node)[1].text).strip() in _ACCENTS:
        return rf"{_ACCENTS[str(_children(node)[1].text).strip()]}{{{parts[0]}}}"
    marks = _SCRIPTS.get(tag, "")
    if marks and len(parts) == len(marks) + 1:
        nucleus = parts[0] if len(parts[0]) == 1 or parts[0].startswith("\\") else f"{{{parts[0]}}}"
        scripts = zip(marks, parts[1:], strict=True)
        return nucleus + "".join(
            mark + (part if len(part) == 1 else f"{{{part}}}") for mark, part in scripts if part
        )
    return _row(node, depth)


def _joined_by(node: Any, mark: str, depth: int) -> str:
    return mark.join(_latex(child, depth + 1) for child in _children(node))


def _table(node: Any, depth: int) -> str:
    rows = []
    for row in _children(node):
        cells = [_row(cell, depth + 2) for cell in _children(row) if cell.tag == "mtd"]
        rows.append(" & ".join(cells))
    return r"\begin{matrix}" + r" \\ ".join(rows) + r"\end{matrix}"


def _token(tag: str, text: str) -> str:
    if text in _FUNCTIONS:
        return "\\" + text
    if tag == "mi" and len(text) > 1 and text.isalpha() and text.isascii():
        return rf"\mathrm{{{text}}}"
    return _signs(text)


def _signs(text: str) -> str:
    return _joined([_sign(one) for one in text])


@cache
def _sign(sign: str) -> str:
    if sign in _COMMANDS:
        return _COMMANDS[sign]
    name = unicodedata.name(sign, "")
    for size in ("SMALL", "CAPITAL"):
        prefix = f"GREEK {size} LETTER "
        letter = name.removeprefix(prefix)
        if name.startswith(prefix) and letter.isalpha():
            letter = {"LAMDA": "LAMBDA"}.get(letter, letter).lower()
            return "\\" + (letter if size == "SMALL" else letter.capitalize())
    plain = unicodedata.normalize("NFKC", sign)
    return plain if name.startswith("MATHEMATICAL ") and len(plain) == 1 else sign
