"""A vision-language model that is asked what a frame shows, as the Multimodal Textbook (arXiv 2501.00958) asks one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrail.inference.answerers import Answerer

PROMPT = "Write down all text, symbols and formulas that this picture shows, line by line, and nothing else."


class ModelReader:
    """Reads pictures by an answerer; see :class:`vitrail.models.experts.reading.TextReader`."""

    def __init__(self, answerer: Answerer, prompt: str = PROMPT, max_new_tokens: int = 512) -> None:
        self._answerer, self._prompt, self._tokens = answerer, prompt, max_new_tokens
        self.fingerprint = f"model:{answerer.name}:{prompt}:{max_new_tokens}"

    def read(self, pictures: Sequence[Any]) -> list[str]:
        """The text of each picture (Pillow)."""
        from vitrail.data.records import Image
        from vitrail.inference.answerers import question
        from vitrail.inference.generation import GenerationSettings

        chats = [question(self._prompt, images=[Image(bytes=encoded(one, "PNG"))]) for one in pictures]
        replies = self._answerer.ask(chats, GenerationSettings(max_new_tokens=self._tokens))
        return [reply.text.strip() for reply in replies]


def encoded(picture: Any, form: str = "JPEG") -> bytes:
    """The bytes of a Pillow picture."""
    out = io.BytesIO()
    picture.convert("RGB").save(out, form, **({"quality": 90} if form == "JPEG" else {}))
    return out.getvalue()
