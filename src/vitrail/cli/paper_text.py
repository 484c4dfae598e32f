"""One paper in a terminal: what it is, what it changes, how to use it, its claim against what was measured.

Prose is wrapped; lines to be copied (code, commands, BibTeX) stand as they are, at the margin.
"""

from __future__ import annotations

import textwrap

from vitrail.cli.output import console
from vitrail.papers import Evidence, Paper
from vitrail.papers.vocabulary import CLAIM_KINDS, SHOWS, STATES

LICENCES = {"unknown": "licence unknown", "none": "without a licence"}


def explain(one: Paper, found: tuple[Evidence, ...]) -> None:
    """Print it."""
    where = f"arXiv {one.arxiv}" if one.arxiv else "no arXiv number"
    _heading(one.title, above="")
    print(f"{one.id} · {one.year} · {where} · {one.kind} · seams: {', '.join(one.seams)}")
    print(f"{one.state}: {STATES[one.state]}")
    _part("What it is", one.about)
    _part("What it changes", one.changes, f"parts: {', '.join(one.anatomy) or 'none of a model'}")
    _use(one)
    shows = f", about {SHOWS[one.claim.shows]}" if one.claim.shows else ""
    kind = f"kind: {one.claim.kind} ({CLAIM_KINDS[one.claim.kind]}){shows}"
    _part("What the paper claims", one.claim.text, kind)
    if one.claim.study:
        _part("How a small test would look", one.claim.study)
    measured = [line for item in found for line in evidence_lines(item)]
    _part("What was measured here", *(measured or ["nothing yet"]))
    if one.files:
        _part("Files", *one.files)
    licence = LICENCES.get(one.reference.licence, f"licence {one.reference.licence}")
    known = f"{one.reference.repository}, {licence}" if one.reference.repository else "no repository is known"
    _part("The authors' code", known)
    _lines("BibTeX", one.bibtex)


def _use(one: Paper) -> None:
    if one.state == "planned":
        _part("On your own model", "planned: not built yet, so there is nothing to run.")
        return
    _lines("On your own model", one.use)
    if one.method:
        about = (one.control.about if one.control else "") or "its matched control"
        _lines("Compared on your data", f"vitrail compare base.yaml +{one.id} --data mine.jsonl --budget 2h")
        _prose(f"against: {about}", *(f"needs: {need}" for need in one.method.needs))


def evidence_lines(item: Evidence) -> list[str]:
    """A verdict in one line, and its scope in another."""
    line = f"{item.testbed}: {item.verdict}"
    if item.harm:
        line += f" ({item.harm_in_words})"
    if item.effect is not None and item.interval is not None:
        unit = f" {item.unit}" if item.unit else ""
        low, high = item.interval
        line += f"; effect {item.effect:+.4g}{unit}, 95 % interval {low:+.4g} to {high:+.4g}"
    if item.delta is not None:
        line += f", smallest that matters {item.delta:.4g}"
    if item.n:
        line += f", {item.n} {item.counted}"
    if item.reason:
        line += f"; {item.reason}"
    scope = "; ".join(f"{name}: {value}" for name, value in item.scope.items())
    commit = f", commit {item.commit[:12]}" if item.commit else ""
    return [line, f"holds for {scope} ({item.date}{commit})"]


def _heading(title: str, above: str = "\n") -> None:
    from rich.text import Text

    console().print(Text(f"{above}{title}", style="bold"))


def _part(title: str, *texts: str) -> None:
    _heading(title)
    _prose(*texts)


def _prose(*texts: str) -> None:
    width = min(console().width, 100)
    for text in filter(None, texts):
        print(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  "))


def _lines(title: str, text: str) -> None:
    _heading(title)
    print(text)
