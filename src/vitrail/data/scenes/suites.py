"""Frozen suites of scenes: one split of names, one mix of questions, the same for everybody.

``suite("scenes-v1")`` reads ``scenes_v1.json`` beside this file and never changes. A suite over one's own
pictures is drawn with :meth:`SceneSuite.draw` and written with :meth:`SceneSuite.write`.

An item depends on (suite, fold, names, seed, index) only, not on order, workers or how many are asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from vitrail.data.records import Frozen
from vitrail.data.scenes.chats import Conversations, MultipleChoice
from vitrail.data.scenes.composer import compose
from vitrail.data.scenes.documents import CHANGES, ChangeKind, Changes, Documents
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.foreign import ForeignPages
from vitrail.data.scenes.leading import LeadingConversations, LeadingPairs
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.planner import Plan, Planner
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.questions import Asker
from vitrail.data.scenes.sequence_chats import SequenceConversations, SequenceQuestions
from vitrail.data.scenes.videos import Clips
from vitrail.data.scenes.wording import Wording
from vitrail.data.sources import Source, select
from vitrail.data.sprites import SpriteLibrary, library
from vitrail.registry import nearest
from vitrail.storage.atomic import write_text

FOLDS = ("train", "development", "test")
SPLITS = {"known": "train", "development": "development", "held-out": "test", "helpers": "helpers"}
"""What ``names`` may be, and the split of the suite's names that it stands for."""
_BUILT_IN = {
    "nano-scenes-large-v1": "nano_scenes_large_v1.json",
    "nano-scenes-v1": "nano_scenes_v1.json",
    "scenes-v1": "scenes_v1.json",
}


TRAINING_MIX = {
    "caption": 1.5,
    "what": 3.0,
    "kind": 1.5,
    "count": 1.5,
    "where": 2.0,
    "colour": 1.5,
    "relation": 1.5,
}
SHARES = {"helpers": 0.15, "train": 0.55, "development": 0.12, "test": 0.18}


class SuiteConfig(Frozen):
    """All that defines a suite. Frozen suites are files of it."""

    name: str
    library: str
    drawings: str
    """Fingerprint of the sprites in ``split``; other drawings are another suite."""
    side: int = Field(default=224, ge=32, le=4096)
    most: int = Field(default=4, ge=1, le=5)
    """Things in a scene at most (scenes for counting hold up to one more)."""
    options: int = Field(default=4, ge=2, le=5)
    sizes: tuple[float, float] | None = None
    """The least and most of a thing's size as a fraction of ``side`` (default: by how many things there are)."""
    by_name: float = 0.7
    present: float = 0.5
    turns: tuple[int, int] = (3, 6)
    training_mix: dict[str, float] = Field(default_factory=lambda: dict(TRAINING_MIX))
    """Weights of captions and question kinds among the turns of conversations."""
    wording: Wording = Field(default_factory=Wording)
    split: dict[str, tuple[str, ...]]
    """Names for ``helpers``, ``train``, ``development`` and ``test``."""
    colours: dict[str, str]
    """The colour word of each name that clearly has one."""

    def plain(self) -> dict[str, Any]:
        """Plain values, without ``sizes`` where a suite has none: files and fingerprints stay what they were."""
        return self.model_dump(mode="json", exclude={"sizes"} if self.sizes is None else None)


