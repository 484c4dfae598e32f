"""What a line typed in ``vitrail chat`` means: a command, or something to say, with pictures found in it.

A terminal turns a picture dragged onto it into its path: quoted, with backslashes before spaces, or as a
``file://`` address. Such a word becomes a picture; everything else stays text, apostrophes included.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"))
COMMANDS = {
    "/image": "PATH: add a picture to what you say next (or drag the file into the line)",
    "/undo": "take back your last question and its answer",
    "/save": "FILE: write the conversation to a JSONL file, which vitrail train can read",
    "/reset": "begin anew",
    "/help": "this list",
    "/exit": "leave (so does Ctrl-D)",
}
_WORD = re.compile(r"""(?<!\S)(?:'([^']+)'|"([^"]+)"|((?:\\.|[^\s\\])+))(?!\S)""")


@dataclass(frozen=True)
class Command:
    """``/name argument``."""

    name: str
    argument: str = ""


@dataclass(frozen=True)
class Say:
    """Text, and the pictures whose paths stood in the line."""

    text: str
    pictures: tuple[Path, ...] = ()


def parse(line: str) -> Command | Say:
    """Understand one line. ValueError for an unknown command, with the nearest one."""
    stripped = line.strip()
    name, _, argument = stripped.partition(" ")
    if name in COMMANDS:
        return Command(name, argument.strip())
    if re.fullmatch(r"/[a-z]+", name) and not Path(name).exists():
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "/help lists the commands"
        raise ValueError(f"there is no command {name}; {hint}")
    return find_pictures(stripped)


def find_pictures(line: str) -> Say:
    """Take the words that are paths of existing picture files out of the text."""
    pictures: list[Path] = []

    def replace(word: re.Match[str]) -> str:
        path = picture_path(word[0])
        if path is None:
            return word[0]
        pictures.append(path)
        return ""

    text = _WORD.sub(replace, line)
    return Say(" ".join(text.split()) if pictures else text, tuple(pictures))


def picture_path(word: str) -> Path | None:
    """The existing picture file that ``word`` names, however terminals write paths; else None."""
    word = word.strip()
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        candidates = [word[1:-1]]
    else:
        candidates = [word, re.sub(r"\\(.)", r"\1", word)]
    for candidate in candidates:
        if candidate.startswith("file://"):
            candidate = unquote(urlsplit(candidate).path)
        path = Path(candidate).expanduser()
        try:
            if path.suffix.lower() in SUFFIXES and path.is_file():
                return path
        except (OSError, ValueError):  # longer than a file name can be, or a null byte
            continue
    return None


def picture_argument(argument: str) -> Path:
    """The picture of ``/image``. ValueError says what is wrong with it."""
    path = picture_path(argument)
    if path is not None:
        return path
    plain = Path(argument.strip("'\"")).expanduser()
    if not argument:
        raise ValueError("/image wants the path of a picture")
    if not plain.is_file():
        raise ValueError(f"there is no file {plain}")
    return plain  # whatever its name ends in, decoding decides
