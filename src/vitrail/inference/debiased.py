"""Whether a condition holds in a picture, from the next token's probabilities, freed of two habits (CLUE, 2501.00192).

The model is asked whether condition c holds in picture x, yes or no, and its next token read::

    M(x, c) = p(yes) / (p(yes) + p(no))

*Habit of language.* With the same question and no picture the model says m0 = M(none, c). c is refuted where
``M(x, c) − m0 < α1 m0`` and accepted where ``M(x, c) − m0 > α2 (1 − m0)``: thresholds shrink with the room that the
prior leaves. *Context.* With the central thing erased from the picture, c is accepted where
``M(x, c) − M(x⁻, c) > β``: then the evidence comes from the thing itself. Otherwise c is undecided.

α1 = −0.3, α2 = 0.8 and β = 0.6 are those of a third-party implementation, not verified against the paper's text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image as PILImage

from vitrail.inference.constitution import Holds

if TYPE_CHECKING:
    from vitrail.data.records import Chat, Image
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

PROMPT = "Is this true of the picture: {condition}?\nAnswer Yes or No."
YES, NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")
FLOOR = 1e-6
Fill = Literal["mean", "black", "grey", "white"]
_FILLS = {"black": (0, 0, 0), "grey": (127, 127, 127), "white": (255, 255, 255)}


@dataclass(frozen=True)
class Share:
    """The probabilities that an answer begins with a form of yes, and of no; both may be tiny.

    Kept as natural logarithms. ``score`` is p(yes) / (p(yes) + p(no)).
    """

    log_yes: float
    log_no: float
    floor: float = FLOOR

    @property
    def score(self) -> float:
        """ValueError where the model says neither: both together have less than ``floor``."""
        both = math.exp(self.log_yes) + math.exp(self.log_no)
        if not both >= self.floor:
            raise ValueError(
                f"yes and no together have a probability of {both:.1e}, below {self.floor:g}: this model does not "
                "answer the question by yes or no; change the prompt, or take another model"
            )
        return 1 / (1 + math.exp(min(self.log_no - self.log_yes, 700.0)))


def answer_tokens(bundle: Bundle) -> tuple[list[int], list[int]]:
    """The tokens with which yes begins, and no: the first of every form with and without capital and leading space.

    What both begin with (a lone space) tells nothing and is left out. ValueError where nothing else is left.
    """
    yes, no = ({ids[0] for form in forms if (ids := bundle.encoder.text_ids(form))} for forms in (YES, NO))
    useless = (yes & no) | {bundle.tokenizer.unk_token_id}
    if not yes - useless or not no - useless:
        raise ValueError(
            f"in the tokenizer of {bundle.name} the words Yes and No begin with the same token, or with unknown ones, "
            "so they cannot be told apart; take another model"
        )
    return sorted(yes - useless), sorted(no - useless)


def asking(condition: str, picture: Image | None, prompt: str = PROMPT) -> Chat:
    """The question whether ``condition`` holds, about a picture or about none. ValueError for a prompt without it."""
    from vitrail.inference.answerers import question

    if prompt.count("{condition}") != 1:
        raise ValueError(f"the prompt {prompt!r} must hold {{condition}} once")
    text = prompt.replace("{condition}", condition.strip().rstrip("."))
    return question(text, images=[] if picture is None else [picture])


def shares(
    bundle: Bundle, encoded: Sequence[Encoded], *, batch_size: int = 16, floor: float = FLOOR
) -> list[Share]:
    """Of questions that are encoded up to the answer, in order; what pictures share is forwarded once."""
    from vitrail.inference.likelihood import option_logprobs

    yes, no = answer_tokens(bundle)
    options = [[token] for token in (*yes, *no)]
    found = option_logprobs(
        bundle.model, bundle.collator(), [(one, options) for one in encoded], batch_size=batch_size
    )
    cut = len(yes)
    return [
        Share(float(np.logaddexp.reduce(one.sums[:cut])), float(np.logaddexp.reduce(one.sums[cut:])), floor)
        for one in found
    ]


def yes_no_scores(
    bundle: Bundle,
    asked: Sequence[tuple[Image | None, str]],
    *,
    prompt: str = PROMPT,
    root: Path | None = None,
    batch_size: int = 16,
    floor: float = FLOOR,
) -> list[float]:
    """M(x, c) of pictures (None: no picture) and conditions, in order, whatever the batch size.

    ValueError for a question that does not fit into the context, or that the model answers by neither yes nor no.
    """
    chats = [asking(condition, picture, prompt) for picture, condition in asked]
    encoded = [bundle.encoder.encode(chat, add_generation_prompt=True, root=root) for chat in chats]
    return [one.score for one in shares(bundle, encoded, batch_size=batch_size, floor=floor)]


def yes_no_score(bundle: Bundle, picture: Image | None, condition: str, **options: Any) -> float:
    """M(x, c) of one picture, or of none; ``options`` as of :func:`yes_no_scores`."""
    return yes_no_scores(bundle, [(picture, condition)], **options)[0]


@dataclass(frozen=True)
class DebiasedJudge:
    """The two contrasts' thresholds; see the module. ValueError for α1 above 0, or α2 or β outside (0, 1]."""

    alpha1: float = -0.3
    alpha2: float = 0.8
    beta: float = 0.6

    def __post_init__(self) -> None:
        if not -1 <= self.alpha1 <= 0:
            raise ValueError(f"alpha1 is {self.alpha1}; give −1 to 0: below it a condition is refuted")
        for name in ("alpha2", "beta"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give more than 0 and at most 1")

    def thresholds(self, prior: float) -> tuple[float, float]:
        """Below the first, M(x, c) − m0 refutes; above the second it accepts."""
        return self.alpha1 * prior, self.alpha2 * (1 - prior)

    def against_prior(self, score: float, prior: float) -> Holds:
        """By the first contrast."""
        low, high = self.thresholds(prior)
        difference = score - prior
        return False if difference < low else True if difference > high else None

    def against_removal(self, score: float, removed: float) -> Holds:
        """By the second contrast, which accepts or leaves open."""
        return True if score - removed > self.beta else None

    def judge(self, score: float, prior: float, removed: float | None = None) -> Holds:
        """By both, in order."""
        found = self.against_prior(score, prior)
        return found if found is not None or removed is None else self.against_removal(score, removed)


def remove_region(
    picture: PILImage.Image, box: Sequence[int], fill: Fill | tuple[int, int, int] = "mean"
) -> PILImage.Image:
    """The picture (RGB) with ``box`` (x1, y1, x2, y2 in pixels) filled: with the mean colour around it, or a given one.

    ValueError for a box that does not lie in the picture.
    """
    x1, y1, x2, y2 = box
    wide, high = picture.size
    if not (0 <= x1 < x2 <= wide and 0 <= y1 < y2 <= high):
        raise ValueError(
            f"box {tuple(box)} does not lie in a picture of {wide} × {high} pixels; give x1, y1, x2, y2"
        )
    pixels = np.array(picture.convert("RGB"))
    if fill == "mean":
        outside = np.ones((high, wide), dtype=bool)
        outside[y1:y2, x1:x2] = False
        around = pixels[outside] if outside.any() else pixels.reshape(-1, 3)
        colour = around.mean(0).round().astype(np.uint8)
    else:
        given = _FILLS.get(fill, fill) if isinstance(fill, str) else fill
        if isinstance(given, str):
            raise ValueError(
                f"fill is {fill!r}; use mean, {', '.join(_FILLS)}, or a colour (red, green, blue)"
            )
        colour = np.asarray(given, dtype=np.uint8)
    pixels[y1:y2, x1:x2] = colour
    return PILImage.fromarray(pixels)
