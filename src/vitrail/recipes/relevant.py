"""Documents of a recipe's data without the parts that belong to nothing in them: mOSCAR's joint filter on any data.

Futeral et al. (arXiv 2406.08707); the filter is :mod:`vitrail.curation.operations.relevance`. Its controls are here,
too: a fixed threshold of the cosine, as earlier corpora of documents were filtered, and documents drawn at random that
hold as many texts. What was decided is kept in the cache, by all that it depends on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.recipes.trained import Origin
from vitrail.settings.faults import NOTHING, inner_errors

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe

Decisions = dict[int, dict[str, list[int]]]
"""By a document's place in the source: which of its texts and which of its pictures stay."""


class Relevant(BaseModel):
    """The documents of other ``data``, its ``source``, without texts and pictures that belong to nothing in them.

    ``encoder``: a CLIP, SigLIP or dual encoder (folder, run or hub name), or ``{recipe: …}``, which trains one once.
    ``by: rank`` keeps what is among the ``top_k`` of ``n_negatives`` + 1, as the curation operation ``relevance`` does;
    ``by: threshold``, what has a cosine of ``threshold`` or more with a part of the other kind; ``by: random``, the
    control of ``rank``, whole documents drawn at random that hold as many texts. Documents without a picture stay as
    they are; one that is left without a text is left out. ``seed`` as with scenes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["relevant"] = "relevant"
    source: str
    encoder: Origin
    by: Literal["rank", "threshold", "random"] = "rank"
    n_negatives: int = Field(default=63, ge=1)
    top_k: int = Field(default=8, ge=1)
    threshold: float | None = Field(default=None, ge=-1, le=1)
    seed: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _goes_together(self) -> Relevant:
        if self.top_k > self.n_negatives + 1:
            why = f"a pair is ranked among {self.n_negatives + 1}; lower it"
            raise inner_errors([(("top_k",), why, self.top_k)])
        if self.by == "threshold" and self.threshold is None:
            raise inner_errors([(("threshold",), "by: threshold needs one; give a cosine", NOTHING)])
        if self.by != "threshold" and self.threshold is not None:
            why = "it has no effect on what stays here; remove it, or set by: threshold"
            raise inner_errors([(("threshold",), why, self.threshold)])
        return self


def open_relevant(recipe: Recipe, name: str, opened: Callable[[str], Any]) -> Any:
    """The filtered documents, in the order of the source; ``opened`` gives other data by name.

    ValueError for records that are no documents, for an encoder that is none, for too few negatives, and where no
    document is left.
    """
    from vitrail.data.sources import select

    data: Any = recipe.data[name]
    source = opened(data.source)
    try:
        decisions = decided(data, source, recipe.seed_of(name))
        if data.by == "random":
            return select(source, at_random(decisions, source, recipe.seed_of(name)), name)
        return RelevantParts(source, decisions, name)
    except ValueError as error:
        raise ValueError(f"data.{name}: {error}") from None


def decided(data: Relevant, source: Any, seed: int) -> Decisions:
    """What stays of each document that can be judged, from the cache where it was decided before."""
    from vitrail.models.experts.clip_scorer import ClipScorer
    from vitrail.storage import atomic, cache

    scorer = ClipScorer.from_pretrained(data.encoder.place())
    ranked = {"n_negatives": data.n_negatives, "top_k": data.top_k, "seed": seed}
    how = {"threshold": data.threshold} if data.by == "threshold" else ranked
    identity = cache.key("relevant parts", source.fingerprint, scorer.fingerprint, how)

    def make(folder: Path) -> None:
        found = _decide(data, source, scorer, seed)
        atomic.write_json(folder / "decisions.json", {str(place): one for place, one in found.items()})

    path = cache.FolderCache().get_or_make(identity, make) / "decisions.json"
    rows = json.loads(path.read_text("utf-8"))
    return {int(place): one for place, one in rows.items()}


def _decide(data: Relevant, source: Any, scorer: Any, seed: int) -> Decisions:
    from vitrail.curation.operations.relevance import RankRelevance, above
    from vitrail.data.records import Document

    config = RankRelevance.Config(
        encoder="given",
        n_negatives=data.n_negatives,
        top_k=data.top_k,
        length_window=max(512, data.n_negatives),
        seed=seed,
    )
    operation = RankRelevance(config, scorer)
    operation.root = source.root or Path(".")
    sketches: list[dict[str, Any]] = []
    together: list[Document] = []
    for place, record in enumerate(source):
        if not isinstance(record, Document):
            raise ValueError(
                f"record {place} of {data.source!r} is a {type(record).__name__.lower()}, and parts are judged in "
                "documents; name data of documents"
            )
        together.append(record)
        if len(together) == operation.sketched_together:
            sketches += operation.sketches(together)
            together = []
    sketches += operation.sketches(together)
    judge = operation.decide if data.threshold is None else _by_threshold(above, data.threshold)
    return {place: dict(one) for place, one in judge(sketches).items()}


def _by_threshold(above: Any, threshold: float) -> Callable[[Iterable[Any]], Mapping[int, Any]]:
    return lambda sketches: above(sketches, threshold)


def at_random(decisions: Decisions, source: Any, seed: int) -> list[int]:
    """Documents drawn whole, in the source's order, that hold as many texts as ``decisions`` leaves, or one more."""
    from vitrail.curation.operations.operation import texts_of
    from vitrail.data.mixtures.drawing import permutation

    sizes = [len(texts_of(document)) for document in source]
    left = sum(len(decisions[place]["texts"]) if place in decisions else n for place, n in enumerate(sizes))
    drawn: list[int] = []
    for place in permutation(len(sizes), seed):
        if left <= 0:
            break
        drawn.append(int(place))
        left -= sizes[place]
    return sorted(drawn)


class RelevantParts:
    """The documents of a source as decisions leave them. ``rows``: the places of those that have a text left."""

    def __init__(self, source: Any, decisions: Decisions, name: str) -> None:
        from vitrail.data.sources import SetAside
        from vitrail.storage.cache import key

        self.name, self.root = name, source.root
        self.rows = [
            place for place in range(len(source)) if place not in decisions or decisions[place]["texts"]
        ]
        if not self.rows:
            raise ValueError("no document has a text left; lower the threshold, or raise top_k")
        told = {str(place): one for place, one in decisions.items()}
        self.fingerprint = key("relevant", source.fingerprint, told)
        self.set_aside = SetAside(used=len(self.rows))
        self._source, self._decisions = source, decisions

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Any:
        from vitrail.curation.operations.relevance import with_parts

        place = self.rows[index]
        document = self._source[place]
        decision = self._decisions.get(place)
        return document if decision is None else with_parts(document, decision).document
