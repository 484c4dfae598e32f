"""A judge of pictures by a constitution, without labels and without training (CLUE, arXiv 2501.00192).

Rules that a CLIP-like encoder finds unrelated to the picture are not looked at. Of the others the clauses are evaluated
in order, and a rule is left at the first clause that fails. A precondition is judged from the probabilities of yes and
no, against the answer without a picture and the answer with its central thing erased
(:mod:`vitrail.inference.debiased`); what stays open is reasoned about in words
(:mod:`vitrail.inference.cascaded_reasoning`)::

    judge = ClueJudge(vitrail.load("MODEL"), Constitution.read("rules.json"))
    verdict = judge.judge("picture.jpg")
    verdict.safe, verdict.violated, verdict.trace

Pictures, rules and conditions that wait for the model are asked together; what comes out does not depend on it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image as PILImage
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.decoding import decode_rgb
from vitrail.data.media import why_unreadable
from vitrail.data.records import Image
from vitrail.inference.constitution import Constitution, Rule, all_of, any_of
from vitrail.inference.debiased import FLOOR, PROMPT, DebiasedJudge, Fill, asking, shares
from vitrail.inference.lockstep import Case, Lockstep, Look, Steps, Think
from vitrail.inference.relevance_scan import THRESHOLD, RelevanceScanner
from vitrail.inference.verdicts import Calls, ClauseTrace, ConditionTrace, RuleTrace, Verdict

if TYPE_CHECKING:
    from vitrail.inference.cascaded_reasoning import CascadedReasoner
    from vitrail.models.bundle import Bundle
    from vitrail.models.experts.regions import RegionProposer

Contrast = Literal["prior", "removal"]
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class ClueSettings(BaseModel):
    """How pictures are judged.

    ``divide``: ask for preconditions, or for each rule as a whole. ``contrasts``: which of the two are used; without
    any, a score of ``half`` or more accepts and less refutes. ``undecided``: what happens to a condition that the
    contrasts leave open: it is reasoned about (``reason``), left open (``leave``: the verdict may be undecided), or
    decided by whether its score is ``half`` or more (``threshold``) or above that without a picture (``prior``).
    ``relevance``: the least cosine of a rule (t). ``alpha1``, ``alpha2``, ``beta``: of the contrasts. ``fill``: what a
    region is erased with. ``max_new_tokens``: of the reasoning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    divide: bool = True
    contrasts: tuple[Contrast, ...] = ("prior", "removal")
    undecided: Literal["reason", "leave", "threshold", "prior"] = "reason"
    relevance: float = Field(default=THRESHOLD, ge=-1, le=1)
    alpha1: float = -0.3
    alpha2: float = 0.8
    beta: float = 0.6
    half: float = Field(default=0.5, gt=0, lt=1)
    fill: Fill | tuple[int, int, int] = "mean"
    prompt: str = PROMPT
    floor: float = Field(default=FLOOR, ge=0, lt=1)
    max_new_tokens: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _goes_together(self) -> ClueSettings:
        self.debiased  # noqa: B018  refuses thresholds that are none
        if self.prompt.count("{condition}") != 1:
            raise ValueError(f"prompt {self.prompt!r} must hold {{condition}} once")
        if "prior" not in self.contrasts and self.contrasts:
            raise ValueError("contrasts has removal alone; it follows the prior, so name both, or none")
        return self

    @property
    def debiased(self) -> DebiasedJudge:
        """The contrasts' thresholds."""
        return DebiasedJudge(self.alpha1, self.alpha2, self.beta)


