"""The words of an episode, with marks for the picture and the label."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from vitrail.data.records import Content, Frozen, Image, Text

IMAGE, LABEL = "<image>", "{label}"


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


def _counts(shots: tuple[int, ...]) -> tuple[int, ...]:
    if min(shots) < 0:
        raise ValueError(f"shots is {min(shots)}; give 0 or more examples of each class")
    return shots


Shots = Annotated[tuple[int, ...], Field(min_length=1), BeforeValidator(_several), AfterValidator(_counts)]
"""Examples of each class, K: one number, or several that take turns."""


class EpisodeWording(Frozen):
    """How examples and the question are put; each user's turn has one ``<image>``, the answer one ``{label}``.

    ``queries``: one is drawn; ``direct`` is asked where there are no examples. ``system`` says what to do with
    them; null for templates that take no system turn.
    """

    system: str | None = (
        "Find the causal relation between the pictures and the words of the examples, and answer the [FINAL QUESTION] "
        "from it."
    )
    example: str = "[BEGIN EXAMPLE] What is in the image <image>?"
    example_end: str = " [END EXAMPLE]"
    queries: tuple[str, ...] = (
        "[FINAL QUESTION]: Based on the previous examples, what is in the image <image>?",
        "[FINAL QUESTION]: Going by the examples above, what can be seen in the image <image>?",
        "[FINAL QUESTION]: With what the examples show in mind, what does the image <image> show?",
        "[FINAL QUESTION]: Following the examples given, what is the content of the image <image>?",
    )
    direct: str = "What is in the image <image>?"
    answer: str = 'there is "{label}" in the image.'

    @model_validator(mode="after")
    def _marked(self) -> EpisodeWording:
        if not self.queries:
            raise ValueError("queries is empty; give one question at least")
        for name, text in (
            ("example", self.example),
            ("direct", self.direct),
            *(("queries", q) for q in self.queries),
        ):
            if text.count(IMAGE) != 1:
                raise ValueError(
                    f"{name} is {text!r}, without exactly one {IMAGE} mark; say where the picture is"
                )
        if self.answer.count(LABEL) != 1:
            raise ValueError(
                f"answer is {self.answer!r}, without exactly one {LABEL}; say where the label is"
            )
        return self

    def said(self, label: str) -> str:
        """The answer that names a label."""
        return self.answer.replace(LABEL, label)


SHORT = EpisodeWording(
    system=None,
    example="<image>What is this?",
    example_end="",
    queries=("<image>What is this?",),
    direct="<image>What is this?",
    answer="{label}",
)
"""As few tokens as will do, for small contexts."""
WORDINGS = {"published": EpisodeWording(), "short": SHORT}
"""``published``: the marks and sentences of Link-Context Learning, its list of questions shortened."""


def with_picture(text: str, picture: Image) -> tuple[Content, ...]:
    """A text with a picture in place of its mark. ValueError where it has not exactly one."""
    before, mark, behind = text.partition(IMAGE)
    if not mark or IMAGE in behind:
        raise ValueError(f"the turn {text!r} must have exactly one {IMAGE} mark")
    return (*((Text(text=before),) if before else ()), picture, *((Text(text=behind),) if behind else ()))
