"""Documents with a picture that nobody should be trained on, found by a classifier and confirmed by a detector.

As mOSCAR (arXiv 2406.08707): a picture is suspect when the probabilities of ``labels`` sum to more than 0.8 (there:
porn and hentai), and unsafe when a detector also finds an exposed part with more than 0.5; one unsafe picture removes
the whole document. With other labels and threshold, and without a detector, the same operation is its second filter
(a classifier of abuse, above 0.4).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field

from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    dropped,
    without_parts,
)
from vitrail.data.records import Document, Image
from vitrail.registry import nearest


class UnsafeImages(Operation):
    """A document with an unsafe picture goes. A picture that is not at hand is not judged."""

    class Config(OperationConfig):
        """``classifier``: ``open_nsfw`` or an image classifier of transformers; ``labels`` whose probabilities are
        summed; ``detector``: ``nudenet``, an object detector of transformers, or null for none; ``exposed``: patterns
        of its labels. ``unjudged``: pictures that cannot be read are kept, or removed. ``reason``: what is counted.
        """

        classifier: str = Field(default="open_nsfw", min_length=1)
        labels: tuple[str, ...] = Field(default=("nsfw",), min_length=1)
        threshold: float = Field(default=0.8, ge=0, le=1)
        detector: str | None = Field(default="nudenet", min_length=1)
        exposed: tuple[str, ...] = Field(default=("*_EXPOSED",), min_length=1)
        min_score: float = Field(default=0.5, ge=0, le=1)
        unjudged: Literal["keep", "remove"] = "keep"
        reason: str = Field(default="unsafe picture", min_length=1)

    config: Config

    def __init__(self, config: Config | None = None, classifier: Any = None, detector: Any = None) -> None:
        super().__init__(config)
        self._classifier, self._detector = classifier, detector

    @property
    def classifier(self) -> Any:
        """Loaded when it is first asked."""
        if self._classifier is None:
            from vitrail.models.experts.image_labels import open_labels

            self._classifier = open_labels(self.config.classifier)
        return self._classifier

    @property
    def detector(self) -> Any:
        """Loaded when it is first asked; None where there is none."""
        if self._detector is None and self.config.detector is not None:
            from vitrail.models.experts.boxes import open_boxes

            self._detector = open_boxes(self.config.detector)
        return self._detector

    def fingerprint(self) -> dict[str, Any]:
        """Those of classifier and detector."""
        detector = self.detector
        return {
            "classifier": self.classifier.fingerprint,
            "detector": None if detector is None else detector.fingerprint,
        }

    def __call__(self, document: Document) -> Outcome:
        """Kept, dropped, or without the pictures that cannot be judged."""
        why: list[str | None] = []
        for part in document.content:
            picture = self._open(part) if isinstance(part, Image) else None
            if picture is not None and self.is_unsafe(picture):
                return dropped(self.config.reason)
            unread = isinstance(part, Image) and picture is None and self.config.unjudged == "remove"
            why.append("cannot be judged" if unread else None)
        return without_parts(document, why)

    def _open(self, image: Image) -> Any:
        try:
            return image.open(self.root)
        except (ValueError, OSError):
            return None

    def is_unsafe(self, picture: Any) -> bool:
        """Whether a decoded picture is suspect and, where there is a detector, confirmed.

        ValueError for a label that the classifier does not have.
        """
        (shares,) = self.classifier.labels([picture])
        unknown = next((label for label in self.config.labels if label not in shares), None)
        if unknown is not None:
            raise ValueError(
                f"unsafe_images.labels has {unknown!r}, which {self.config.classifier} does not tell; "
                f"{nearest(unknown, sorted(shares))}"
            )
        if sum(shares[label] for label in self.config.labels) <= self.config.threshold:
            return False
        if self.detector is None:
            return True
        (boxes,) = self.detector.boxes([picture])
        return any(one.score > self.config.min_score and self._is_exposed(one.label) for one in boxes)

    def _is_exposed(self, label: str) -> bool:
        return any(fnmatchcase(label, pattern) for pattern in self.config.exposed)