class ClueJudge:
    """See the module.

    ``model`` answers; ``scanner`` chooses rules (None: all are judged); ``detector`` finds central things (None: the
    second contrast is left out, unless boxes come with a picture); ``reasoner`` thinks in words (default: the model
    itself). ``calls`` counts everything that was asked so far. ValueError for a rule without clauses.
    """

    def __init__(
        self,
        model: Bundle,
        constitution: Constitution,
        settings: ClueSettings | None = None,
        *,
        scanner: RelevanceScanner | None = None,
        detector: RegionProposer | None = None,
        reasoner: CascadedReasoner | None = None,
        batch_size: int = 16,
    ) -> None:
        self.model, self.settings = model, settings or ClueSettings()
        if self.settings.divide:
            constitution.require_divided()
        else:
            constitution = Constitution(rules=tuple(rule.undivided() for rule in constitution.rules))
        self.constitution, self.scanner, self.detector = constitution, scanner, detector
        self.batch_size, self.calls = batch_size, Calls()
        self._reasoner = reasoner
        self._priors: dict[str, float] = {}

    @cached_property
    def reasoner(self) -> CascadedReasoner:
        """Who thinks in words."""
        from vitrail.inference.answerers import ModelAnswerer
        from vitrail.inference.cascaded_reasoning import CascadedReasoner

        own = ModelAnswerer(self.model, batch_size=self.batch_size)
        return self._reasoner or CascadedReasoner(own, max_new_tokens=self.settings.max_new_tokens)

    def judge(self, picture: Any, *, boxes: Mapping[str, Sequence[Any]] | None = None) -> Verdict:
        """The verdict on one picture: Pillow's, a file, encoded bytes, an array (rows, cols, 3), or a record's part.

        ``boxes``: what is known of it, by central word, in the detector's place. ValueError for a picture that cannot
        be used, or a model that answers by neither yes nor no.
        """
        found = self.judge_many([picture], boxes=[boxes])[0]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def judge_many(
        self,
        pictures: Sequence[Any],
        *,
        boxes: Sequence[Mapping[str, Sequence[Any]] | None] | None = None,
        root: Path | None = None,
    ) -> list[Verdict | str]:
        """Verdicts in order; in place of one that could not be judged, the reason."""
        known = boxes or [None] * len(pictures)
        made = [self._case(one, own, root) for one, own in zip(pictures, known, strict=True)]
        cases = [one for one in made if isinstance(one, Case)]
        kept = self._scan(cases)
        Lockstep(self, cases, kept).go()
        for case in cases:
            self.calls.add(case.calls)
        return [one if isinstance(one, str) else self._verdict(one) for one in made]

    def _verdict(self, case: Case) -> Verdict | str:
        if case.error is not None:
            return case.error
        return Verdict.of((case.rules[rule.id] for rule in self.constitution.rules), case.calls)

    def _case(self, given: Any, boxes: Mapping[str, Sequence[Any]] | None, root: Path | None) -> Case | str:
        from vitrail.models.experts.regions import Labelled

        try:
            picture, part = opened(given, root)
        except (ValueError, OSError) as error:
            return " ".join(str(error).split())
        return Case(picture, part, self.detector if boxes is None else Labelled(boxes))

    def _scan(self, cases: Sequence[Case]) -> list[list[Rule]]:
        """The rules to judge of each case; the others are written into its trace."""
        rules = self.constitution.rules
        if self.scanner is None:
            return [list(rules) for _ in cases]
        kept: list[list[Rule]] = []
        # One picture at a time: what is kept must not depend on its neighbours in the last digits.
        for case in cases:
            scores = self.scanner.scores([case.picture], rules)[0]
            case.calls.embeddings += 1
            kept.append([])
            for rule, score in zip(rules, scores.tolist(), strict=True):
                keeps = self.scanner.keeps(score)
                case.rules[rule.id] = RuleTrace(rule.id, rule.text, None if keeps else False, keeps, score)
                if keeps:
                    kept[-1].append(rule)
        return kept

    def rule_steps(self, rule: Rule, relevance: float | None) -> Steps:
        """Asks for conditions, gets their traces; returns the rule's."""
        clauses = []
        for clause in rule.clauses:
            looked = []
            for condition in clause:
                looked.append((yield condition))
                if looked[-1].holds:
                    break
            clauses.append(ClauseTrace(any_of([one.holds for one in looked]), tuple(looked)))
            if clauses[-1].holds is False:
                break
        broken = all_of([one.holds for one in clauses])
        return RuleTrace(rule.id, rule.text, broken, True, relevance, tuple(clauses))

    def condition_steps(self, case: Case, condition: str, words: Sequence[str]) -> Steps:
        """Asks for scores and reasoning, gets them; returns the condition's trace."""
        settings = self.settings
        if "prior" not in settings.contrasts:
            (score,) = yield [Look(condition)]
            return ConditionTrace(condition, score >= settings.half, "threshold", score)
        score, prior = yield [Look(condition), Look(condition, "nothing")]
        told: dict[str, Any] = {"condition": condition, "score": score, "prior": prior}
        holds = settings.debiased.against_prior(score, prior)
        if holds is not None:
            return ConditionTrace(holds=holds, stage="prior", **told)
        if "removal" in settings.contrasts:
            box, told["note"] = self._central(case, words)
            if box is not None:
                (removed,) = yield [Look(condition, "removed", box)]
                told |= {"removed": removed, "box": box}
                if settings.debiased.against_removal(score, removed):
                    return ConditionTrace(holds=True, stage="removal", **told)
        if settings.undecided == "threshold":
            return ConditionTrace(holds=score >= settings.half, stage="threshold", **told)
        if settings.undecided == "prior":
            return ConditionTrace(holds=score > prior, stage="above the prior", **told)
        if settings.undecided == "leave":
            return ConditionTrace(holds=None, stage="none", **told)
        (thought,) = yield [Think(condition)]
        told |= {"rationale": thought.rationale, "reasoning": thought.reasoning}
        if thought.holds is None:
            told["note"] = "; ".join(filter(None, (told.get("note"), "its summary is no JSON of a rating")))
        return ConditionTrace(
            holds=thought.holds, stage="none" if thought.holds is None else "reasoning", **told
        )

    def _central(self, case: Case, words: Sequence[str]) -> tuple[tuple[int, int, int, int] | None, str]:
        """The box of the central thing, or why there is none."""
        if case.proposer is None:
            return None, "no detector"
        if not words:
            return None, "no central words"
        case.calls.detections += 1
        found = case.proposer.propose(case.picture, list(words))
        return (found[0], "") if found else (None, f"nothing found for {', '.join(words)}")

    def prior(self, condition: str) -> float:
        """M(none, c), computed once, by itself."""
        if condition not in self._priors:
            chat = asking(condition, None, self.settings.prompt)
            encoded = self.model.encoder.encode(chat, add_generation_prompt=True)
            self._priors[condition] = shares(self.model, [encoded], floor=self.settings.floor)[0].score
            self.calls.priors += 1
        return self._priors[condition]


def opened(given: Any, root: Path | None = None) -> tuple[PILImage.Image, Image]:
    """A picture in any form as RGB, and as a part of a chat that holds its bytes. ValueError for what is none."""
    if isinstance(given, (str, Path)):
        given = Image(path=str(given))
    if isinstance(given, Image):
        problem = why_unreadable(given, root)
        if problem is not None:
            raise ValueError(problem)
        given = given.read(root)
    if isinstance(given, bytes):
        picture = decode_rgb(given)
        return picture, Image(bytes=given, width=picture.width, height=picture.height)
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8 or not given.size:
            raise ValueError(
                f"the picture is an array {given.shape} of {given.dtype}; give rows × cols × 3 numbers of 8 bits (RGB)"
            )
        given = PILImage.fromarray(given)
    if not isinstance(given, PILImage.Image):
        raise ValueError(
            f"a picture is a {type(given).__name__}; give a file, bytes, an array or Pillow's picture"
        )
    if not all(given.size):
        raise ValueError(f"the picture has {given.width} × {given.height} pixels; give one with some")
    buffer = io.BytesIO()
    (given if given.mode in PNG_MODES else given.convert("RGB")).save(buffer, "PNG")
    return opened(buffer.getvalue())
