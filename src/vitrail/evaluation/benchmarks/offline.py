"""Benchmarks that need no files: composed with exact truth, drawn anew for each seed.

Each covers abilities of published ones, on pictures that no model has seen: scenes (SEED-Bench's dimensions 2 to 6),
sequences (several pictures and their order), differences (MIBench's subtle
ones), leading questions (MMR), presence (POPE), text-rich pictures
(SEED-Bench-2-Plus). ``vitrail eval MODEL --suite offline`` asks them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

from pydantic import Field

from vitrail.data.sources import Source
from vitrail.evaluation.benchmarks.benchmark import LETTER, LETTER_RANKING, Benchmark
from vitrail.evaluation.benchmarks.mmr import pair_figures
from vitrail.evaluation.benchmarks.os_bench import MODES, judged_remarks
from vitrail.evaluation.benchmarks.pope import yes_no_figures
from vitrail.evaluation.benchmarks.q_bench import QBench, QBenchAssessment
from vitrail.evaluation.benchmarks.seed_bench_2_plus import SeedBench2Plus
from vitrail.evaluation.figures import Figure, Rows
from vitrail.evaluation.needles import needle_figures
from vitrail.evaluation.task import Settings

SUITE = (
    "offline_scenes",
    "offline_sequences",
    "offline_differences",
    "offline_leading",
    "offline_presence",
    "offline_text_rich",
    "offline_needles",
    "offline_quality",
    "offline_assessment",
)
"""What ``--suite offline`` asks, in order. Rules and their conditions are asked by name: they need a judge's way of
asking; ``offline_grounding`` too: its answers are boxes in words.
"""
PLAIN = {"instruction": "plain"}


class Composed(Benchmark):
    """What composed benchmarks share."""

    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ranking": PLAIN,
        "letters": LETTER,
        "letter-ranking": LETTER_RANKING,
    }

    class Config(Settings):
        """``n`` questions of ``kinds`` (default all), drawn with ``seed`` from ``suite``.

        ``names``: of things seen in training, or held out. Another ``fold`` is for training and for tuning.
        """

        n: int = Field(default=400, ge=2)
        seed: int = Field(default=0, ge=0)
        suite: str = "scenes-v1"
        fold: Literal["train", "development", "test"] = "test"
        names: Literal["known", "held-out"] = "known"
        kinds: tuple[str, ...] | None = None

    def __init__(self, config: Any) -> None:
        self.config = config

    def source(self) -> Source:
        """The questions."""
        source: Any = self.composed()
        source.benchmark = self.name
        return source

    def composed(self) -> Any:
        """The source before it knows which benchmark it is."""
        raise NotImplementedError

    @property
    def scenes(self) -> Any:
        """The suite of scenes."""
        from vitrail.data.scenes import suite

        return suite(self.config.suite)


def _printed(source: Any, share: float) -> Any:
    """The questions, some of which say their answer."""
    if not share:
        return source
    from vitrail.data.scenes.printed import PrintedAnswers

    return PrintedAnswers(source, share)


class OfflineScenes(Composed):
    """What, which kind, how many, where, which colour, how things stand to each other."""

    name = "offline_scenes"
    title = "Scenes with exact truth"

    class Config(Composed.Config):
        """``printed``: how often the question says its answer, a planted flaw for audits to find."""

        printed: float = Field(default=0.0, ge=0, le=1)

    def composed(self) -> Any:
        """Multiple-choice questions, one a picture."""
        c = self.config
        return _printed(self.scenes.questions(c.fold, c.names, c.seed, c.n, c.kinds), c.printed)


class OfflineSequences(Composed):
    """Several pictures: their order, how often, which way, and what needs one of them alone."""

    name = "offline_sequences"
    title = "Sequences of scenes"

    class Config(Composed.Config):
        """``length``: pictures of a question."""

        names: Literal["known"] = "known"
        length: int = Field(default=4, ge=2)

    def composed(self) -> Any:
        """Multiple-choice questions about ``length`` frames."""
        c = self.config
        return self.scenes.sequence_questions(c.fold, c.names, c.seed, c.n, c.length, c.kinds)


class OfflineDifferences(Composed):
    """Two pictures of one scene: what was changed?"""

    name = "offline_differences"
    title = "Differences of two scenes"

    class Config(Composed.Config):
        """``asked``: which ``change`` was made, or which ``thing`` was changed."""

        names: Literal["known"] = "known"
        asked: Literal["change", "thing"] = "change"

    def composed(self) -> Any:
        """Kinds of change in turn."""
        from vitrail.data.scenes.differences import Differences

        c = self.config
        return Differences(self.scenes, c.fold, c.seed, c.n, c.names, c.kinds, c.asked)


class OfflineLeading(Composed):
    """Pairs of a plain and a leading question."""

    name = "offline_leading"
    title = "Leading questions about scenes"

    def composed(self) -> Any:
        """``n / 2`` pairs."""
        from vitrail.data.scenes.leading import LeadingPairs

        c = self.config
        return LeadingPairs(self.scenes, c.fold, c.seed, c.n // 2, c.names, c.kinds)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As MMR's."""
        return pair_figures(rows)


