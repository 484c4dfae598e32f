"""A part of a recipe's data as a source: drawn at random, or the records that are most like a reference.

Strategies I and II of "Efficient Continual Pre-training by Mitigating the Stability Gap" (arXiv 2406.14833): several
epochs over a moderate subset of a corpus, and the subset of lowest perplexity under an n-gram model of texts of the
quality that is wanted. InfiMM-WebMath's filter (arXiv 2409.12568): the records of highest probability under a
classifier of wanted against other texts. A record counts with the words that are said in it. Scores are kept in the
cache, by what they depend on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vitrail.registry import nearest
from vitrail.settings.faults import inner_errors

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe

Fault = tuple[tuple[str | int, ...], str, Any]
DERIVED = ("subset", "relevant")
"""Kinds of data that are made of one other, their ``source``."""


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Subset(BaseModel):
    """Part of other ``data``, its ``source``: so many records that they hold ``share`` of its words.

    Drawn at random (``seed`` as with scenes); with ``reference``, data of the quality that is wanted, those of lowest
    perplexity under an n-gram model of its texts, of ``order`` words; with ``kenlm``, a KenLM model file, under that
    one; with ``reference`` and ``unlike``, data of all else, those that a classifier of the two finds most like the
    reference, its texts normalised as ``normalise`` says (``math``: numbers are one token). A text of one of
    ``apart_from`` among them (whole, or thirteen words of it in a row) is an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["subset"] = "subset"
    source: str
    share: float = Field(gt=0, le=1)
    reference: str | None = None
    kenlm: str | None = Field(default=None, min_length=1)
    order: int = Field(default=3, ge=1, le=9)
    unlike: str | None = None
    normalise: Literal["none", "math"] = "none"
    apart_from: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    seed: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_choice(self) -> Subset:
        chosen = [name for name in ("reference", "kenlm") if getattr(self, name) is not None]
        if len(chosen) == 2:
            why = "'reference' says by what records are chosen already; remove one of the two"
            raise inner_errors([(("kenlm",), why, self.kenlm)])
        if self.unlike is not None and chosen != ["reference"]:
            raise inner_errors(
                [(("unlike",), "it needs 'reference', the data that is wanted; give both", self.unlike)]
            )
        without = {
            "seed": self.seed is not None and chosen,
            "order": self.order != 3 and (chosen != ["reference"] or self.unlike is not None),
            "normalise": self.normalise != "none" and self.unlike is None,
        }
        unused = next((name for name, wrong in without.items() if wrong), None)
        if unused is not None:
            why = "it has no effect on how these records are chosen; remove it"
            raise inner_errors([((unused,), why, getattr(self, unused))])
        return self


def said(record: Any) -> str:
    """The words of a record, of whatever kind, a line for each message; media are left out."""
    parts = getattr(record, "messages", None) or (record,)
    lines = [
        "".join(part.text for part in getattr(message, "content", ()) if getattr(part, "type", "") == "text")
        for message in parts
    ]
    return "\n".join(line for line in lines if line)


def open_subset(recipe: Recipe, name: str, opened: Callable[[str], Any]) -> Any:
    """The records of ``data.<name>``, in the order of the source that they are from.

    ``opened`` gives other data by name. ValueError where a text of ``apart_from`` is among them, where a reference
    holds no word, and where the share comes to no record.
    """
    from vitrail.data.sources import select

    data: Any = recipe.data[name]
    source = opened(data.source)
    reference = None if data.reference is None else opened(data.reference)
    other = None if data.unlike is None else opened(data.unlike)
    asked = [said(record) for held in data.apart_from for record in opened(held)]
    texts = [said(record) for record in source]
    try:
        rows = _rows(data, source, texts, (reference, other), recipe.seed_of(name))
        if asked:
            from vitrail.curation.ngram_quality import refuse_shared

            refuse_shared([texts[row] for row in rows], asked)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None
    return select(source, rows, name)


