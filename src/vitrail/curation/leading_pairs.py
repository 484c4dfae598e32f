"""MMR's training set: paired conversations about a picture, plain and leading (arXiv 2406.10638).

A record is ``{"id", "image", "conversations-pos": […], "conversations-neg": […]}``, human turns with four ``options``
between right and wrong answers and reasons. It is checked, its options are taken out, both halves become samples as
LLaVA has them, and a question whose reply evades it is left out with its reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vitrail.data.readers.problems import FieldError, shown

if TYPE_CHECKING:
    from vitrail.data.records import Image
    from vitrail.inference.answerers import Answerer

HALVES = ("conversations-pos", "conversations-neg")
ROLES = ("human", "gpt")
TOKEN = "<image>"
HEDGES = (
    "sorry", "not provided", "not visible", "cannot identify", "can't identify", "cannot determine", "can't determine",
    "cannot tell", "can't tell", "cannot confirm", "can't confirm", "not discernible", "not specified",
    "given in the image",
)  # fmt: skip
"""Phrases by which a reply evades its question."""
PROMPT = """\
Look at the picture and note for yourself its text, objects and their attributes, people, what happens, and relations.
Then write {n} pairs of questions about: existence; name, category, colour, texture, shape, pose; number and position;
abstract, concrete or expert knowledge; activity and relation. The second question of a pair is about the same fact, but
takes a similar falsehood for granted and is put rhetorically. Give each question four options, crossing the right or a
wrong answer with the right or a wrong reason; the reply is the right answer with the right reason, in 15 words at most.
Answer with JSON alone: {"conversations-pos": [{"from": "human", "value": …, "options": [4]}, {"from": "gpt",
"value": …}, …], "conversations-neg": [… the same order …]}"""


def checked(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record itself. :class:`FieldError` for a half that is no alternating list of human and gpt turns with values,
    for other keys than ``from``, ``value`` and ``options``, and for ``<image>`` behind the first turn.
    """
    for name in ("id", "image", *HALVES):
        if not record.get(name):
            raise FieldError(name, "is missing; add it")
    for half in HALVES:
        _check_turns(half, record[half], options=True)
    if len(record[HALVES[0]]) != len(record[HALVES[1]]):
        raise FieldError(
            HALVES[1], "has another number of turns than conversations-pos; pairs need both members"
        )
    return record


def check_sample(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """A LLaVA-style sample itself. :class:`FieldError` as :func:`checked`, and for options left in it."""
    _check_turns("conversations", sample.get("conversations"), options=False)
    return sample


def _check_turns(field: str, turns: Any, options: bool) -> None:
    if not isinstance(turns, list) or not turns:
        raise FieldError(field, f"must be a list of turns, but it is {shown(turns)}")
    if len(turns) % 2:
        raise FieldError(field, f"has {len(turns)} turns; every question needs its reply")
    for place, turn in enumerate(turns):
        here, human = f"{field}[{place}]", place % 2 == 0
        if not isinstance(turn, dict):
            raise FieldError(here, f"must be an object, but it is {shown(turn)}")
        allowed = {"from", "value"} | ({"options"} if options and human else set())
        if set(turn) - allowed or not {"from", "value"} <= set(turn):
            raise FieldError(
                here, f"has the keys {', '.join(turn)}; it must have {', '.join(sorted(allowed))}"
            )
        if turn["from"] != ROLES[place % 2]:
            raise FieldError(
                f"{here}.from", f"is {shown(turn['from'])}; it must be {ROLES[place % 2]!r} here"
            )
        if not isinstance(turn["value"], str) or not turn["value"].strip():
            raise FieldError(f"{here}.value", "is empty; write what is said")
        if place and TOKEN in turn["value"]:
            raise FieldError(f"{here}.value", f"holds {TOKEN}, which belongs to the first turn alone")


def halves(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The positive and the negative half of a checked record as LLaVA-style samples, options taken out."""
    checked(record)
    found = []
    for half, ending in zip(HALVES, ("pos", "neg"), strict=True):
        turns = [{"from": turn["from"], "value": turn["value"]} for turn in record[half]]
        if TOKEN not in turns[0]["value"]:
            turns[0]["value"] = f"{TOKEN}\n{turns[0]['value']}"
        found.append({"id": f"{record['id']}-{ending}", "image": record["image"], "conversations": turns})
    return found[0], found[1]


def without_hedges(sample: Mapping[str, Any], phrases: Sequence[str] = HEDGES) -> dict[str, Any] | None:
    """The sample without questions whose reply holds one of ``phrases``; None where nothing is left.

    Questions go with their replies, so that turns still alternate, and the picture stays in the first turn.
    """
    check_sample(sample)
    turns, kept = sample["conversations"], []
    for asked, said in zip(turns[::2], turns[1::2], strict=True):
        if not any(phrase in said["value"].lower() for phrase in phrases):
            kept += [dict(asked), dict(said)]
    if not kept:
        return None
    if TOKEN in turns[0]["value"] and TOKEN not in kept[0]["value"]:
        kept[0]["value"] = f"{TOKEN}\n{kept[0]['value']}"
    return {**sample, "conversations": kept}


class PairedConversationBuilder:
    """Has a strong model write paired conversations about pictures."""

    def __init__(self, answerer: Answerer, pairs: int = 8, max_new_tokens: int = 4096) -> None:
        self.answerer, self.pairs, self.max_new_tokens = answerer, pairs, max_new_tokens

    def build(self, name: str, path: str, image: Image) -> dict[str, Any]:
        """A checked record of a picture. :class:`FieldError` where what the model wrote is none."""
        from vitrail.inference.answerers import question
        from vitrail.inference.generation import GenerationSettings

        chat = question(PROMPT.replace("{n}", str(self.pairs)), images=(image,))
        (reply,) = self.answerer.ask([chat], GenerationSettings(max_new_tokens=self.max_new_tokens))
        text = reply.text
        begin, end = text.find("{"), text.rfind("}")
        try:
            written = json.loads(text[begin : end + 1])
        except ValueError:
            raise FieldError("", f"{self.answerer.name} wrote no JSON: {shown(text)}") from None
        record = {"id": name, "image": path, **{half: written.get(half) for half in HALVES}}
        checked(record)
        return record
