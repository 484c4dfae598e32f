"""Whether two models read a record alike: the same words, and as many visual tokens for each picture.

A teacher's distribution at a position is compared with the student's at the same one, so both must see the same tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitrail.data.image_plans.plan import ImagePlanner, Marker, plans_of

_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Two  spaces,\n a line break\tand a tab; 3.14159 × 1,234,567 = ?",
    "Où est le château ? 桥在哪里？ Где мост? 🙂",
    'def f(x):\n    return {"a": [x, -1e-5]}\n',
)
_SIZES = ((64, 64), (224, 224), (336, 336), (640, 480), (480, 640), (1000, 300), (300, 1000))


@dataclass(frozen=True)
class Reader:
    """How a model reads records: its tokenizer, what a picture becomes (None: it takes none), the placeholder's id."""

    tokenizer: Any
    planner: ImagePlanner | None = None
    image_token_id: int | None = None

    @classmethod
    def of(cls, encoder: Any) -> Reader:
        """Of a :class:`~vitrail.models.encoding.ChatEncoder`."""
        return cls(encoder.tokenizer, encoder.planner, encoder.image_token_id)


@dataclass(frozen=True)
class Aligned:
    """What two readers share: the first ``vocabulary`` words; ``text_alone`` where the teacher takes no pictures."""

    vocabulary: int
    text_alone: bool = False


def align(student: Reader, teacher: Reader) -> Aligned:
    """What both share. ValueError, with the first difference, for different tokenizers or visual tokens."""
    vocabulary = _common_words(student, teacher)
    if student.planner is None:
        return Aligned(vocabulary)
    if teacher.planner is None:
        return Aligned(vocabulary, text_alone=True)
    for size in _SIZES:
        own, other = _spans(student.planner, size), _spans(teacher.planner, size)
        if own is not None and other is not None and own != other:
            raise ValueError(
                f"a picture of {size[0]} × {size[1]} pixels becomes {_said(own)} in the student and {_said(other)} in "
                "the teacher: their positions do not correspond; use a teacher of as many visual tokens, or the same "
                "image settings"
            )
    return Aligned(vocabulary)


def _common_words(student: Reader, teacher: Reader) -> int:
    own, other = student.tokenizer, teacher.tokenizer
    common = min(len(own), len(other))
    placeholders = {student.image_token_id, teacher.image_token_id}
    words = [{index: word for word, index in one.get_vocab().items()} for one in (own, other)]
    for index in range(common):
        if words[0].get(index) != words[1].get(index) and index not in placeholders:
            raise ValueError(
                f"token {index} is {words[0].get(index)!r} to the student and {words[1].get(index)!r} to the teacher: "
                "distributions over different words cannot be compared; use a teacher of the same tokenizer"
            )
    for text in _TEXTS:
        if own.encode(text, add_special_tokens=False) != other.encode(text, add_special_tokens=False):
            raise ValueError(
                f"the tokenizers of student and teacher cut {text!r} differently; use a teacher of the same tokenizer"
            )
    return common


def _spans(planner: ImagePlanner, size: tuple[int, int]) -> list[int | str] | None:
    """Runs of visual tokens and the texts around them; None for a size that the model refuses."""
    try:
        plan = plans_of(planner, [size])[0]
    except ValueError:
        return None
    return [span.text if isinstance(span, Marker) else len(span) for span in plan.spans]


def _said(spans: list[int | str]) -> str:
    visual = sum(span for span in spans if isinstance(span, int))
    texts = sum(isinstance(span, str) for span in spans)
    return f"{visual} visual tokens" + (f" and {texts} texts around them" if texts else "")
