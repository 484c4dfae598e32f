"""Questions about pictures with what a model answered, mistakes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.reporting.page import render
from vitrail.reporting.pictures import Picture


@dataclass(frozen=True)
class Question:
    """One question, its options and the answer given.

    ``likelihoods`` are shares in 0..1, one for each option, where the model gave them. ``truth`` and
    ``prediction`` are indices of options; ``prediction`` is None for an answer that could not be read, whose
    words ``answer`` may show. Without options, ``reference`` and ``answer`` are texts and ``right`` must be
    given.
    """

    question: str
    pictures: Sequence[Picture] = ()
    options: Sequence[str] = ()
    truth: int | None = None
    prediction: int | None = None
    likelihoods: Sequence[float] | None = None
    kind: str = ""
    group: str = ""
    reference: str = ""
    answer: str = ""
    right: bool | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("truth", "prediction"):
            index = getattr(self, name)
            if index is not None and not 0 <= index < len(self.options):
                raise ValueError(
                    f"{name} is {index}, but there are {len(self.options)} options (counted from 0)."
                )
        if self.likelihoods is not None and len(self.likelihoods) != len(self.options):
            raise ValueError(
                f"{len(self.likelihoods)} likelihoods for {len(self.options)} options; give one for each."
            )

    @property
    def outcome(self) -> str:
        """``"right"``, ``"wrong"``, or ``"unknown"`` where there is no truth to compare with."""
        if self.right is not None:
            return "right" if self.right else "wrong"
        if self.truth is None:
            return "unknown"
        return "right" if self.prediction == self.truth else "wrong"

    @property
    def confidence(self) -> float:
        """The likelihood of the answer given; 0 where it is not known."""
        if self.likelihoods is None or self.prediction is None:
            return 0.0
        return float(self.likelihoods[self.prediction])


@dataclass(frozen=True)
class Gallery:
    """Questions as cards, the most confident mistakes first, with filters by kind and outcome."""

    questions: Sequence[Question]
    name: str = "gallery"
    kind_label: str = "Kind"
    group_label: str = "Set"

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        order = {"wrong": 0, "unknown": 1, "right": 2}
        cards = sorted(self.questions, key=lambda card: (order[card.outcome], -card.confidence))
        return render(
            "gallery",
            cards=cards,
            name=self.name,
            labels={"kind": self.kind_label, "group": self.group_label},
            choices={
                "kind": sorted({card.kind for card in cards if card.kind}),
                "group": sorted({card.group for card in cards if card.group}),
                "outcome": [name for name in order if any(card.outcome == name for card in cards)],
            },
        )
