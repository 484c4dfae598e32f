"""Documents kept by the probability that a classifier of texts gives them.

InfiMM-WebMath (arXiv 2409.12568) filters twice: with high recall (p ≥ 0.4) before anything that costs, and with a
second, more precise classifier at the end. Pictures have no say, so that a page's layout does not betray its class.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    changed,
    dropped,
    texts_of,
)
from vitrail.data.records import Document


class TextClass(Operation):
    """Sets ``meta[score]``; a document below ``threshold`` goes."""

    class Config(OperationConfig):
        """``model``: a folder of ``vitrail data classifier``, or a fastText file with the ``label`` that counts, whose
        texts are normalised as ``normalise`` says (a folder's own normalisation is its).
        """

        model: str = Field(min_length=1)
        threshold: float = Field(default=0.4, ge=0, le=1)
        label: str | None = None
        normalise: Literal["none", "math"] = "none"
        score: str = Field(default="math_prob", min_length=1)

    config: Config

    def __init__(self, config: Config, classifier: Any = None) -> None:
        super().__init__(config)
        self._classifier = classifier
        if classifier is None:
            from vitrail.curation.text_classifier import load_classifier

            try:
                self._classifier = load_classifier(config.model, config.label, config.normalise)
            except ValueError as error:
                raise ValueError(f"text_class.model: {error}") from None

    def fingerprint(self) -> dict[str, Any]:
        """The classifier's files."""
        from vitrail.curation.text_classifier import classifier_digest

        return {"model": classifier_digest(self.config.model)}

    def __call__(self, document: Document) -> Outcome:
        """Kept with its score, or dropped."""
        probability = float(self._classifier.predict_proba(["\n".join(texts_of(document))])[0])
        if probability < self.config.threshold:
            return dropped("of another class")
        return changed(document, **{self.config.score: round(probability, 4)})
