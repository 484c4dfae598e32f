"""Pictures with texts that have nothing to do with them: a user gives a picture, an assistant says the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.data.sources import Source, shuffle


def story_body(story: str) -> str:
    """The body of a story file of CNN / DailyMail: what stands before its first ``@highlight``."""
    return story.partition("@highlight")[0].strip()


def unrelated_pairs(
    source: Source,
    n: int,
    *,
    texts: Source | Sequence[str] | None = None,
    seed: int = 0,
    max_words: int = 400,
) -> list[Chat]:
    """``n`` chats: the first picture of a record of ``source``, then a text.

    ``texts`` are strings or records, of which the written parts count; without them a text is the answers of other
    records, one behind the other, up to ``max_words`` words, from half the source away. Which records, which texts and
    which with which depends on ``seed``. ValueError if there are not ``n`` of either, or a picture stands in an answer.
    """
    if n < 2:
        raise ValueError(f"n is {n}; a distance of two distributions needs at least 2 pairs")
    if max_words < 1:
        raise ValueError(f"max_words is {max_words}; give at least 1")
    order = shuffle(source, seed)
    pictures: list[tuple[int, Image]] = []
    for index in range(len(order)):
        image = _first_picture(order[index])
        if image is not None:
            pictures.append((index, image))
        if len(pictures) == n:
            break
    if len(pictures) < n:
        raise ValueError(
            f"{source.name!r} has {len(pictures)} records with a picture, n is {n}; lower n or give more"
        )
    if texts is None:
        found = _answers(order, [index for index, _ in pictures], max_words, source.name)
    else:
        found = _drawn(texts, n, seed)
    return [
        Chat(
            messages=(
                Message(role="user", content=(image,)),
                Message(role="assistant", content=(Text(text=_cut(text, max_words)),)),
            ),
            id=f"unrelated-{number}",
        )
        for number, ((_, image), text) in enumerate(zip(pictures, found, strict=True))
    ]


def _first_picture(record: Any) -> Image | None:
    """The first picture in front of any answer. ValueError for one in an answer."""
    if not isinstance(record, Chat):
        raise ValueError(f"a {type(record).__name__} is no chat; give chats with pictures")
    for message in record.messages:
        for part in message.content:
            if isinstance(part, Image):
                if message.role == "assistant":
                    raise ValueError(
                        f"record {record.id!r} has a picture in an answer; what is text behind it is not known"
                    )
                return part
    return None


def _answers(order: Source, places: Sequence[int], max_words: int, name: str) -> list[str]:
    found = []
    for place in places:
        words: list[str] = []
        for step in range(len(order) - 1):
            other = (place + 1 + (len(order) // 2 + step) % max(len(order) - 1, 1)) % len(order)
            words += written(order[other], "assistant").split()
            if len(words) >= max_words:
                break
        if not words:
            raise ValueError(f"the answers of {name!r} hold no words; give texts")
        found.append(" ".join(words))
    return found


def _drawn(texts: Source | Sequence[str], n: int, seed: int) -> list[str]:
    if len(texts) < n:
        raise ValueError(f"texts holds {len(texts)}, n is {n}; give at least as many, or lower n")
    if isinstance(texts, (list, tuple)):
        import numpy as np

        draws = np.random.Philox(key=seed + 1).random_raw(
            len(texts)
        )  # another order than that of the pictures
        found = [str(texts[index]) for index in np.argsort(draws, kind="stable")[:n]]
    else:
        mixed = shuffle(texts, seed + 1)  # type: ignore[arg-type]
        found = [written(mixed[index]) for index in range(n)]
    if empty := [index for index, text in enumerate(found) if not text.strip()]:
        raise ValueError(f"texts: number {empty[0]} of those drawn has no words")
    return found


def written(record: Any, role: str | None = None) -> str:
    """The written parts of a chat (of one role's turns, if given) or of a document."""
    if isinstance(record, Chat):
        parts = [part for one in record.messages if role in (None, one.role) for part in one.content]
    else:
        parts = list(getattr(record, "content", ()))
    return " ".join(part.text for part in parts if isinstance(part, Text))


def _cut(text: str, max_words: int) -> str:
    return " ".join(text.split()[:max_words])