class SceneSuite:
    """Scenes, conversations and questions of one configuration. See the module's docstring."""

    def __init__(self, config: SuiteConfig, sprites: SpriteLibrary | None = None) -> None:
        self.config = config
        self.library = sprites if sprites is not None else library(config.library)
        names = [name for part in config.split.values() for name in part]
        missing = [name for name in names if name not in self.library]
        drawings = "" if missing else self.library.fingerprint_of(names)
        if drawings != config.drawings:
            version = getattr(self.library, "version", "")
            raise ValueError(
                f"suite {config.name!r} is made of other {config.library} drawings than those installed"
                f"{f' (version {version})' if version else ''}: its scenes would not be the same. "
                "Install the version that vitrail's extra 'scenes' asks for, or draw a suite of your own"
            )
        self.library.know_colours({name: config.colours.get(name) for name in names})
        self._pools: dict[str, Pool] = {}

    @classmethod
    def draw(
        cls, name: str, sprites: SpriteLibrary, origin: str, seed: int = 0, **settings: Any
    ) -> SceneSuite:
        """A new suite over ``sprites`` (which :func:`vitrail.data.sprites.library` finds as ``origin``).

        Names are split within each kind by ``seed``; ``settings`` are fields of :class:`SuiteConfig`.
        """
        split = split_names(sprites, seed)
        names = [thing for part in split.values() for thing in part]
        colours = {thing: colour for thing in names if (colour := sprites.colour(thing)) is not None}
        config = SuiteConfig(
            name=name,
            library=origin,
            drawings=sprites.fingerprint_of(names),
            split=split,
            colours=colours,
            **settings,
        )
        return cls(config, sprites)

    def write(self, path: Path) -> None:
        """Write the suite's file; :func:`suite` reads it back by its path."""
        plain = self.config.plain()
        write_text(path, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.config.name

    @property
    def credit(self) -> str:
        """Whom to name where the pictures are shown."""
        return self.library.credit

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the configuration, drawings included."""
        plain = json.dumps(self.config.plain(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(plain.encode()).hexdigest()

    def names(self, names: str) -> tuple[str, ...]:
        """The names that ``known``, ``development``, ``held-out`` or ``helpers`` stands for."""
        if names not in SPLITS:
            raise ValueError(f"names is {names!r}; {nearest(names, list(SPLITS))}")
        return self.config.split[SPLITS[names]]

    def pool(self, names: str) -> Pool:
        """Things and what may be said of them: held-out and development names are never spoken."""
        if names not in self._pools:
            self._pools[names] = Pool(
                library=self.library,
                names=self.names(names),
                wording=self.config.wording,
                named=names in ("known", "helpers"),
                colours={name: self.config.colours.get(name) for name in self.names(names)},
            )
        return self._pools[names]

    def planner(self, names: str) -> Planner:
        """Lays out scenes of these names for questions."""
        c = self.config
        return Planner(self.pool(names), c.side, c.most, c.options, c.by_name, c.present)

    def asker(self, names: str) -> Asker:
        """Puts questions to scenes of these names."""
        return Asker(self.pool(names), self.config.options, self.config.present)

    def kinds(self, names: str) -> tuple[str, ...]:
        """The kinds of questions that can be asked about these names."""
        return self.planner(names).possible()

    def draws(self, use: str, fold: str, names: str, seed: int, index: int) -> Draws:
        """The stream that decides item ``index``: folds, uses and seeds never share one."""
        if fold not in FOLDS:
            raise ValueError(f"fold is {fold!r}; use one of {', '.join(FOLDS)}")
        if fold == "train" and not self.pool(names).named:
            raise ValueError(
                f"names {names!r} are not for training; use 'known' or 'helpers' with fold 'train'"
            )
        return Draws(self.name, use, fold, names, seed, index)

    def planned(self, kind: str, names: str, draws: Draws) -> tuple[Plan, Scene]:
        """A scene laid out for a question of ``kind``."""
        plan = self.planner(names).plan(kind, draws)
        spec = plan.spec if self.config.sizes is None else replace(plan.spec, sizes=self.config.sizes)
        return plan, compose(self.library, spec, draws)

    def conversations(
        self,
        fold: str = "train",
        seed: int = 0,
        n: int = 4000,
        names: str = "known",
        turns: tuple[int, int] | None = None,
        kinds: tuple[str, ...] | None = None,
    ) -> Conversations:
        """A source of ``n`` chats: a picture, then captions, questions and short answers about it.

        ``turns`` bounds how many exchanges a chat has (fewer where the scene gives no more), ``kinds``
        restricts them (``caption`` and question kinds). ValueError for held-out names in the training
        fold.
        """
        return Conversations(self, fold, seed, n, names, turns or self.config.turns, kinds)

    def questions(
        self,
        fold: str = "test",
        names: str = "known",
        seed: int = 0,
        n: int = 200,
        kinds: tuple[str, ...] | None = None,
    ) -> MultipleChoice:
        """A source of ``n`` chats that end with a multiple-choice question, one a picture, kinds in turn."""
        return MultipleChoice(self, fold, seed, n, names, kinds or self.kinds(names))

    def documents(
        self,
        fold: str = "train",
        seed: int = 0,
        n: int = 1000,
        names: str = "known",
        shuffled: float = 0.0,
        foreign: float | None = None,
    ) -> Documents | ForeignPages:
        """A source of ``n`` documents of two to four pictures with captions; in a share the pictures' places change.

        With ``foreign``, pages of pictures before their captions of which that share is from elsewhere.
        """
        if foreign is not None:
            return ForeignPages(self, fold, seed, n, names, foreign)
        return Documents(self, fold, seed, n, names, shuffled)

    def changes(
        self,
        fold: str = "train",
        seed: int = 0,
        n: int = 1000,
        names: str = "known",
        kinds: tuple[ChangeKind, ...] = CHANGES,
    ) -> Changes:
        """A source of ``n`` pairs before and after one exact change."""
        return Changes(self, fold, seed, n, names, kinds)

    def videos(
        self,
        fold: str = "train",
        seed: int = 0,
        n: int = 1000,
        names: str = "known",
        length: int = 8,
        fps: float = 4.0,
    ) -> Clips:
        """A source of ``n`` videos of ``length`` frames with a track for each thing."""
        return Clips(self, fold, seed, n, names, length, fps)

    def sequence_conversations(
        self,
        fold: str = "train",
        seed: int = 0,
        n: int = 2000,
        names: str = "known",
        length: int = 4,
        turns: tuple[int, int] | None = None,
        kinds: tuple[str, ...] | None = None,
        told: bool = False,
    ) -> SequenceConversations:
        """A source of ``n`` chats about ``length`` frames: their order, how often, which way, and what is in them.

        ``told``: frames in words instead of pictures.
        """
        turns = turns or self.config.turns
        return SequenceConversations(self, fold, seed, n, names, length, kinds, turns, told)

    def sequence_questions(
        self,
        fold: str = "test",
        names: str = "known",
        seed: int = 0,
        n: int = 200,
        length: int = 4,
        kinds: tuple[str, ...] | None = None,
    ) -> SequenceQuestions:
        """A source of ``n`` chats of ``length`` frames that end with a multiple-choice question, kinds in turn."""
        return SequenceQuestions(self, fold, seed, n, names, length, kinds)

    def leading_conversations(
        self,
        fold: str = "train",
        seed: int = 0,
        n: int = 4000,
        names: str = "known",
        turns: tuple[int, int] | None = None,
        kinds: tuple[str, ...] | None = None,
        leading: float = 0.5,
    ) -> LeadingConversations:
        """As :meth:`conversations`, a share ``leading`` of the questions taking a falsehood for granted."""
        return LeadingConversations(
            self, fold, seed, n, names, turns or self.config.turns, kinds, leading=leading
        )

    def leading_questions(
        self,
        fold: str = "test",
        names: str = "known",
        seed: int = 0,
        n: int = 200,
        kinds: tuple[str, ...] | None = None,
    ) -> Source:
        """A source of ``n`` leading questions, the second members of
        :class:`~vitrail.data.scenes.leading.LeadingPairs`.
        """
        pairs = LeadingPairs(self, fold, seed, n, names, kinds)
        return select(pairs, range(1, 2 * n, 2), name=f"{pairs.name}/NEG")

    def scene(
        self,
        fold: str,
        names: str,
        seed: int,
        index: int,
        use: Literal["conversations", "questions"] = "questions",
        kinds: tuple[str, ...] | None = None,
    ) -> Scene:
        """The scene, masks included, behind item ``index`` of :meth:`questions` or :meth:`conversations`."""
        source: Conversations | MultipleChoice
        if use == "questions":
            source = self.questions(fold, names, seed, index + 1, kinds)
        elif use == "conversations":
            source = self.conversations(fold, seed, index + 1, names, kinds=kinds)
        else:
            raise ValueError(f"use is {use!r}; use 'questions' or 'conversations'")
        return source.scene(index)


def split_names(sprites: SpriteLibrary, seed: int) -> dict[str, tuple[str, ...]]:
    """The names in four disjoint parts of :data:`SHARES`, each kind divided alike.

    Of many draws the first one is taken that gives each part at least two things of each colour that ten
    things have; if none does, the best.
    """
    colours: dict[str, list[str]] = {}
    for name in sprites.names:
        colours.setdefault(sprites.colour(name) or "", []).append(name)
    wanted = [set(names) for colour, names in colours.items() if colour and len(names) >= 10]
    best: tuple[int, dict[str, tuple[str, ...]]] | None = None
    for attempt in range(200):
        parts: dict[str, list[str]] = {part: [] for part in SHARES}
        for kind, names in sprites.kinds.items():
            shuffled = Draws("split", seed, attempt, kind).shuffled(sorted(names))
            taken, reached = 0, 0.0
            for part, share in SHARES.items():
                reached += share
                upto = round(reached * len(names))
                parts[part] += shuffled[taken:upto]
                taken = upto
        short = sum(
            max(0, 2 - len(colour.intersection(part))) for colour in wanted for part in parts.values()
        )
        if best is None or short < best[0]:
            best = short, {part: tuple(sorted(names)) for part, names in parts.items()}
        if short == 0:
            break
    assert best is not None
    return best[1]


def suite(name: str) -> SceneSuite:
    """A frozen suite by name, or one from the path of a file that :meth:`SceneSuite.write` wrote."""
    if name in _BUILT_IN:
        text = resources.files("vitrail.data.scenes").joinpath(_BUILT_IN[name]).read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ValueError(f"no suite is called {name!r}; {nearest(name, list(_BUILT_IN))}")
    return SceneSuite(SuiteConfig.model_validate(json.loads(text)))


def suites() -> list[str]:
    """The names of the frozen suites."""
    return sorted(_BUILT_IN)
