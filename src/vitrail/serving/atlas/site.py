"""Building the atlas: the window, a page a paper, a page a seam, the feed.

Pages carry their style and script, so that each opens from disk by itself; a content security policy forbids every
load. Everything goes through Jinja's escaping. Equal catalogue and evidence give equal bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vitrail import registry
from vitrail.papers import catalogue
from vitrail.papers import evidence as measured
from vitrail.papers.entry import Paper
from vitrail.papers.evidence import Evidence
from vitrail.papers.vocabulary import CLAIM_KINDS, KINDS, SEAMS, SHOWS, STATES, VERDICTS
from vitrail.serving.atlas import anatomy, interval, window
from vitrail.storage import atomic

MARKS = {
    "seen": "check",
    "not seen": "bar",
    "undecided": "query",
    "not testable here": "cross",
    "mixed": "split",
}
"""Verdict → the shape that says it without colour."""
GLASS = 8
"""How many colours of glass there are; neighbouring seams get different ones."""
CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))
SIGNATURE = "vitrail atlas"


@dataclass(frozen=True)
class Shown:
    """A paper as pages show it: its entry, evidence, verdict (empty: none) and the colour of its glass."""

    paper: Paper
    evidence: tuple[Evidence, ...]
    verdict: str
    glass: int

    @property
    def status(self) -> str:
        """State and verdict in words, for people who do not see the pane."""
        if self.paper.state == "planned":
            return "planned, not built yet"
        words = "testbeds differ" if self.verdict == "mixed" else self.verdict
        return f"built, verdict: {words}" if self.verdict else "built, nothing measured yet"


def build(
    to: Path | str,
    *,
    papers: Mapping[str, Paper] | None = None,
    evidence: Path | None = None,
    files: str | None = None,
    address: str = "",
) -> Path:
    """Write the site into the folder ``to`` and return the path of its first page.

    Args:
        to: a folder that is not there yet, is empty, or holds an atlas, which is replaced as a whole.
        papers: the catalogue (default: the shipped one); evidence: its folder (default: the repository's).
        files: an address that links to files begin with, such as ``https://…/blob/main``. By default they lead to the
            checkout that this runs from, and are plain text where there is none.
        address: where the site will be published, for the feed's links; relative ones without it.

    FileExistsError if ``to`` holds something else.
    """
    to = Path(to).absolute()
    if to.exists() and not _ours(to):
        raise FileExistsError(
            f"{to} is there and is not an atlas; choose another folder with --to, or remove it"
        )
    pages = render(papers, evidence=evidence, files=files, address=address, to=to)
    fresh = to.with_name(f".{to.name}-fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    with atomic.new_folder(fresh) as folder:
        for name, text in pages.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    old = to.with_name(f".{to.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if to.exists():
        os.rename(to, old)
    try:
        os.rename(fresh, to)
    except OSError:
        if old.exists():
            os.rename(old, to)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return to / "index.html"


def _ours(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    first = folder / "index.html"
    if first.is_file():
        return f'content="{SIGNATURE}"' in first.read_text(encoding="utf-8", errors="replace")[:2000]
    return not any(folder.iterdir())


def render(
    papers: Mapping[str, Paper] | None = None,
    *,
    evidence: Path | None = None,
    files: str | None = None,
    address: str = "",
    to: Path | None = None,
) -> dict[str, str]:
    """Every file of the site by its name, without writing any."""
    papers = catalogue.read() if papers is None else papers
    if not papers:
        raise ValueError(
            "the catalogue holds no paper, so there is no atlas to build; give a folder with entries"
        )
    shown = _shown(papers, evidence)
    by_seam = {seam: [one for one in shown.values() if seam in one.paper.seams] for seam in SEAMS}
    news = sorted(
        (item for one in shown.values() for item in one.evidence), key=lambda item: item.date, reverse=True
    )
    common = {
        "seams": SEAMS, "states": STATES, "verdicts": VERDICTS, "marks": MARKS, "by_seam": by_seam,
        "shown": shown, "news": news, "slug": slug, "claim_kinds": CLAIM_KINDS, "shows": SHOWS,
        "strip": interval.strip, "strip_width": interval.WIDTH,
    }  # fmt: skip
    order = window.in_order(list(shown), {id: one.paper.seam for id, one in shown.items()}, list(SEAMS))
    glass = list(zip((shown[id] for id in order), window.panes(len(order)), strict=True))
    kinds = [kind for kind in KINDS if any(one.paper.kind == kind for one in shown.values())]
    pages = {
        "index.html": _page("index", "", **common, glass=glass, window=window, kinds=kinds, order=order),
        "feed.html": _page("feed", "", **common),
        "feed.xml": _template("feed.xml").render(**common, address=address.rstrip("/")),
    }
    for id, one in shown.items():
        place = (to or Path.cwd()) / "papers"
        pages[f"papers/{id}.html"] = _page(
            "paper", "../", **common, one=one, paper=one.paper, drawings=anatomy.drawings(one.paper.anatomy),
            spoken=anatomy.spoken(one.paper.anatomy),
            links=[(file, link(file, files, place)) for file in one.paper.files], near=_near(id, order, shown),
        )  # fmt: skip
    for seam, members in by_seam.items():
        pages[f"seams/{slug(seam)}.html"] = _page(
            "seam",
            "../",
            **common,
            seam=seam,
            about=SEAMS[seam],
            members=members,
            components=_components(seam),
        )
    return pages


def _shown(papers: Mapping[str, Paper], folder: Path | None) -> dict[str, Shown]:
    used = [seam for seam in SEAMS if any(paper.seam == seam for paper in papers.values())]
    # A step of 3 through 8 colours: neighbours differ, and all come before one returns.
    glass = {seam: position * 3 % GLASS for position, seam in enumerate(used)}
    if len(used) > 1 and glass[used[-1]] == glass[used[0]]:
        glass[used[-1]] = (glass[used[-1]] + 4) % GLASS
    made = {}
    for id, paper in papers.items():
        found = measured.evidence_of(id, folder)
        made[id] = Shown(paper, found, measured.summary(found), glass[paper.seam])
    return made


def _near(id: str, order: Sequence[str], shown: Mapping[str, Shown]) -> tuple[Shown, Shown]:
    """The panes before and after, around the window."""
    place = order.index(id)
    return shown[order[place - 1]], shown[order[(place + 1) % len(order)]]


def _components(seam: str) -> list[registry.Reference]:
    """This library's own components of a seam; what other packages add is theirs to show."""
    every = (registry.reference(seam, name) for name in registry.names(seam))
    return [one for one in every if one.target.startswith("vitrail.")]


def _printable(value: Any) -> Any:
    """Without control characters, which neither HTML nor XML can hold."""
    return value.translate(CONTROLS) if isinstance(value, str) else value


def link(file: str, files: str | None, place: Path) -> str:
    """Where a file of the repository is, seen from the page's folder; empty where that is not known."""
    if files is not None:
        return f"{files.rstrip('/')}/{file}"
    root = catalogue.checkout()
    return Path(os.path.relpath(root / file, place)).as_posix() if root else ""


def slug(seam: str) -> str:
    """A seam's name in an address."""
    return seam.replace(" ", "-")


def _page(template: str, root: str, **values: Any) -> str:
    style, script = _asset("atlas.css"), _asset("atlas.js")
    return str(
        _template(f"{template}.html").render(
            root=root, style=style, script=script, signature=SIGNATURE, page=template, **values
        )
    )


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("vitrail.serving.atlas"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> Any:
    return _environment().get_template(name)


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
