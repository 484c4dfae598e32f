"""Synonyms from WordNet's own files (Miller, "WordNet: a lexical database for English", 1995; wndb(5WN), morphy(7WN)).

A folder with ``index.noun``, ``data.noun`` and those of verbs, adjectives and adverbs: ``/usr/share/wordnet`` of
Debian's package wordnet-base, ``dict`` of the archive from Princeton, ``corpora/wordnet`` of NLTK's data, unpacked.

**Why not NLTK's reader**: it refuses folders outside its own search path and such without ``lexnames``, which Debian's
has not, and looks for a second copy of WordNet among its downloads when it opens one. Nothing is downloaded here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

PARTS = ("noun", "verb", "adj", "adv")
PLACE = "Debian's package wordnet-base has it in /usr/share/wordnet"
ENDINGS = {
    "noun": "s: ses:s xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
"""What an inflected word loses and gets, by part of speech."""


def missing_in(folder: str | Path) -> list[str]:
    """Names of the files that WordNet has and ``folder`` lacks."""
    names = [f"{kind}.{part}" for part in PARTS for kind in ("index", "data")]
    return [name for name in names if not (Path(folder) / name).is_file()]


class WordNet:
    """Synonyms of English words. ValueError for a folder that lacks one of WordNet's files."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        missing = missing_in(folder)
        if missing:
            raise ValueError(
                f"{folder} lacks {', '.join(missing)}; give the folder of WordNet's files ({PLACE})"
            )
        self._offsets = {part: _index(self.folder / f"index.{part}") for part in PARTS}
        self._exceptions = {part: _exceptions(self.folder / f"{part}.exc") for part in PARTS}

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words and phrases that share a meaning with ``word`` or its base form, in order of the alphabet."""
        word = word.casefold().replace(" ", "_")
        found = {
            member
            for part in PARTS
            for base in self._bases(word, part)
            for offset in self._offsets[part][base]
            for member in self._members(part, offset)
            if member.casefold() != word
        }
        return tuple(sorted(one.replace("_", " ") for one in found))

    def _bases(self, word: str, part: str) -> list[str]:
        """The forms of ``word`` that stand in the index: itself, an irregular one's base, one without its ending."""
        forms = [word]
        if word in self._exceptions[part]:
            forms += self._exceptions[part][word]
        else:
            rules = (rule.split(":") for rule in ENDINGS[part].split())
            forms += [
                word.removesuffix(end) + new for end, new in rules if word.endswith(end) and word != end
            ]
        return [one for one in dict.fromkeys(forms) if one in self._offsets[part]]

    def _members(self, part: str, offset: int) -> list[str]:
        """The words of the synset at a byte of the data file; markers of an adjective's place are left out."""
        with (self.folder / f"data.{part}").open("rb") as file:
            file.seek(offset)
            fields = file.readline().decode("utf-8", "replace").split()
        if len(fields) < 4 or fields[0] != f"{offset:08d}":
            raise ValueError(f"{file.name} has no synset at byte {offset}, where index.{part} says one is; take both "
                             "files from one release")  # fmt: skip
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        return [one.partition("(")[0] for one in words]


def _index(path: Path) -> dict[str, tuple[int, ...]]:
    """Bytes of the synsets of every lemma: ``lemma pos count … byte byte``, the last ``count`` fields."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line[:1].strip():
            fields = line.split()
            found[fields[0]] = tuple(int(one) for one in fields[-int(fields[2]) :])
    return found


def _exceptions(path: Path) -> dict[str, list[str]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return {fields[0]: fields[1:] for fields in map(str.split, lines) if fields}


@cache
def wordnet(folder: str) -> WordNet:
    """A folder's WordNet, read once."""
    return WordNet(folder)


__all__ = ["PLACE", "WordNet", "missing_in", "wordnet"]
