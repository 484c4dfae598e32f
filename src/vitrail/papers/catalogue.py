"""Reading the catalogue: ``read()`` gives every paper, ``paper(id)`` one.

Entries are the ``*.toml`` beside this file. They are read once a process and folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from vitrail.papers.entry import CatalogueError, Paper, parse
from vitrail.papers.vocabulary import nearest

SHIPPED = Path(__file__).parent


def read(folder: Path | str | None = None) -> dict[str, Paper]:
    """Every paper of ``folder`` (default: the shipped ones), by id, in the order of ids.

    CatalogueError (a ValueError) with a sentence for each fault of each file.
    """
    return dict(_read(Path(folder) if folder is not None else SHIPPED))


@cache
def _read(folder: Path) -> dict[str, Paper]:
    found: dict[str, Paper] = {}
    faults: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        try:
            found[file.stem] = parse(file.read_text(encoding="utf-8"), file.stem, file.name)
        except CatalogueError as error:
            faults += error.faults
        except UnicodeDecodeError as error:
            faults.append(f"{file.name}: byte {error.start} is not UTF-8; save the file as UTF-8")
    if faults:
        raise CatalogueError(faults)
    return found


def paper(id: str, folder: Path | str | None = None) -> Paper:
    """One paper by its id (case and ``-`` for ``_`` do not matter). ValueError with the nearest right name."""
    papers = read(folder)
    wanted = id.strip().removeprefix("+").lower().replace("-", "_")
    if wanted in papers:
        return papers[wanted]
    by_title = {one.name.lower().replace("-", "_"): one for one in papers.values()}
    if wanted in by_title:
        return by_title[wanted]
    hint = nearest(wanted, papers)
    if hint.startswith("known:"):
        hint = "'vitrail papers' lists them, and 'vitrail papers --search WORDS' finds one."
    raise ValueError(f"no paper is called {id!r}; {hint}")


def checkout() -> Path | None:
    """The repository that this package is run from, or None where it is installed."""
    root = SHIPPED.parents[2]
    here = root / "src" / "vitrail" / "papers" == SHIPPED
    return root if here and (root / "pyproject.toml").is_file() else None


def missing_files(papers: Iterable[Paper], root: Path) -> list[str]:
    """A sentence for each file that a built paper names and that is not under ``root``."""
    faults = []
    for one in papers:
        for file in one.files:
            place = Path(file)
            if place.is_absolute() or ".." in place.parts:
                faults.append(f"{one.id}.toml: files has {file!r}; name it from the repository's root")
            elif not (root / place).is_file():
                remedy = "write the file, mend its name, or set state = 'planned'"
                faults.append(f"{one.id}.toml: files has {file!r}, which is not there; {remedy}")
    return faults
