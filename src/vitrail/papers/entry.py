"""One entry of the catalogue: frozen, and checked field by field when it is read.

A fault is one sentence that names the file, the field, the value and the remedy; all faults of a file are told
at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vitrail.papers.fields import CatalogueError, Table
from vitrail.papers.vocabulary import ANATOMY, CLAIM_KINDS, KINDS, SEAMS, SHOWS, STATES, nearest


@dataclass(frozen=True)
class Reference:
    """The authors' own code: ``repository`` (``owner/name``, empty where none is known) and its ``licence``.

    ``licence`` is an SPDX identifier, ``"unknown"`` where it could not be read, ``"none"`` where there is no file.
    """

    repository: str = ""
    licence: str = "unknown"


@dataclass(frozen=True)
class Claim:
    """What the paper says (``text``), the kind of claim, what kind of thing it ``shows``, and a ``study`` of it.

    ``shows`` is empty for a claim of kind ``"none"``.
    """

    kind: str
    text: str = ""
    shows: str = ""
    study: str = ""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison as a change to a recipe: the method, or its matched control.

    ``set`` maps dotted fields of the recipe to values, ``add`` maps them to items that are appended. ``needs``
    is told where the change cannot be applied; ``about`` says what a control is. ``ready`` is the change of a recipe
    that begins with a ready model (``model.path``), where that is another one. The text ``null`` stands for no value,
    which TOML cannot write.
    """

    set: Mapping[str, Any] = field(default_factory=dict)
    add: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    about: str = ""
    ready: Arm | None = None


@dataclass(frozen=True)
class Paper:
    """A published method, benchmark, theory or survey; ``state`` says whether it is built here.

    ``seams`` are where it plugs in, the first one its own; ``anatomy`` what it changes or reads. ``files`` are
    relative to the repository, ``use`` is a few lines that run on one's own model. ``method``, ``control`` and
    ``grid`` are there when it can be an arm of ``vitrail compare``.
    """

    id: str
    title: str
    year: int
    arxiv: str
    kind: str
    seams: tuple[str, ...]
    anatomy: tuple[str, ...]
    about: str
    changes: str
    state: str
    files: tuple[str, ...]
    use: str
    bibtex: str
    reference: Reference
    claim: Claim
    method: Arm | None = None
    control: Arm | None = None
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def seam(self) -> str:
        """The seam it belongs to first."""
        return self.seams[0]

    @property
    def name(self) -> str:
        """The short name: as the texts spell the id, or what stands before the title's colon, or the id in words."""
        wanted = self.id.replace("_", "")
        for word in re.findall(r"[\w²γ][\w²γ-]*", f"{self.title} {self.changes} {self.about}"):
            if word.replace("-", "").replace("_", "").lower() == wanted and word != self.id:
                return word.strip("-")
        head = self.title.split(":")[0].strip()
        return head if ":" in self.title and len(head) <= 24 else self.id.replace("_", " ")


def parse(text: str, id: str, file: str) -> Paper:
    """Read one TOML text. CatalogueError with every fault; ``file`` is the name to tell, ``id`` the file's stem."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError([f"{file}: is not TOML: {error}; mend that line"]) from None
    table = Table(values, file)
    made = _paper(table, id)
    if table.faults:
        raise CatalogueError(table.faults)
    return made


def _paper(table: Table, id: str) -> Paper:
    own = table.text("id")
    if own and own != id:
        table.fault("id", own, f"write {id!r}, the file's own name")
    state = table.word("state", STATES)
    made = Paper(
        id=id,
        title=table.text("title"),
        year=table.year("year"),
        arxiv=table.text(
            "arxiv", empty=True, pattern=r"\d{4}\.\d{4,5}", remedy="write it as 2405.20797, or ''"
        ),
        kind=table.word("kind", KINDS),
        seams=table.words("seams", SEAMS),
        anatomy=table.words("anatomy", ANATOMY, empty=True),
        about=table.text("about"),
        changes=table.text("changes"),
        state=state,
        files=table.strings("files", needed=state == "built"),
        use=table.text("use", empty=state != "built", strip=False),
        bibtex=table.text(
            "bibtex", pattern=r"@\w+\s*\{.*\}", remedy="write one whole BibTeX entry, @misc{…}"
        ),
        reference=_reference(table.table("reference")),
        claim=_claim(table.table("claim")),
        method=_arm(table.table("method", optional=True)),
        control=_arm(table.table("control", optional=True)),
        grid=_grid(table),
    )
    if state == "planned":
        for name in ("files", "use", "method", "control", "grid"):
            if getattr(made, name):
                table.fault(name, getattr(made, name), "nothing of a planned paper runs; leave it empty")
    if made.method and not made.control:
        table.fault("control", None, "a method needs its matched control; add [control]")
    if made.control and not made.method:
        table.fault("method", None, "a control without its method has no use; add [method]")
    table.rest()
    return made


def _reference(table: Table) -> Reference:
    pattern, remedy = r"[\w.-]+/[\w.-]+", "write owner/name, or '' where there is none"
    repository = table.text("repository", empty=True, pattern=pattern, remedy=remedy)
    made = Reference(repository, table.text("licence"))
    table.rest()
    return made


def _claim(table: Table) -> Claim:
    kind = table.word("kind", CLAIM_KINDS)
    none = kind == "none"
    shows = table.text("shows", empty=none, optional=none)
    if shows in ("", "none") and none:
        shows = ""
    elif shows and shows not in SHOWS:
        table.fault("shows", shows, nearest(shows, SHOWS))
    text, study = (
        table.text("text", empty=none, optional=none),
        table.text("study", empty=none, optional=none),
    )
    table.rest()
    return Claim(kind, text, shows, study)


def _arm(table: Table | None) -> Arm | None:
    if table is None:
        return None
    changed = dict(table.mapping("set"))
    added: dict[str, tuple[Any, ...]] = {}
    for name, value in table.mapping("add").items():
        if isinstance(value, list) and value:
            added[name] = tuple(value)
        else:
            table.fault(f"add.{name}", value, "give the list of items to append")
    needs = table.strings("needs", optional=True)
    about = table.text("about", empty=True, optional=True)
    ready = _arm(table.table("ready", optional=True))
    for name in [*changed, *added]:
        if not re.fullmatch(r"[A-Za-z_][\w-]*(\.[\w-]+)*", name):
            table.fault(
                name, name, "write a field of the recipe, its parts joined by dots: 'model.connector'"
            )
    table.rest()
    return Arm(_nulls(changed), _nulls(added), needs, about, ready)


def _nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _nulls(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_nulls(inner) for inner in value)
    return None if value == "null" else value


def _grid(table: Table) -> dict[str, tuple[Any, ...]]:
    made: dict[str, tuple[Any, ...]] = {}
    for name, values in table.mapping("grid").items():
        if isinstance(values, list) and 1 <= len(values) <= 3:
            made[name] = tuple(values)
        else:
            table.fault(f"grid.{name}", values, "give a list of one to three values to try")
    return made
