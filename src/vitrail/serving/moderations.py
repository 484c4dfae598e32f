"""``POST /v1/moderations``: pictures judged by the server's constitution, in OpenAI's form (CLUE, arXiv 2501.00192).

``input`` is a list of pictures (``image_url`` parts with data URLs, or addresses where they are fetched). Each gets one
result: the rules are its categories, and ``verdict`` holds the trace, which OpenAI's form does not know. An undecided
picture is flagged, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.records import Image
from vitrail.serving.conversation import picture
from vitrail.serving.errors import Refused, printable
from vitrail.serving.requests import ImagePart, TextPart
from vitrail.serving.settings import Limits

if TYPE_CHECKING:
    from vitrail.inference.clue import ClueJudge
    from vitrail.inference.verdicts import RuleTrace, Verdict


class ModerationRequest(BaseModel):
    """``model`` may be left out: there is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    input: str | list[str | Annotated[TextPart | ImagePart, Field(discriminator="type")]]


@dataclass(frozen=True)
class Judged:
    """The verdicts on an order's pictures."""

    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class JudgeOrder:
    """Pictures to be judged."""

    judge: ClueJudge
    pictures: tuple[Image, ...]

    def judged(self) -> Judged:
        """The verdicts. :class:`Refused` where a picture cannot be judged."""
        found = self.judge.judge_many([one.read() for one in self.pictures])
        verdicts: list[Verdict] = []
        for place, one in enumerate(found):
            if isinstance(one, str):
                raise Refused(400, printable(f"input[{place}]: {one}"), param=f"input[{place}]")
            verdicts.append(one)
        return Judged(tuple(verdicts))


def pictures_shown(asked: ModerationRequest, limits: Limits) -> dict[str, str]:
    """The URL of each picture, by where it stands. :class:`Refused` for a text, none, or too many."""
    parts = [asked.input] if isinstance(asked.input, str) else asked.input
    found: dict[str, str] = {}
    for place, part in enumerate(parts):
        where = f"input[{place}]"
        if not isinstance(part, ImagePart):
            raise Refused(
                400,
                f"{where} is a text; here pictures are judged, send an image_url with a data URL",
                param=where,
            )
        if len(found) == limits.images:
            raise Refused(400, f"{where} is one picture too many; at most {limits.images} go", param=where)
        found[f"{where}.image_url.url"] = part.image_url.url
    if not found:
        raise Refused(400, "input is empty; send a picture", param="input")
    return found


def pictures_of(
    asked: ModerationRequest, limits: Limits, fetched: Mapping[str, bytes] | None
) -> tuple[Image, ...]:
    """The request's pictures; ``fetched`` as of :func:`~vitrail.serving.conversation.picture`."""
    shown = pictures_shown(asked, limits)
    return tuple(picture(url, where, limits, fetched) for where, url in shown.items())


def answer(name: str, judged: Judged) -> dict[str, Any]:
    """The response's body."""
    results = [_result(one) for one in judged.verdicts]
    return {"id": f"modr-{secrets.token_hex(12)}", "model": name, "results": results}


def _result(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "flagged": verdict.safe is not True,
        "categories": {one.rule: bool(one.broken) for one in verdict.trace},
        "category_scores": {one.rule: _score(one) for one in verdict.trace},
        "category_applied_input_types": {one.rule: ["image"] for one in verdict.trace},
        "verdict": verdict.as_json(),
    }


def _score(rule: RuleTrace) -> float:
    """Of the clauses that were looked at the least likely one's likeliest condition; 0 for a rule not judged."""
    if not rule.clauses:
        return 0.0
    return round(min(max(one.score for one in clause.conditions) for clause in rule.clauses), 6)