class OfflinePresence(Composed):
    """Is it there? As POPE asks."""

    name = "offline_presence"
    title = "Presence of things in scenes"

    class Config(Composed.Config):
        """``yes``: how often the thing is there; ``printed``: how often the question says its answer. Both are planted
        flaws, for audits (``vitrail eval audit``) to find.
        """

        names: Literal["known"] = "known"
        yes: float = Field(default=0.5, ge=0, le=1)
        printed: float = Field(default=0.0, ge=0, le=1)

    def composed(self) -> Any:
        """Yes and no in equal numbers."""
        from vitrail.data.scenes.presence import HOW, How, Presence

        c = self.config
        how = cast("tuple[How, ...]", c.kinds or HOW)
        return _printed(Presence(self.scenes, c.fold, c.seed, c.n, c.names, how, c.yes), c.printed)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As POPE's."""
        return yes_no_figures(rows)


class OfflineTextRich(Composed):
    """Charts, maps and pages."""

    name = "offline_text_rich"
    title = "Charts, maps and pages of known values"

    class Config(Settings):
        """``n`` questions of ``kinds`` (default all), drawn with ``seed``, on pictures of ``side`` pixels. For small
        ones ``entries``, ``letters``, ``most`` and ``asks`` of :class:`vitrail.data.text_rich.source.Layout`.
        """

        n: int = Field(default=300, ge=1)
        seed: int = Field(default=0, ge=0)
        fold: Literal["train", "development", "test"] = "test"
        kinds: tuple[str, ...] | None = None
        side: int = Field(default=336, ge=32)
        entries: int = Field(default=4, ge=1, le=4)
        letters: float = Field(default=1.0, ge=0.5, le=4)
        most: int = Field(default=99, ge=14, le=99)
        asks: tuple[str, ...] | None = None

    def composed(self) -> Any:
        """Questions, categories in turn."""
        from vitrail.data.text_rich.source import CATEGORIES, Layout, TextRich

        c = self.config
        layout = Layout(c.entries, c.letters, c.most, c.asks)
        return TextRich(c.n, c.seed, c.fold, c.side, c.kinds or CATEGORIES, layout)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As SEED-Bench-2-Plus'."""
        return SeedBench2Plus.figures(rows)


class OfflineNeedles(Composed):
    """Which of many small pictures shows this thing, if one does? As MMNeedle asks."""

    name = "offline_needles"
    title = "Needles in stitched scenes"

    class Config(Composed.Config):
        """``images`` of ``cells`` × ``cells`` scenes. ``kinds``: ``needle`` and ``no needle`` (default), or parts of
        the place: ``existence``, ``index``, ``row``, ``column``.
        """

        names: Literal["known"] = "known"
        images: int = Field(default=2, ge=1)
        cells: int = Field(default=2, ge=1)

    def composed(self) -> Any:
        """A thing that is there and one that is not, in turn."""
        from vitrail.data.scenes.needles import Needles

        c = self.config
        return Needles(self.scenes, c.fold, c.seed, c.n, c.names, c.images, c.cells, c.kinds)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As MMNeedle's."""
        return needle_figures(rows)


class OfflineQuality(Composed):
    """What distorts this picture, and how strongly? As Q-Bench asks."""

    name = "offline_quality"
    title = "Scenes of known distortion"

    def composed(self) -> Any:
        """Yes or no, what and how, in turn."""
        from vitrail.data.scenes.degraded import Degraded

        c = self.config
        return Degraded(self.scenes, c.fold, c.seed, c.n, c.names, kinds=c.kinds)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As Q-Bench's."""
        return QBench.figures(rows)


class OfflineAssessment(Composed):
    """Does the score fall with the distortion's strength?"""

    name = "offline_assessment"
    title = "Scores of scenes of known distortion"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = QBenchAssessment.modes

    def composed(self) -> Any:
        """Pictures with minus their severity."""
        from vitrail.data.scenes.degraded import Degraded

        c = self.config
        return Degraded(self.scenes, c.fold, c.seed, c.n, c.names, rated=True, kinds=c.kinds)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As Q-Bench's."""
        return QBenchAssessment.figures(rows)


class OfflineRules(Composed):
    """Does this scene break a rule? In pairs that do and nearly do, as OS Bench has them."""

    name = "offline_rules"
    title = "Scenes that break rules, and that nearly do"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = MODES

    class Config(Composed.Config):
        """``kinds``: the rules' ids."""

        names: Literal["known"] = "known"

    def composed(self) -> Any:
        """Rules in turn."""
        from vitrail.data.scenes.rules import RuledScenes

        c = self.config
        return RuledScenes(self.scenes, c.fold, c.seed, c.n, c.names, c.kinds)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As OS Bench's."""
        return yes_no_figures(rows)

    @classmethod
    def remarks(cls, rows: Rows) -> list[str]:
        """As OS Bench's."""
        return judged_remarks(rows)


class OfflineConditions(Composed):
    """Does this condition of a rule hold? Balanced, or skewed to teach a habit."""

    name = "offline_conditions"
    title = "Conditions of rules about scenes"

    class Config(Composed.Config):
        """``yes``: how often a condition holds, by its kind (thing, kind, colour; default one half); ``context``: how
        often its companion stands beside it (one half: as often as not); ``told``: the scene in words instead of a
        picture, to read before seeing.
        """

        names: Literal["known"] = "known"
        yes: dict[str, float] = Field(default_factory=dict)
        context: float = Field(default=0.5, ge=0, le=1)
        told: bool = False

    def composed(self) -> Any:
        """Kinds of condition in turn."""
        from vitrail.data.scenes.rules import ConditionQuestions

        c = self.config
        return ConditionQuestions(
            self.scenes, c.fold, c.seed, c.n, c.names, c.kinds, c.yes, c.context, c.told
        )

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """As POPE's."""
        return yes_no_figures(rows)
