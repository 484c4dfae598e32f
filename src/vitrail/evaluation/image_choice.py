"""Scoring a model that makes pictures, as a choice between candidates (SEED-Bench-2, arXiv 2311.17092).

The model's picture is compared with each candidate by cosine similarity of CLIP features, and the nearest is its
answer. For text and picture together (dimension 27) the text is chosen first, and only where it is right is a picture
asked for; both must be right. Which CLIP the paper took was not checked; any dual encoder's ``embed_images`` will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from vitrail.data.records import Chat, Message
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, opened

if TYPE_CHECKING:
    from vitrail.evaluation.benchmarks.benchmark import BenchmarkSource

Maker = Callable[[Chat, Path | None], "PILImage.Image | None"]
"""Makes a picture for a chat that ends with a user's turn."""
Embed = Callable[[Sequence[PILImage.Image]], np.ndarray]
"""Pictures → features (images, dim), as :meth:`vitrail.models.experts.clip_scorer.ClipScorer.embed_images`."""
Rank = Callable[[Chat, Sequence[str]], int]
"""Which of several texts answers a chat."""


@dataclass(frozen=True)
class ImageChoice:
    """The nearest candidate's index, and the cosine similarity of each."""

    choice: int
    similarities: tuple[float, ...]


class ImageChooser:
    """Asks for a picture, and takes the candidate that is most alike."""

    def __init__(self, make: Maker, embed: Embed) -> None:
        self.make, self.embed = make, embed

    def choose(
        self, chat: Chat, candidates: Sequence[PILImage.Image], root: Path | None = None
    ) -> ImageChoice:
        """The choice for a chat. ValueError where the model makes nothing, or there are no two candidates."""
        if len(candidates) < 2:
            raise ValueError(f"{len(candidates)} candidates leave no choice; give two or more")
        made = self.make(chat, root)
        if made is None:
            raise ValueError("the model made no picture; nothing can be compared")
        features = np.asarray(self.embed([made.convert("RGB"), *candidates]), float)
        features = features / np.linalg.norm(features, axis=-1, keepdims=True)
        similarities = features[1:] @ features[0]
        return ImageChoice(int(similarities.argmax()), tuple(float(one) for one in similarities))


class TwoStepChooser:
    """A text first, then a picture for it; the picture is asked for only where the text is right."""

    def __init__(self, rank: Rank, images: ImageChooser) -> None:
        self.rank, self.images = rank, images

    def choose(
        self,
        chat: Chat,
        texts: Sequence[str],
        candidates: Sequence[PILImage.Image],
        answer: int,
        root: Path | None = None,
    ) -> tuple[int, ImageChoice | None]:
        """The text's index, and the choice of picture (None where the text was wrong)."""
        text = self.rank(chat, texts)
        return text, self.images.choose(chat, candidates, root) if text == answer else None


def made_rows(
    source: BenchmarkSource, images: ImageChooser, rank: Rank | None = None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Answers to the questions of a source that ask for a picture, as rows for its figures; and why others have none.

    Questions with texts as well need ``rank``. Such rows and those of a file of answers together give the figures of
    all parts: ``SeedBench2.figures([*answers.rows, *rows])``.
    """
    rows, left = [], {}
    for number, question in enumerate(source.questions):
        if not question.candidates:
            continue
        try:
            rows.append({"row": number, **_answered(question, source.root, images, rank)})
        except (ValueError, OSError) as error:
            left[question.id] = " ".join(str(error).split())
    return rows, left


def _answered(
    question: BenchmarkQuestion, root: Path | None, images: ImageChooser, rank: Rank | None
) -> dict[str, Any]:
    base = Path(root or ".")
    chat = Chat(id=question.id, messages=(Message(role="user", content=opened(question.content, base)),))
    candidates = [part.open(base) for part in opened(question.candidates, base)]  # type: ignore[union-attr]
    texts = [part.text for part in question.options if hasattr(part, "text")]
    answer = question.answer or 0
    if texts:
        if rank is None:
            raise ValueError("has texts to choose from as well; give rank")
        text, image = TwoStepChooser(rank, images).choose(chat, texts, candidates, answer, root)
        right = text == answer and image is not None and image.choice == answer
        prediction = text if image is None else image.choice
    else:
        prediction = images.choose(chat, candidates, root).choice
        right = prediction == answer
    return {
        "id": question.id,
        "kind": question.kind,
        "cluster": question.cluster,
        "groups": dict(question.groups),
        "options": texts or [f"picture {place + 1}" for place in range(len(candidates))],
        "answer": answer,
        "prediction": prediction,
        "correct": right,
        "parsed": True,
    }
