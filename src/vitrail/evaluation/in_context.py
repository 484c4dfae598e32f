"""Examples in context: earlier questions with their answers stand before the question (ChEF's *ICE*).

An example is put as the question itself is, by the same instruction, and its right answer is the assistant's turn. The
question itself is never among its examples. Retrievers: ``random`` (by seed and question), ``fixed`` (ids), ``text``
(nearest questions by all-MiniLM-L6-v2), ``picture`` (nearest first pictures, by 16 × 16 thumbnails without their mean;
ChEF takes a ViT's features, for which ``encoder`` names a dual encoder), ``rices`` (nearest first pictures by
``encoder``, the nearest one last: :mod:`vitrail.evaluation.rices`).

``cheat`` is the test of the Multimodal Textbook (arXiv 2501.00958): one of the examples is the question itself with its
answer, so that a model which reads its context answers nearly everything right.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from vitrail.data.demonstrations import Shown, shown
from vitrail.data.episodes.neighbours import thumbnails
from vitrail.data.records import Content, Image, Message, Text
from vitrail.data.sources import Source
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.rices import embedded, nearest, rices
from vitrail.evaluation.scenarios import Item, as_item
from vitrail.evaluation.task import Settings, part_settings
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.models.experts.clip_scorer import ClipScorer


class InContext:
    """``k`` examples, then the question."""

    class Config(Settings):
        """``instruction`` puts examples and question. ``k`` of them by ``retriever``, from the file ``pool`` (default:
        the other questions). ``ids`` are those of ``fixed``; ``seed`` is that of ``random``; ``encoder`` names a dual
        encoder for ``picture`` and ``rices`` (folder, run or hub name). ``show``: how examples are shown
        (:mod:`vitrail.data.demonstrations`). ``cheat``: the question itself is one of them, at a place drawn by seed.
        """

        k: int = Field(default=1, ge=0)
        retriever: Literal["random", "fixed", "text", "picture", "rices"] = "random"
        instruction: dict[str, Any] = Field(default="plain", validate_default=True)  # type: ignore[assignment]
        pool: str | None = None
        ids: tuple[str, ...] = ()
        seed: int = Field(default=0, ge=0)
        encoder: str | None = None
        show: Shown = "pictures"
        cheat: bool = False

        @field_validator("instruction", mode="before")
        @classmethod
        def _inner(cls, value: Any) -> Any:
            return part_settings("instruction", value)

        @model_validator(mode="after")
        def _goes_together(self) -> InContext.Config:
            if (self.retriever == "fixed") != bool(self.ids):
                raise ValueError(
                    "ids are the examples of retriever 'fixed', which needs them; no other takes any"
                )
            if self.retriever == "fixed" and self.k > len(self.ids):
                raise ValueError(f"k is {self.k}, but there are {len(self.ids)} ids")
            if self.encoder is not None and self.retriever not in ("picture", "rices"):
                raise ValueError("encoder goes with retriever 'picture' or 'rices'; leave it out")
            if self.retriever == "rices" and self.encoder is None:
                raise ValueError(
                    "retriever 'rices' needs an encoder; name a CLIP, SigLIP or dual encoder: folder, run or hub name"
                )
            if self.cheat and not self.k:
                raise ValueError("cheat puts the question among its examples, and k is 0; set k to 1 or more")
            return self

    def __init__(self, config: Config) -> None:
        from vitrail.evaluation.task import built

        self.config = config
        self.inner = built("instruction", config.instruction)
        self._source: Source | None = None

    def prepare(self, source: Source) -> None:
        """Take the pool: the file's, or the questions themselves. ValueError for fewer than ``k`` that can be used."""
        if self.config.pool is not None:
            from vitrail.data.readers import open_source

            source = open_source(self.config.pool, on_error="set_aside")
        self._source = source
        for name in ("_pool", "_space"):
            self.__dict__.pop(name, None)
        if self.config.k and len(source) - (self.config.pool is None) < self.config.k:
            raise ValueError(
                f"k is {self.config.k}, but the pool has {len(source)} questions, its own excluded"
            )

    @property
    def fingerprint(self) -> str:
        """Of the pool, where it is a file of its own, and of the encoder that chooses."""
        pool = "" if self.config.pool is None or self._source is None else self._source.fingerprint
        return pool if self._scorer is None else key("examples", pool, self._scorer.fingerprint)

    @cached_property
    def _pool(self) -> list[Item]:
        if self._source is None:
            raise ValueError("examples come from a pool; call prepare(source) first")
        found = []
        for row in range(len(self._source)):
            try:
                item = as_item(self._source[row], row, self._source.root)
            except (ValueError, OSError):
                continue  # what cannot be asked can be no example
            by_picture = self.config.retriever in ("picture", "rices")
            if item.text is None and (item.chat.images or not by_picture):
                found.append(item)
        return found

    def prompt(self, item: Item) -> Prompt:
        """The prompt of an item behind its examples. ValueError where the pool has too few others."""
        prompt: Prompt = self.inner.prompt(item)
        if not self.config.k:
            return prompt
        turns = [turn for example in self._chosen(item) for turn in self._shown(example)]
        system = [message for message in prompt.chat.messages if message.role == "system"]
        rest = [message for message in prompt.chat.messages if message.role != "system"]
        chat = prompt.chat.model_copy(update={"messages": (*system, *turns, *rest)})
        if self.config.show != "pictures":
            chat = shown(chat, self.config.show, self.config.k)
        return Prompt(chat, prompt.beginning, prompt.options, prompt.reference)

    def _shown(self, example: Item) -> list[Message]:
        prompt: Prompt = self.inner.prompt(example)
        answer = prompt.reference if example.answer is None else prompt.options[example.answer]
        asked = [message for message in prompt.chat.messages if message.role != "system"]
        asked = [message.model_copy(update={"content": _held(message, example.root)}) for message in asked]
        said = Message(role="assistant", content=(Text(text=f"{prompt.beginning}{answer}".strip()),))
        return [*asked, said]

    def _chosen(self, item: Item) -> list[Item]:
        if not self.config.cheat:
            return self._others(item, self.config.k)
        found = self._others(item, self.config.k - 1)
        place = int(key("cheat", self.config.seed, item.id)[:8], 16) % self.config.k
        return [*found[:place], item, *found[place:]]

    def _others(self, item: Item, k: int) -> list[Item]:
        """``k`` examples, the question itself left out."""
        others = [one for one in self._pool if not _same(one, item)]
        if len(others) < k:
            raise ValueError(f"k is {k}, but the pool has {len(others)} other questions; ask for fewer")
        if not k:
            return []
        if self.config.retriever == "fixed":
            return self._fixed(others, k)
        if self.config.retriever == "random":
            draws = np.random.default_rng(int(key("examples", self.config.seed, item.id)[:16], 16))
            return [others[int(place)] for place in draws.choice(len(others), k, replace=False)]
        itself = [place for place, one in enumerate(self._pool) if _same(one, item)]
        choose = rices if self.config.retriever == "rices" else nearest
        return [self._pool[place] for place in choose(self._embedded([item])[0], self._space, k, itself)]

    def _fixed(self, others: list[Item], k: int) -> list[Item]:
        named = {one.id: one for one in others}
        wanted = [name for name in self.config.ids if name in named]
        if len(wanted) < k:
            gone = [name for name in self.config.ids if name not in named]
            raise ValueError(
                f"of ids, {gone} are not in the pool, or are the question itself; name others as well"
            )
        return [named[name] for name in wanted[:k]]

    @cached_property
    def _space(self) -> np.ndarray:
        """The pool's vectors; those of an encoder from the cache, where they were made before."""
        if self._scorer is None:
            return self._embedded(self._pool)
        from vitrail.storage.cache import FolderCache

        assert self._source is not None
        name = key("pool of examples", self._source.fingerprint, self._scorer.fingerprint)

        def make(folder: Path) -> None:
            np.save(folder / "vectors.npy", self._embedded(self._pool), allow_pickle=False)

        found = np.load(FolderCache().get_or_make(name, make) / "vectors.npy", allow_pickle=False)
        return np.asarray(found)

    def _embedded(self, items: list[Item]) -> np.ndarray:
        if self.config.retriever == "text":
            from vitrail.papers.meaning import encode

            return np.asarray(encode([item.chat.messages[-1].text for item in items]))
        embed = thumbnails if self._scorer is None else self._scorer.embed_images
        return embedded((_first(item).open(item.root) for item in items), embed)

    @cached_property
    def _scorer(self) -> ClipScorer | None:
        if self.config.encoder is None:
            return None
        from vitrail.models.experts.clip_scorer import ClipScorer

        return ClipScorer.from_pretrained(self.config.encoder)


def _same(one: Item, other: Item) -> bool:
    return one.id == other.id or one.chat.messages == other.chat.messages


def _first(item: Item) -> Image:
    if not item.chat.images:
        raise ValueError("has no picture to find examples by; use retriever 'text' or 'random'")
    return item.chat.images[0]


def _held(message: Message, root: Path | None) -> tuple[Content, ...]:
    """Content whose pictures carry their bytes: an example may come from another folder than the question."""
    return tuple(
        Image(bytes=part.read(root), width=part.width, height=part.height)
        if isinstance(part, Image)
        else part
        for part in message.content
    )
