"""A page made of sections made of components, written as one HTML file that asks for nothing outside itself.

A component has ``html() -> str``. All text goes through Jinja's escaping; a content security policy in the
page forbids every load from elsewhere, so that a picture's caption could not smuggle one in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from vitrail.storage import atomic


class Component(Protocol):
    """Something that a section shows."""

    def html(self) -> str:
        """Its HTML, everything in it escaped."""


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitrail.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def render(template: str, **values: Any) -> str:
    """A template of this package, filled in."""
    return str(_environment().get_template(f"{template}.html").render(**values))


def asset(name: str) -> str:
    """A style sheet or script of this package."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def number(value: Any) -> str:
    """A value for reading: thousands separated, floats to four digits, true and false in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        text = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
        return text if value == value else "–"
    return str(value)


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text, blank lines between them."""

    text: str

    def html(self) -> str:
        """See :class:`Component`."""
        return render("text", paragraphs=[part for part in re.split(r"\n\s*\n", self.text.strip()) if part])


@dataclass(frozen=True)
class Notice:
    """A framed remark: ``"info"``, ``"good"`` or ``"warning"``."""

    text: str
    tone: Literal["info", "good", "warning"] = "info"

    def html(self) -> str:
        """See :class:`Component`."""
        return render("notice", notice=self)


@dataclass
class Section:
    """A headed part of a page; ``lead`` stands under the heading, ``folded`` hides the rest at first."""

    title: str
    lead: str = ""
    folded: bool = False
    components: list[Component] = field(default_factory=list)

    def add(self, *components: Component) -> Section:
        """Append components; returns the section, so that calls chain."""
        self.components.extend(components)
        return self


@dataclass
class Page:
    """A page with a ``title`` and a ``subtitle``; ``footer`` is small print (credits, licences)."""

    title: str
    subtitle: str = ""
    footer: str = ""
    sections: list[Section] = field(default_factory=list)

    def section(self, title: str, lead: str = "", folded: bool = False) -> Section:
        """Append a section and return it."""
        self.sections.append(Section(title, lead, folded))
        return self.sections[-1]

    def html(self) -> str:
        """The whole page. Equal content gives equal bytes."""
        return render(
            "page",
            page=self,
            anchors=anchors(section.title for section in self.sections),
            bodies=[[component.html() for component in section.components] for section in self.sections],
            style=asset("page.css"),
            script=asset("page.js"),
        )

    def write(self, path: Path | str) -> Path:
        """Write the page atomically; returns where."""
        path = Path(path)
        atomic.write_text(path, self.html())
        return path


def anchors(titles: Iterable[str]) -> list[str]:
    """A unique name for each title that can stand in an address."""
    made: list[str] = []
    for title in titles:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchor, count = stem, 2
        while anchor in made:
            anchor, count = f"{stem}-{count}", count + 1
        made.append(anchor)
    return made
