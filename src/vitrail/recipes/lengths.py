"""How long a source's records are for a model, from a sample: tokens, labelled tokens, pictures and their plans.

With the model's tokenizer at hand a record is encoded as in training. Without one its text counts four characters a
token. Either way pictures cost what the model's planner says for their real sizes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vitrail.data.image_plans.plan import ImagePlan, ImagePlanner, Marker, plans_of
from vitrail.data.records import Chat, Document, Text

SAMPLE = 32  # records whose lengths are looked at
CHARACTERS_A_TOKEN = 4.0  # English text with a vocabulary of 32,000 and more
TEMPLATE_TOKENS = 5  # a turn's own: begin, role, line break, end, line break
_SPECIAL = re.compile(r"<[^<>]+>")


@dataclass(frozen=True)
class Lengths:
    """Mean numbers of a source's records, from a sample of ``sampled``: tokens, labelled tokens, pictures.

    ``longest`` and ``most_labelled`` are those of single records, and the most there can be where the recipe sets a
    limit. ``exact``: tokens were counted by the model's own tokenizer.
    """

    tokens: float
    labelled: float
    pictures: float
    sampled: int
    longest: float = 0.0
    most_labelled: float = 0.0
    exact: bool = False


@dataclass(frozen=True)
class Sampled:
    """Lengths, and the plans of each sampled record's pictures."""

    lengths: Lengths
    plans: list[list[ImagePlan]] = field(default_factory=list)

    @property
    def richest(self) -> list[ImagePlan]:
        """The plans of the record with the most pixels."""
        return max(self.plans, default=[], key=lambda plans: sum(_pixels(plan) for plan in plans))


def _pixels(plan: ImagePlan) -> int:
    return sum(tile.size[0] * tile.size[1] for tile in plan.tiles)


def sample(
    source: Any,
    planner: ImagePlanner | None,
    encode: Callable[..., Any] | None = None,
    max_length: int | None = None,
) -> Sampled:
    """Look at up to ``SAMPLE`` records spread over ``source``.

    ``encode``: a :class:`~vitrail.models.encoding.ChatEncoder`'s, for exact lengths. ``max_length``: the most tokens
    that a record may have; longer ones are not counted. ValueError if no sampled record can be used.
    """
    count = min(len(source), SAMPLE)
    rows: list[tuple[float, float, list[ImagePlan]]] = []
    why = ""
    for position in range(count):
        record = source[position * len(source) // count]
        try:
            rows.append(_row(record, source.root, planner, encode, max_length))
        except ValueError as error:  # training sets it aside, or names it
            why = str(error)
    if not rows:
        raise ValueError(f"{source.name}: none of {count} sampled records can be used ({why})")
    tokens, labelled, plans = (list(column) for column in zip(*rows, strict=True))
    longest = max(tokens)
    most = max(labelled)
    if max_length is not None:
        most, longest = most * max_length / longest, float(max_length)
    n = len(rows)
    lengths = Lengths(
        sum(tokens) / n, sum(labelled) / n, sum(map(len, plans)) / n, n, longest, most, encode is not None
    )
    return Sampled(lengths, plans)


def _row(
    record: Any,
    root: Any,
    planner: ImagePlanner | None,
    encode: Callable[..., Any] | None,
    max_length: int | None,
) -> tuple[float, float, list[ImagePlan]]:
    if not isinstance(record, (Chat, Document)):
        raise ValueError(f"it is a {record.kind}, which stages do not read; give conversations or documents")
    sizes = [_size(image, root) for image in getattr(record, "images", ())]
    if sizes and planner is None:
        raise ValueError("it has pictures, and what they cost this model is not known")
    plans = plans_of(planner, sizes) if planner is not None and sizes else []
    if isinstance(record, Document):
        tokens, labelled = _document(record, root, plans, sizes, encode)
        share = 1.0 if max_length is None else min(1.0, max_length / tokens)  # longer ones are divided
        return tokens * share, labelled * share, plans
    if encode is not None:
        asks = record.messages[-1].role != "assistant"
        encoded = encode(record, root=root, sizes=sizes, add_generation_prompt=asks)
        tokens, labelled = float(encoded.length), float(encoded.labelled)
    else:
        tokens, labelled = _estimated(record, plans)
    if max_length is not None and tokens > max_length:
        raise ValueError(f"it has {tokens:.0f} tokens, more than max_length={max_length}")
    return tokens, labelled, plans


def _document(
    record: Document, root: Any, plans: list[ImagePlan], sizes: Any, encode: Callable[..., Any] | None
) -> tuple[float, float]:
    if encode is not None:
        encoded = encode(record, root=root, sizes=sizes)
        return float(encoded.length), float(encoded.labelled)
    text = sum(len(part.text) for part in record.content if isinstance(part, Text)) / CHARACTERS_A_TOKEN + 1
    return 1 + text + sum(plan.num_tokens + _markers(plan) for plan in plans), text


def _estimated(record: Any, plans: list[ImagePlan]) -> tuple[float, float]:
    tokens = float(sum(plan.num_tokens + _markers(plan) for plan in plans))
    labelled = 0.0
    for message in record.messages:
        text = len(message.text) / CHARACTERS_A_TOKEN
        tokens += text + TEMPLATE_TOKENS
        labelled += text + 1 if message.role == "assistant" else 0
    return tokens, labelled


def _markers(plan: ImagePlan) -> float:
    """Tokens of a plan's own texts: one for each special token, the rest as text."""
    total = 0.0
    for span in plan.spans:
        if isinstance(span, Marker):
            special = _SPECIAL.findall(span.text)
            total += len(special) + (len(span.text) - sum(map(len, special))) / CHARACTERS_A_TOKEN
    return total


def _size(image: Any, root: Any) -> tuple[int, int]:
    if image.width and image.height:
        return image.width, image.height
    try:
        found: tuple[int, int] = image.open(root).size
    except OSError as error:
        raise ValueError(str(error)) from None
    return found
