"""The seam *labeller*: who says whether a claim about a picture holds (the conquer step of RLAIF-V)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from vitrail.data.records import Chat
from vitrail.inference.answerers import question
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.judging import REQUEST, judge, read_yes_no
from vitrail.loops.rounds import Partner, Settings, local, named
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.loops.rounds import Round


@dataclass(frozen=True)
class Claim:
    """A claim in an answer to ``prompt`` (which shows the picture), and its question."""

    prompt: Chat
    text: str
    question: str


@dataclass(frozen=True)
class Label:
    """``accept``: whether the claim holds, None where no yes or no could be read; probabilities where there are."""

    accept: bool | None
    p_yes: float | None = None
    p_no: float | None = None


class Labeller(Protocol):
    """Judges claims. Equal claims about equal prompts get equal labels."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def label(self, claims: Sequence[Claim], here: Round, model: str) -> list[Label]:
        """A label for each. ``model``: that of the round."""
        ...


class Model:
    """A multimodal model of this machine, by the probabilities of yes and no (:mod:`vitrail.inference.judging`)."""

    class Config(Settings):
        """``who``: ``start`` (the model as it was before the first round), ``self`` (as the round has it), or another
        model's folder or hub name. ``request`` follows the question.
        """

        who: str = Field(default="start", min_length=1)
        request: str = REQUEST

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """Who."""
        return self.config.who

    def label(self, claims: Sequence[Claim], here: Round, model: str) -> list[Label]:
        """One forward a claim."""
        bundle = here.workshop.bundle(local(self.config.who, model, here.workshop))
        chats = [_asked(one, self.config.request) for one in claims]
        root = here.workshop.source().root
        found = judge(bundle, chats, root=root, batch_size=here.batch_size)
        return [Label(one.accept, one.p_yes, one.p_no) for one in found]


class ChatModel:
    """A multimodal model that answers yes or no in words: at an address, or of this machine."""

    class Config(Settings):
        """``who``: see :data:`~vitrail.loops.rounds.Partner`."""

        who: Partner
        request: str = REQUEST
        max_new_tokens: int = Field(default=8, ge=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """Who."""
        return named(self.config.who)

    def label(self, claims: Sequence[Claim], here: Round, model: str) -> list[Label]:
        """One answer a claim."""
        c = self.config
        settings = GenerationSettings(max_new_tokens=c.max_new_tokens)
        chats = [_asked(one, c.request) for one in claims]
        replies = here.partner(c.who, model).ask(chats, settings, root=here.workshop.source().root)
        return [Label(read_yes_no(one.text)) for one in replies]


class SceneTruth:
    """What is known about composed scenes, right as often as ``accuracy`` says: a labeller of known quality.

    1 is an oracle, 0.5 knows nothing. For prompts about scenes of a suite; what it gets wrong depends on the prompt and
    the claim alone.
    """

    class Config(Settings):
        """``accuracy``: how often a label is right."""

        accuracy: float = Field(default=1.0, ge=0, le=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """What it is."""
        return f"scene truth, right in {self.config.accuracy:.0%}"

    def label(self, claims: Sequence[Claim], here: Round, model: str) -> list[Label]:
        """Labels from the scenes' truth. ValueError for a prompt that is about no composed scene."""
        from vitrail.curation.scene_truth import scene_truth

        found = []
        for one in claims:
            meta = one.prompt.meta
            if "scene" not in meta or "suite" not in meta:
                raise ValueError(
                    f"prompt {one.prompt.id!r} is about no composed scene; take the labeller model or chat_model"
                )
            right = scene_truth(meta["suite"]).holds(one.text, meta["scene"])
            chance = random.Random(key("label", here.workshop.seed, one.prompt.id, one.text)).random()
            found.append(Label(right if chance < self.config.accuracy else not right))
        return found


def _asked(claim: Claim, request: str) -> Chat:
    images = claim.prompt.images
    return question(f"{claim.question}\n{request}", images=images)


__all__ = ["ChatModel", "Claim", "Label", "Labeller", "Model", "SceneTruth"]
