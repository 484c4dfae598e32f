"""A model at an address, evaluated as one here is: what is asked, kept and scored is the same.

It answers in words (:class:`~vitrail.evaluation.inferencers.Generate`); likelihoods need a model here. Retries,
budget and what is never asked twice are :class:`~vitrail.inference.remote.RemoteAnswerer`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.evaluation.instructions import Prompt
    from vitrail.inference.generation import GenerationSettings
    from vitrail.inference.remote import RemoteAnswerer


@dataclass(frozen=True)
class RemoteAsked:
    """A chat to be asked, and where its pictures are."""

    chat: Chat
    root: Path | None


class RemoteModel:
    """In the place of a :class:`~vitrail.models.bundle.Bundle` in ``run_task``."""

    def __init__(self, answerer: RemoteAnswerer) -> None:
        self.answerer = answerer

    @property
    def name(self) -> str:
        """The model and its address."""
        return self.answerer.name

    def require(self, inferencer: str, methods: Sequence[Any]) -> None:
        """ValueError for what cannot be done at an address."""
        if methods:
            raise ValueError(
                "methods of inference change a model here; leave them out for a model at an address"
            )
        if inferencer != "generate":
            raise ValueError(
                f"inferencer {inferencer!r} reads probabilities off a model here; one at an address answers in words: "
                "use --inferencer generate, or --mode letters for a benchmark"
            )

    def encode(self, prompt: Prompt, root: Path | None) -> RemoteAsked:
        """What is sent. ValueError for a prompt that begins the answer."""
        if prompt.beginning:
            raise ValueError("begins the answer for the model, which an address does not take")
        return RemoteAsked(prompt.chat, root)

    def ask(self, asked: Sequence[RemoteAsked], settings: GenerationSettings) -> list[dict[str, Any]]:
        """For each: ``text``, and ``finished``; or why it was ``refused``, the ``status`` where the address said one,
        and whether it ``failed`` instead: no answer after all tries. ValueError as :meth:`RemoteAnswerer.ask_each`.
        """
        from vitrail.inference.remote import Refusal

        roots = {one.root for one in asked}
        found: dict[int, dict[str, Any]] = {}
        for root in roots:
            places = [place for place, one in enumerate(asked) if one.root == root]
            replies = self.answerer.ask_each([asked[place].chat for place in places], settings, root=root)
            for place, reply in zip(places, replies, strict=True):
                if isinstance(reply, Refusal):
                    told = {"status": reply.status, "failed": reply.failed}
                    found[place] = {"refused": reply.reason, **told}
                else:
                    found[place] = {"text": reply.text, "finished": reply.finished}
        return [found[place] for place in range(len(asked))]

    def is_down(self, error: ValueError) -> bool:
        """Whether a run was stopped because the address answers nobody."""
        from vitrail.inference.remote_failures import AddressDown

        return isinstance(error, AddressDown)

    def fingerprints(self, instruction: dict[str, Any]) -> dict[str, str]:
        """What answers depend on, as far as it can be known from here: the address and the name there."""
        settings = self.answerer.settings
        model = key(
            "address",
            settings.base_url.rstrip("/"),
            settings.model,
            json.dumps(settings.extra, sort_keys=True),
        )
        prompt = key("prompt", json.dumps(instruction, sort_keys=True))
        return {"prompt": prompt, "processor": "at the address", "model": model}
