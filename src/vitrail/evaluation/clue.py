"""Inferencer ``clue``: does a picture break a constitution? (CLUE, arXiv 2501.00192; :mod:`vitrail.inference.clue`)

The question's options are yes (a rule is broken) and no. Its rules are those of ``constitution``, or the record's own
(``meta.constitution``). A verdict that stays undecided is answered yes: somebody should look. The whole verdict, trace
included, stands in the answer's row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_serializer, model_validator

from vitrail.evaluation.instructions import Prompt
from vitrail.inference.clue import ClueJudge, ClueSettings
from vitrail.inference.constitution import Constitution
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.data.records import Image
    from vitrail.models.bundle import Bundle

GIVEN = "given"


@dataclass(frozen=True)
class ToJudge:
    """A picture with its rules, what is known of where things are, and which option says that a rule is broken."""

    picture: Image
    root: Path | None
    constitution: Constitution
    boxes: Mapping[str, Any] | None
    yes: int


class ClueInferencer:
    """See the module."""

    gives = "ranking"

    class Config(ClueSettings):
        """Beside the judge's settings: ``constitution``, rules or their JSON file, which is read at once; ``clip``:
        folder, run or hub name of a dual encoder that chooses rules (default: all are judged); ``detector``: folder or
        hub name (OWLv2 …), or ``given``: boxes stand in the records' ``meta.boxes``, by central word.
        """

        constitution: Constitution | None = None
        clip: str | None = Field(default=None, min_length=1)
        detector: str | None = Field(default=None, min_length=1)

        @model_validator(mode="after")
        def _can_be_judged(self) -> ClueInferencer.Config:
            if self.constitution is not None and self.divide:
                self.constitution.require_divided()
            return self

        @field_serializer("constitution")
        def _short(self, constitution: Constitution | None) -> Any:
            """Without what is left to defaults."""
            return (
                None if constitution is None else constitution.model_dump(mode="json", exclude_defaults=True)
            )

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = ClueSettings(**config.model_dump(exclude={"constitution", "clip", "detector"}))
        self._judges: dict[tuple[int, str], ClueJudge] = {}
        self._helpers: tuple[Any, Any] | None = None

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> ToJudge:
        """What is to be judged. ValueError for no rules, not one picture, or other options than yes and no."""
        words = [option.strip().casefold() for option in prompt.options]
        if sorted(words) != ["no", "yes"]:
            raise ValueError(f"has the options {list(prompt.options)}; a picture is judged by yes and no")
        if len(prompt.chat.images) != 1:
            raise ValueError(f"has {len(prompt.chat.images)} pictures; a judge looks at one")
        rules = self.config.constitution
        if rules is None and "constitution" not in prompt.chat.meta:
            raise ValueError(
                "has no rules; give the inferencer a constitution, or the record meta.constitution"
            )
        if rules is None:
            rules = Constitution.model_validate(prompt.chat.meta["constitution"])
        boxes = prompt.chat.meta.get("boxes", {}) if self.config.detector == GIVEN else None
        return ToJudge(prompt.chat.images[0], root, rules, boxes, words.index("yes"))

    def ask(self, bundle: Bundle, asked: list[ToJudge], batch_size: int) -> list[dict[str, Any]]:
        """For each ``choice`` and the ``verdict`` with its trace. ValueError for a picture that cannot be judged."""
        rows: list[dict[str, Any]] = [{} for _ in asked]
        for name in dict.fromkeys(one.constitution.fingerprint for one in asked):
            places = [place for place, one in enumerate(asked) if one.constitution.fingerprint == name]
            some = [asked[place] for place in places]
            judge = self._judge(bundle, some[0].constitution, batch_size)
            pictures = [one.picture.read(one.root) for one in some]
            found = judge.judge_many(pictures, boxes=[one.boxes for one in some])
            for place, verdict in zip(places, found, strict=True):
                if isinstance(verdict, str):
                    raise ValueError(verdict)
                yes = asked[place].yes
                choice = 1 - yes if verdict.safe else yes
                rows[place] = {"choice": choice, "tie": False, "verdict": verdict.as_json()}
        return rows

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """Nothing beyond the settings."""
        return {}

    def fingerprints(self, bundle: Bundle) -> dict[str, str]:
        """Of its helpers' weights, which verdicts depend on; nothing where it has none."""
        return helper_fingerprints(*self._named(bundle))

    def _named(self, bundle: Bundle) -> tuple[Any, Any]:
        if self._helpers is None:
            detector = None if self.config.detector == GIVEN else self.config.detector
            self._helpers = helpers(self.config.clip, detector, self.settings, bundle.device)
        return self._helpers

    def _judge(self, bundle: Bundle, constitution: Constitution, batch_size: int) -> ClueJudge:
        place = (id(bundle), constitution.fingerprint)
        if place not in self._judges:
            scanner, detector = self._named(bundle)
            self._judges[place] = ClueJudge(
                bundle, constitution, self.settings, scanner=scanner, detector=detector, batch_size=batch_size
            )
        return self._judges[place]


def helpers(
    clip: str | None, detector: str | None, settings: ClueSettings, device: Any = "cpu"
) -> tuple[Any, Any]:
    """The scanner and the detector of these names, on a device; None for those not named."""
    scanner: Any = None
    finder: Any = None
    if clip is not None:
        from vitrail.inference.relevance_scan import RelevanceScanner
        from vitrail.models.experts.clip_scorer import ClipScorer

        scorer = ClipScorer.from_pretrained(clip)
        scorer.model.to(device)
        scanner = RelevanceScanner(scorer, settings.relevance)
    if detector is not None:
        from vitrail.models.experts.regions import Detector

        finder = Detector.from_pretrained(detector)
        finder.model.to(device)
    return scanner, finder


def helper_fingerprints(scanner: Any, detector: Any) -> dict[str, str]:
    """``{"helpers": hash}`` over a scanner's dual encoder and the weights of a detector; empty for neither."""
    from vitrail.evaluation.fingerprints import weights

    told = [] if scanner is None else [f"clip {scanner.encoder.fingerprint}"]
    told += [] if detector is None else [f"detector {weights(detector.model)}"]
    return {"helpers": key("helpers", *told)} if told else {}