def _rows(data: Subset, source: Any, texts: Sequence[str], beside: tuple[Any, Any], seed: int) -> list[int]:
    from vitrail.curation.ngram_quality import select_lowest, words

    sizes = [len(words(text)) for text in texts]
    budget = max(round(data.share * sum(sizes)), 1)
    if data.reference is None and data.kenlm is None:
        from vitrail.data.mixtures.drawing import permutation

        places = [0] * len(texts)
        for place, row in enumerate(permutation(len(texts), seed)):
            places[int(row)] = place
        return list(select_lowest(places, sizes, budget).rows)
    scores = _scores if data.unlike is None else _unlikeness
    return list(select_lowest(scores(data, source, texts, beside), sizes, budget).rows)


def _unlikeness(data: Subset, source: Any, texts: Sequence[str], beside: tuple[Any, Any]) -> list[float]:
    """Minus the log-odds that each of the source's records is of the reference, from the cache where they are known."""
    from vitrail.curation.text_classifier import TextClassifier
    from vitrail.storage import atomic, cache

    identity = cache.key("log-odds", source.fingerprint, *(one.fingerprint for one in beside), data.normalise)

    def make(folder: Path) -> None:
        classes = [[said(record) for record in one] for one in beside]
        classifier = TextClassifier.fit(*classes, normalise=data.normalise)
        atomic.write_json(folder / "scores.json", [-float(one) for one in classifier.log_odds(texts)])

    path = cache.FolderCache().get_or_make(identity, make) / "scores.json"
    return list(json.loads(path.read_text("utf-8")))


def _scores(data: Subset, source: Any, texts: Sequence[str], beside: tuple[Any, Any]) -> list[float]:
    """Perplexities of the source's records, from the cache where they were computed before."""
    from vitrail.curation.ngram_quality import NgramQualityScorer
    from vitrail.storage import atomic, cache

    reference = beside[0]
    if data.kenlm is not None and not Path(data.kenlm).is_file():
        raise ValueError(f"there is no KenLM model {data.kenlm}; check the path, or name a reference")
    model = cache.file_digest(data.kenlm) if data.kenlm is not None else reference.fingerprint
    identity = cache.key("ngram perplexity", source.fingerprint, model, data.order)

    def make(folder: Path) -> None:
        scorer: Any = (
            NgramQualityScorer.from_kenlm(data.kenlm)
            if data.kenlm is not None
            else NgramQualityScorer([said(record) for record in reference], order=data.order)
        )
        atomic.write_json(folder / "perplexities.json", [_number(scorer.perplexity(text)) for text in texts])

    path = cache.FolderCache().get_or_make(identity, make) / "perplexities.json"
    return [float("inf") if value is None else value for value in json.loads(path.read_text("utf-8"))]


def _number(value: float) -> float | None:
    return None if value == float("inf") else value


def faults(recipe: Recipe) -> list[Fault]:
    """Names in subsets, and in relevant parts, that are no data."""
    found: list[Fault] = []
    for name, data in recipe.data.items():
        if getattr(data, "kind", None) not in DERIVED:
            continue
        one: Any = data
        named = {"source": (one.source,)}
        if one.kind == "subset":
            named |= {"reference": (one.reference,), "unlike": (one.unlike,), "apart_from": one.apart_from}
        for field, values in named.items():
            for value in filter(None, values):
                if value not in recipe.data:
                    hint = nearest(value, [other for other in recipe.data if other != name])
                    found.append((("data", name, field), f"'data' has no source of this name; {hint}", value))
    return found


def origin(recipe: Recipe, name: str) -> Any:
    """The settings of the data that a subset, or relevant parts, are taken from in the end; of other data its own."""
    data: Any = recipe.data[name]
    while data.kind in DERIVED:
        data = recipe.data[data.source]
    return data


def below(data: Any) -> list[str]:
    """The data that a subset, or relevant parts, are read from."""
    if getattr(data, "kind", None) == "relevant":
        return [data.source]
    if getattr(data, "kind", None) != "subset":
        return []
    named = (data.source, data.reference, data.unlike, *data.apart_from)
    return [other for other in named if other is not None]
