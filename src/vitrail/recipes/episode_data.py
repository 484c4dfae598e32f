"""Episodes of labelled pictures as a recipe's data (:mod:`vitrail.data.episodes`), and documents as demonstrations."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.demonstrations import Shown
from vitrail.data.episodes.building import EpisodeSettings
from vitrail.settings.faults import NOTHING, inner_errors


class Episodes(EpisodeSettings):
    """Link-context episodes (arXiv 2308.07891): two classes, ``shots`` examples of each, and a question of either.

    Classes are those of ``path`` (a folder of class folders, ``train900_pairs.jsonl``, or JSON lines with ``image`` and
    ``label``; ``root`` is where their pictures begin), or of ``suite``, cut-outs composed alone on backgrounds of
    ``side`` pixels, ``names`` as with scenes, ``per_class`` pictures each. ``fold`` of a path is part of its classes.
    ``encoder``: a dual encoder that ranks neighbours (default: those of the file, else by thumbnails; of cut-outs those
    of a kind). ``policy``: ``2way`` (own names), ``2way-weight`` (an invented one for the first class), ``2way-random``
    (for both), ``random-shot`` (up to so many shots). ``control``, ``show``, ``swapped`` and ``wording``:
    docs/few-shot.md. ``n``: default, one a class. An evaluation asks which of the two it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["episodes"] = "episodes"
    path: str | None = Field(default=None, min_length=1)
    root: str | None = None
    suite: str | None = None
    names: Literal["known", "development", "held-out", "helpers"] | None = None
    side: int | None = Field(default=None, ge=16)
    per_class: int | None = Field(default=None, ge=1)
    encoder: str | None = Field(default=None, min_length=1)
    fold: Literal["train", "development", "test"] | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_origin(self) -> Episodes:
        if (self.path is None) == (self.suite is None):
            why = "give either 'path' (a folder or file of labelled pictures) or 'suite' (cut-outs of scenes)"
            raise inner_errors([(("path",), why, self.path if self.path is not None else NOTHING)])
        others = ("names", "side", "per_class") if self.path is not None else ("root",)
        for name in others:
            if (given := getattr(self, name)) is not None:
                why = f"it has no effect with {'path' if self.path is not None else 'suite'!r}; remove it"
                raise inner_errors([((name,), why, given)])
        return self

    def open(self, seed: int, asked: bool) -> Any:
        """The episodes, drawn with ``seed``. ValueError for files, classes or settings that do not fit."""
        from vitrail.data.episodes.building import LinkContextEpisodes

        catalogue = self._catalogue(seed)
        settings = EpisodeSettings.model_validate(
            {name: getattr(self, name) for name in EpisodeSettings.model_fields}
        )
        features = None if self.encoder is None else features_of(catalogue, self.encoder)
        return LinkContextEpisodes(catalogue, settings, n=self.n, seed=seed, asked=asked, neighbours=features)

    def _catalogue(self, seed: int) -> Any:
        from vitrail.data.episodes.catalogue import open_catalogue, suite_catalogue

        if self.suite is not None:
            from vitrail.data.scenes import suite

            return suite_catalogue(
                suite(self.suite),
                self.names or "known",
                self.fold or "train",
                seed,
                self.per_class or 64,
                self.side,
            )
        whole = open_catalogue(str(self.path), self.root)
        if self.fold is None:
            return whole
        from vitrail.data.folds import members_of

        chosen = members_of(list(whole.places), self.fold, f"{whole.name} has {len(whole)} classes")
        return whole.part(sorted(whole.places[one] for one in chosen), self.fold)


def features_of(catalogue: Any, encoder: str) -> Any:
    """The classes' features by a dual encoder, computed once and kept in the cache."""
    import numpy as np

    from vitrail.data.episodes.neighbours import EACH, class_features
    from vitrail.models.experts.clip_scorer import ClipScorer
    from vitrail.storage import atomic
    from vitrail.storage.cache import FolderCache, key

    scorer = ClipScorer.from_pretrained(encoder)

    def make(folder: Any) -> None:
        with atomic.new_file(folder / "features.npy") as file:
            np.save(file, class_features(catalogue, scorer.embed_images))

    identity = key("class features", catalogue.fingerprint, scorer.fingerprint, EACH)
    return np.load(FolderCache().get_or_make(identity, make) / "features.npy", allow_pickle=False)


class Demonstrated(BaseModel):
    """Documents with pictures as few-shot chats (AIM, arXiv 2406.07588): consecutive pairs of a picture and its text.

    Documents are those of ``path`` (docs/data.md; ``fold`` as with files), or about scenes of ``suite``. Of each a run
    of pairs is drawn with ``seed``: 1 to ``k_max`` demonstrations, then the pair whose text is learnt. ``request`` is
    what the user says beside each picture, ``show`` how demonstrations are shown (docs/few-shot.md). Documents with
    fewer than two pairs are left out. ``n``: of documents (default: all of a path, 1000 of a suite).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["demonstrated"] = "demonstrated"
    path: str | None = Field(default=None, min_length=1)
    root: str | None = None
    suite: str | None = None
    k_max: int = Field(default=4, ge=1)
    request: str = Field(default="Describe the image.", min_length=1)
    show: Shown = "apart"
    fold: Literal["train", "development", "test"] | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_origin(self) -> Demonstrated:
        if (self.path is None) == (self.suite is None):
            why = "give either 'path' (a file of documents) or 'suite' (documents about scenes)"
            raise inner_errors([(("path",), why, self.path if self.path is not None else NOTHING)])
        if self.suite is not None and self.root is not None:
            raise inner_errors([(("root",), "it has no effect with 'suite'; remove it", self.root)])
        return self

    def open(self, seed: int) -> Any:
        """The chats. ValueError for files that hold no documents, or none with two pairs."""
        from vitrail.data.interleaved_shots import InterleavedShots

        return InterleavedShots(
            self._documents(seed), self.k_max, seed=seed, request=self.request, show=self.show
        )

    def _documents(self, seed: int) -> Any:
        if self.suite is not None:
            from vitrail.data.scenes import suite

            return suite(self.suite).documents(fold=self.fold or "train", seed=seed, n=self.n or 1000)
        from vitrail.data.folds import fold_of
        from vitrail.data.readers import open_source
        from vitrail.data.sources import take

        source: Any = open_source(str(self.path), on_error="set_aside", root=self.root)
        source = source if self.fold is None else fold_of(source, self.fold)
        return source if self.n is None or self.n >= len(source) else take(source, self.n)
