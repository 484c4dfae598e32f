"""Training data of RagLLaVA: yes and no for the reranker, a wrong picture in the prompt for the generator.

Chen et al. 2024 (arXiv 2407.21439). For each question, each right picture gives "Yes" and a hard negative, one that the
retriever found and that is wrong, gives "No". A question answered from one picture gets such a negative beside it, in
random order; its answer stays. Questions with several pictures stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.inference.reranking import NO, YES, relevance_chat


@dataclass(frozen=True)
class Candidate:
    """A picture of the corpus: its name there, itself, and its caption (None: without)."""

    name: str
    image: Image
    caption: str | None = None


def rerank_examples(
    query: str, retrieved: Sequence[Candidate], gold: Sequence[Candidate], negatives: int = 1
) -> list[Chat]:
    """A chat that ends with Yes for each of ``gold``, and one with No for the ``negatives`` first wrong ones.

    ``retrieved``: the retriever's, best first. ValueError for a question without a right picture, or where fewer wrong
    ones were retrieved.
    """
    if not gold:
        raise ValueError(f"the question {query!r:.60} has no right picture; leave it out")
    right = {one.name for one in gold}
    wrong = [one for one in retrieved if one.name not in right][:negatives]
    if len(wrong) < negatives:
        raise ValueError(
            f"of {len(retrieved)} pictures retrieved for {query!r:.60} {len(wrong)} are wrong, and {negatives} are "
            "asked for; retrieve more"
        )
    labelled = [*((one, YES) for one in gold), *((one, NO) for one in wrong)]
    return [_answered(relevance_chat(query, one.image, one.caption), word) for one, word in labelled]


def inject_distractor(chat: Chat, negatives: Sequence[Image], rng: random.Random) -> Chat:
    """The chat with one of ``negatives`` before or behind its only picture; a chat of several stays as it is.

    ValueError for a chat without a picture, or without a negative where one is needed.
    """
    pictures = chat.images
    if not pictures:
        raise ValueError(f"chat {chat.id!r} has no picture, so there is none to distract from; leave it out")
    if len(pictures) > 1:
        return chat
    if not negatives:
        raise ValueError(f"chat {chat.id!r} has no hard negative; retrieve more pictures for its question")
    other, first = rng.choice(list(negatives)), rng.random() < 0.5

    def placed(message: Message) -> Message:
        content = [
            part
            for one in message.content
            for part in (((other, one) if first else (one, other)) if isinstance(one, Image) else (one,))
        ]
        return message.model_copy(update={"content": tuple(content)})

    return chat.model_copy(update={"messages": tuple(map(placed, chat.messages))})


def _answered(chat: Chat, word: str) -> Chat:
    answer = Message(role="assistant", content=(Text(text=word),))
    return chat.model_copy(update={"messages": (*chat.messages, answer)})
