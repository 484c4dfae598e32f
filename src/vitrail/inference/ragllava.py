"""RagLLaVA at inference: pictures are retrieved from a memory, reranked by a model, and those left are answered from.

Chen et al. 2024, "MLLM Is a Strong Reranker" (arXiv 2407.21439), later renamed RagVL. The question's vector finds ``k``
candidates, whose pictures the reranker scores (:mod:`vitrail.inference.reranking`); the best ``n`` with p_yes ≥ ``eta``
stand in front of the question, in rank order. A concept's line (``info``) is its caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.records import Chat
from vitrail.inference.concepts import PICTURES, WORDS
from vitrail.inference.methods import Rewritten
from vitrail.inference.recall import Found, by_words
from vitrail.inference.remembering import Remembering
from vitrail.inference.reranking import YesNoReranker, kept

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


class RagLLaVA(Remembering):
    """See the module."""

    changes: ClassVar[str] = "the pictures of the prompt"

    class Config(BaseModel):
        """``memory``: a file that ``vitrail memory add`` made. ``k``: candidates; ``n``: pictures kept at most;
        ``eta``: the least p_yes (0: no threshold). ``rerank``: false keeps the retriever's order. ``reranker``: the
        folder, run or hub name of another model that reranks (default: the one that answers). ``captions``: whether it
        reads them. ``lines``: compare the question with lines of text, although the memory's encoder sees pictures.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        memory: str
        k: int = Field(default=20, ge=1)
        n: int = Field(default=2, ge=1)
        eta: float = Field(default=0.0, ge=0, le=1)
        rerank: bool = True
        reranker: str | None = None
        captions: bool = True
        lines: bool = False

        @model_validator(mode="after")
        def _fits(self) -> RagLLaVA.Config:
            if self.k < self.n:
                raise ValueError(f"k is {self.k} and n {self.n}; retrieve at least as many as are kept")
            if not self.rerank and (self.eta or self.reranker):
                raise ValueError("eta and reranker have no effect with rerank: false; remove them")
            return self

    @cached_property
    def _other(self) -> Any:
        from vitrail.models.loading import load

        return load(str(self.config.reranker))

    def rewrite(self, bundle: Bundle, chat: Chat, root: Path | None) -> Rewritten:
        """The chat with pictures in front of its last question; the trace has the evidence, best first."""
        query = chat.messages[-1].text
        candidates = self.candidates(query)
        scores = [-one.distance for one in candidates]
        if self.config.rerank:
            model = bundle if self.config.reranker is None else self._other
            scores = self.scores(model, query, candidates)
        n = min(self.config.n, len(candidates))
        places = kept(scores, n, self.config.eta if self.config.rerank else float("-inf"))
        chosen = [candidates[place] for place in places]
        evidence: list[dict[str, Any]] = [
            {
                "name": one.concept.name,
                "distance": round(one.distance, 6),
                **({"p_yes": round(scores[place], 6)} if self.config.rerank else {}),
            }
            for one, place in zip(chosen, places, strict=True)
        ]
        trace = {"evidence": evidence, "candidates": len(candidates)}
        last = chat.messages[-1]
        content = (*(one.concept.part() for one in chosen), *last.content)
        messages = (*chat.messages[:-1], last.model_copy(update={"content": content}))
        return Rewritten(chat.model_copy(update={"messages": messages}) if chosen else chat, trace)

    def require_live(self, bundle: Bundle) -> None:
        """As any memory's; another model that reranks is loaded."""
        super().require_live(bundle)
        if self.config.reranker is not None:
            _ = self._other

    def told(self, chat: Chat, trace: Mapping[str, Any]) -> dict[str, Any]:
        """The evidence with its pictures."""
        return {**trace, "evidence": self.cards(trace.get("evidence", []))} if trace else {}

    def candidates(self, query: str) -> list[Found]:
        """The retriever's ``k``, nearest first. ValueError for a memory without pictures."""
        space = PICTURES if self.store.sees and not self.config.lines else WORDS
        found = by_words(self.store, query, self.config.k, space)
        found = [one for one in found if one.concept.image is not None]
        if not found:
            raise ValueError(
                f"{self.config.memory} holds no picture to answer from; add some with vitrail memory add --image"
            )
        return found

    def scores(self, model: Bundle, query: str, candidates: list[Found]) -> list[float]:
        """p_yes of each candidate. ValueError for a missing caption where captions are read."""
        captions = [one.concept.info for one in candidates] if self.config.captions else None
        missing = next((one for one in candidates if captions is not None and not one.concept.info), None)
        if missing is not None:
            raise ValueError(
                f"{missing.concept.name!r} has no line (info) for the reranker to read; add one, or say captions: false"
            )
        return YesNoReranker(model).score(query, [one.concept.part() for one in candidates], captions)
