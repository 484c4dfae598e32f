"""RAP: what a memory knows of the picture and the names in the question stands in the prompt.

Hao et al. 2024, "Remember, Retrieve and Generate: Understanding Infinite Visual Concepts as Your Personalized
Assistant" (arXiv 2410.13360). Concepts are found as :mod:`vitrail.inference.recall` says, and written behind the
query's picture, once, in the turn that holds it:

    <image>
    [1.<image>
     Name: <name>, Info: info
    2.<image> …
    ]question

(from 0 where there is no query picture). Nothing found: the prompt as it is. The memory is read anew for every answer,
so that an edit or a removal changes the next one. A model without pictures reads the lines. If a prompt is longer than
the model's context, the least alike concepts are left out, named in the trace and warned of; no picture is ever cut.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.personal import remembered
from vitrail.data.records import Chat, Image, Message
from vitrail.inference.concepts import Concept, ConceptStore, encoder_of
from vitrail.inference.methods import Rewritten
from vitrail.inference.own_tower import OwnTower
from vitrail.inference.recall import Found, retrieve
from vitrail.inference.remembering import DATA, SHOWN, Remembering

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.experts.regions import RegionProposer


class RAP(Remembering):
    """See the module."""

    changes: ClassVar[str] = "the pictures of the prompt"

    class Config(BaseModel):
        """``memory``: a file that ``vitrail memory add`` made, or ``data``: what an evaluation's named things have to
        be remembered by (``encoder``: the CLIP-like model that finds their pictures; null: the answering model's own
        tower). ``pictures``: false leaves the lines alone in the prompt. ``k``: concepts held (published: 1 for
        questions, 2 for captions). ``regions``: looked up in the ``whole`` picture, a ``grid`` of it, what a
        ``detector`` finds (``detector``: its folder or hub name; ``threshold``: its confidence), or boxes ``given`` by
        the data (``meta.boxes``, pixels). ``each``: nearest concepts of a region that are pooled. ``furthest``: no
        concept at a larger distance (null: as published, however far). ``room``: tokens kept free for the answer.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        memory: str
        encoder: str | None = None
        pictures: bool = True
        k: int = Field(default=1, ge=0)
        regions: Literal["whole", "grid", "detector", "given"] = "grid"
        detector: str | None = None
        threshold: float | None = Field(default=None, ge=0, le=1)
        each: int = Field(default=2, ge=1)
        furthest: float | None = Field(default=None, ge=0)
        room: int = Field(default=128, ge=1)

        @model_validator(mode="after")
        def _detector_where_used(self) -> RAP.Config:
            if (self.regions == "detector") != (self.detector is not None):
                raise ValueError(
                    "regions: detector needs 'detector', the folder or hub name of one"
                    if self.detector is None
                    else f"detector {self.detector!r} has no effect with regions: {self.regions}; remove one"
                )
            if self.threshold is not None and self.detector is None:
                raise ValueError("threshold has no effect without a detector; remove it")
            if self.encoder is not None and self.memory != DATA:
                raise ValueError(
                    f"encoder {self.encoder!r} has no effect: the memory {self.memory} has its own; remove it"
                )
            return self

    @cached_property
    def _detector(self) -> Any:
        from vitrail.models.experts.regions import Detector

        return Detector.from_pretrained(str(self.config.detector), threshold=self.config.threshold)

    def prepare(self, bundle: Bundle, source: Any) -> None:
        """With ``memory: data``, remember the things of ``source``. ValueError where it has none."""
        if self.config.memory != DATA or self._given is not None:
            return
        told = getattr(source, "memory", None)
        if told is None:
            what = getattr(source, "name", "this data")
            raise ValueError(
                f"memory: data needs questions about named things (data of kind named_things), and {what} has nothing "
                "to remember; name a memory's file"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="vitrail-memory-")
        encoder = OwnTower(bundle) if self.config.encoder is None else encoder_of(self.config.encoder)
        path = Path(self._folder.name) / "memory"
        self._given = ConceptStore.open(path, writing=True, encoder=encoder)
        self._given.add(
            *(
                Concept(name=one.name, info=one.info, category=one.category, image=one.picture.read())
                for one in told()
            )
        )

    def rewrite(self, bundle: Bundle, chat: Chat, root: Path | None) -> Rewritten:
        """The chat with what is remembered; the trace has each concept's name, distance, and how it was found."""
        if not len(self.store):
            return Rewritten(chat)
        picture = chat.images[-1].open(root) if chat.images else None
        words = "\n".join(message.text for message in chat.messages if message.role == "user")
        found = retrieve(
            self.store,
            picture,
            words,
            self.config.k,
            proposer=self._proposer(chat),
            each=self.config.each,
            furthest=self.config.furthest,
        )
        kept = self._fitting(bundle, chat, found, root)
        trace: dict[str, Any] = {
            "memories": [
                {"name": one.concept.name, "distance": round(one.distance, 6), "by": one.by} for one in kept
            ]
        }
        if len(kept) < len(found):
            trace["left_out"] = [one.concept.name for one in found[len(kept) :]]
            warnings.warn(
                f"{len(found) - len(kept)} of {len(found)} memories were left out, the least alike: the prompt would "
                "be longer than the model's context",
                stacklevel=2,
            )
        if not found:
            return Rewritten(chat)
        return Rewritten(self._with(bundle, chat, kept), trace)

    def require_live(self, bundle: Bundle) -> None:
        """As any memory's; its detector is loaded. ValueError for regions that the data gives."""
        if self.config.regions == "given":
            raise ValueError(
                "regions is 'given', which takes boxes from a record's meta.boxes, and a question that is asked live "
                "has none; use whole, grid or detector"
            )
        super().require_live(bundle)
        if self.config.detector is not None:
            _ = self._detector

    def told(self, chat: Chat, trace: Mapping[str, Any]) -> dict[str, Any]:
        """The memories with their pictures; how many were found, if not all are shown."""
        memories = trace.get("memories", [])
        found = {"found": len(memories)} if len(memories) > SHOWN else {}
        return {**trace, "memories": self.cards(memories), **found} if trace else {}

    def _proposer(self, chat: Chat) -> RegionProposer | None:
        from vitrail.models.experts import regions

        if self.config.regions == "grid":
            return regions.Grid()
        if self.config.regions == "detector":
            found: RegionProposer = self._detector
            return found
        if self.config.regions == "given":
            boxes = (chat.meta or {}).get("boxes")
            if boxes is None:
                raise ValueError(
                    f"chat {chat.id!r} has no meta.boxes; regions: given needs them (x1, y1, x2, y2 in pixels)"
                )
            return regions.Given(boxes)
        return None

    def _fitting(self, bundle: Bundle, chat: Chat, found: Sequence[Found], root: Path | None) -> list[Found]:
        """As many of the first as the model's context has room for."""
        from vitrail.inference.generation import context_length

        limit = context_length(bundle.model)
        for kept in range(len(found), 0, -1):
            rewritten = self._with(bundle, chat, found[:kept])
            if limit is None or _tokens(bundle, rewritten, root) + self.config.room <= limit:
                return list(found[:kept])
        return []

    def _with(self, bundle: Bundle, chat: Chat, found: Sequence[Found]) -> Chat:
        sees = self.config.pictures and bundle.encoder.planner is not None
        concepts = [one.concept for one in found]
        return with_concepts(
            chat, concepts if sees else [one.model_copy(update={"image": None}) for one in concepts]
        )


def _tokens(bundle: Bundle, chat: Chat, root: Path | None) -> int:
    return bundle.encoder.encode(chat, add_generation_prompt=True, root=root).length


def with_concepts(chat: Chat, concepts: Sequence[Concept]) -> Chat:
    """The chat with concepts behind its last picture, or in front of its first question where there is none."""
    if not concepts:
        return chat
    turns = [place for place, one in enumerate(chat.messages) if _pictures(one)]
    turn = turns[-1] if turns else next(p for p, one in enumerate(chat.messages) if one.role == "user")
    message = chat.messages[turn]
    seen = _pictures(message)
    place = seen[-1] + 1 if seen else 0
    told = [(one.name, one.info, None if one.image is None else one.part()) for one in concepts]
    parts = remembered(told, first=1 if seen else 0)
    content = (*message.content[:place], *parts, *message.content[place:])
    messages = list(chat.messages)
    messages[turn] = message.model_copy(update={"content": content})
    return chat.model_copy(update={"messages": tuple(messages)})


def _pictures(message: Message) -> list[int]:
    return [place for place, part in enumerate(message.content) if isinstance(part, Image)]
