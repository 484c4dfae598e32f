"""Episodes of composed cut-outs as a benchmark without files: invented names, examples, and a question (2308.07891).

By default each is asked twice, with the two names exchanged: a model that reads the examples is right both times, one
that answers from what it knows only once. ``vitrail eval MODEL --benchmark offline_episodes --set shots=[0,1,2,4]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.episodes.building import EpisodeSettings, Policy
from vitrail.evaluation.benchmarks.link_context import TWO_WAY
from vitrail.evaluation.benchmarks.offline import Composed
from vitrail.evaluation.figures import Figure, Rows
from vitrail.evaluation.two_way import two_way_figures


class OfflineEpisodes(Composed):
    """Which of the two is it, going by the examples?"""

    name = "offline_episodes"
    title = "Episodes of invented names"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ranking": TWO_WAY["ranking"],
        "words": TWO_WAY["words"],
    }

    class Config(EpisodeSettings):
        """``n`` questions about cut-outs of ``suite``, ``names`` as with scenes (default: those nobody trained on), of
        ``side`` pixels; the rest as of a recipe's episodes (docs/few-shot.md).
        """

        n: int = Field(default=400, ge=2)
        seed: int = Field(default=0, ge=0)
        suite: str = "scenes-v1"
        fold: Literal["train", "development", "test"] = "test"
        names: Literal["known", "development", "held-out"] = "held-out"
        side: int | None = Field(default=None, ge=16)
        per_class: int = Field(default=64, ge=1)
        shots: tuple[int, ...] = Field(default=(1, 2, 4, 8), min_length=1)
        policy: Policy = "2way-random"
        swapped: bool = True
        shortest: int = Field(default=4, ge=1, le=40)  # a letter or two would be found in any answer in words

    config: Config

    def composed(self) -> Any:
        """Numbers of shots in turn."""
        from vitrail.data.episodes.building import LinkContextEpisodes
        from vitrail.data.episodes.catalogue import suite_catalogue

        c = self.config
        catalogue = suite_catalogue(self.scenes, c.names, c.fold, c.seed, c.per_class, c.side)
        settings = EpisodeSettings.model_validate(
            {name: getattr(c, name) for name in EpisodeSettings.model_fields}
        )
        return LinkContextEpisodes(catalogue, settings, n=c.n, seed=c.seed, asked=True)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Accuracy by shots, position bias, and whether answers follow exchanged names."""
        return two_way_figures(rows)
