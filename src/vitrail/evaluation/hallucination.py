"""Objects that a description names although they are not there: CHAIR, and the metric ``chair``.

Rohrbach et al., "Object Hallucination in Image Captioning" (arXiv 1809.02156), as RLAIF-V reports it. Over all
descriptions, with a vocabulary of objects and their synonyms,

    CHAIR_i = mentions of objects that are not there / mentions of objects
    CHAIR_s = descriptions with at least one of those / descriptions

Saying less lowers both, so that the share of true objects that are named (recall) and the length stand beside them.
Which objects are there: those that the reference description names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Settings

Synonyms = Mapping[str, Sequence[str]]
"""Objects, and the words for each (its own name need not be among them)."""


class Mentions:
    """Finds objects of a vocabulary in texts: whole words, plurals included, the longest name first."""

    def __init__(self, synonyms: Synonyms) -> None:
        if not synonyms:
            raise ValueError("the vocabulary has no objects; give a suite's name, or a file of objects")
        self._object: dict[str, str] = {}
        for name, others in synonyms.items():
            for word in (name, *others):
                for form in (word.casefold(), *_plurals(word.casefold())):
                    self._object.setdefault(form, name)
        longest = sorted(self._object, key=lambda form: (-len(form), form))
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")

    def of(self, text: str) -> list[str]:
        """The objects that a text names, in order, as often as it does."""
        return [self._object[found] for found in self._pattern.findall(text.casefold())]


def _plurals(word: str) -> tuple[str, ...]:
    if re.search(r"[^aeiou]y$", word):
        return (f"{word[:-1]}ies",)
    if re.search(r"(?:s|x|z|ch|sh|o)$", word):
        return (f"{word}es", f"{word}s")
    if word.endswith("fe"):
        return (f"{word[:-2]}ves", f"{word}s")
    return (f"{word}s",)


def chair_metrics(
    captions: Sequence[str], objects: Sequence[Collection[str]], synonyms: Synonyms
) -> dict[str, float]:
    """``chair_i``, ``chair_s``, ``recall`` (of true objects), ``mentions`` and ``words`` a description.

    ``objects``: those that are there, for each description. ValueError for lists of unequal length, or none.
    """
    if not captions or len(captions) != len(objects):
        raise ValueError(
            f"{len(captions)} descriptions and {len(objects)} lists of objects; give one for each"
        )
    finder = Mentions(synonyms)
    said = [finder.of(text) for text in captions]
    wrong = [
        sum(name not in there for name in names) for names, there in zip(said, map(set, objects), strict=True)
    ]
    found = sum(len(set(there) & set(names)) for names, there in zip(said, objects, strict=True))
    mentions = sum(map(len, said))
    return {
        "chair_i": sum(wrong) / max(1, mentions),
        "chair_s": sum(map(bool, wrong)) / len(captions),
        "recall": found / max(1, sum(len(set(there)) for there in objects)),
        "mentions": mentions / len(captions),
        "words": sum(len(text.split()) for text in captions) / len(captions),
    }


@cache
def vocabulary(origin: str) -> Synonyms:
    """Objects with their synonyms: of a suite of scenes by its name, or of a JSON file ``{object: [synonym, …]}``.

    ValueError for a file that is none.
    """
    if not Path(origin).is_file():
        from vitrail.data.scenes import suite

        made = suite(origin)
        names = [name for part in made.config.split.values() for name in part]
        return {name: [made.library[name].plural] if made.library[name].plural else [] for name in names}
    try:
        found = json.loads(Path(origin).read_text(encoding="utf-8"))
        return {str(name): [str(word) for word in words] for name, words in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f'{origin} is no vocabulary ({error}); write JSON such as {{"dog": ["puppy"]}}'
        ) from None


class Chair:
    """A description is right if it names an object and none that is not there."""

    takes = "text"

    class Config(Settings):
        """``vocabulary``: a suite of scenes by its name, or a JSON file ``{object: [synonym, …]}``."""

        vocabulary: str = Field(min_length=1)

    def __init__(self, config: Config) -> None:
        self.config = config
        self._finder: Mentions | None = None

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text`` and ``reference``; without an object nothing can be read."""
        if self._finder is None:
            self._finder = Mentions(vocabulary(self.config.vocabulary))
        said, there = self._finder.of(row["text"]), set(self._finder.of(row["reference"]))
        return Judgement(None, bool(said) and all(name in there for name in said), bool(said))


def chair_of(answers: Sequence[Mapping[str, Any]], origin: str) -> dict[str, float]:
    """:func:`chair_metrics` of the rows of an answers file, with the vocabulary of ``origin``."""
    synonyms = vocabulary(origin)
    finder = Mentions(synonyms)
    there = [set(finder.of(row["reference"])) for row in answers]
    return chair_metrics([row["text"] for row in answers], there, synonyms)
