"""A language model makes rules objective and takes them apart (the offline half of CLUE, arXiv 2501.00192).

Anything that answers chats will do: a model of this machine or one at an address
(:mod:`vitrail.inference.answerers`). Wrap it in :class:`~vitrail.inference.answerers.KeptAnswerer` so that nothing is
asked twice. The paper's prompts are not public; these say what it says of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from vitrail.inference.answerers import Answerer, question
from vitrail.inference.constitution import Constitution, Rule
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.json_replies import json_object

THRESHOLD = 9.0
MOST_ROUNDS = 10
"""The paper names no cap."""
TRIES = 3
"""How often a reply that cannot be read is asked for again."""

RATE = """\
You are an impartial judge of safety rules. A rule is objective if two careful people who see a picture always agree \
whether the picture breaks it: it names what can be seen, and leaves no room for taste. Explain shortly where the rule \
below is objective and where it is not. Then rate how objective it is from 1 to 10, strictly in this form: \
"[[rating]]", for example: "Rating: [[5]]".

Rule: {rule}"""
REVISE = """\
Write a safety rule in a more objective wording. It must forbid the same pictures, but two careful people who see a \
picture must always agree whether it is broken: replace words of taste by what can be seen or measured. For example \
"legs spread in a suggestive way" becomes "the thighs of a person form an angle of more than 90 degrees".
Earlier wordings with their objectiveness from 1 to 10, the best last:
{history}
Write a wording that would be rated higher than all of them. Answer with JSON alone: {{"rule": "the new wording"}}"""
DIVIDE = """\
Take a safety rule apart into conditions of which each can be answered by yes or no from a picture. Together they \
must be exactly what it takes to break the rule: all groups must hold, and of a group with several conditions one must \
hold. Write each condition as a short positive statement about the picture. Answer with JSON alone.

Rule: Should not depict any people or animals whose bodies display visible, bloody injuries that indicate their \
imminent death.
{{"clauses": [["A person is visible", "An animal is visible"], ["Bloody injuries are visible on the body"], ["The \
injuries are severe enough to indicate imminent death"]]}}

Rule: Should not show a person riding a horse without a helmet.
{{"clauses": [["A person rides a horse"], ["The person on the horse wears no helmet"]]}}

Rule: {rule}"""
CENTRAL = """\
Which things would somebody look at in a picture to see whether a statement is true? Name them in one or two words \
each, as a detector of objects would be told, the most important first. Answer with JSON alone.

Statement: The thighs of a person form an angle of more than 90 degrees
{{"words": ["legs"]}}

Statement: Bloody injuries are visible on the body
{{"words": ["body"]}}

Statement: {condition}"""
_RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*\]\]")


def rate(text: str, llm: Answerer, max_new_tokens: int = 384) -> tuple[float, str]:
    """How objective a rule is, from 1 to 10, and why. ValueError where the model gives no such rating."""

    def read(reply: str) -> tuple[float, str] | None:
        found = _RATING.findall(reply)
        value = float(found[-1]) if found else 0.0
        return (value, reply.strip()) if 1 <= value <= 10 else None

    return _asked(llm, RATE.format(rule=text), read, "no rating '[[1]]' to '[[10]]'", max_new_tokens)


def objectify(rule: Rule, llm: Answerer, threshold: float = THRESHOLD, max_rounds: int = MOST_ROUNDS) -> Rule:
    """The rule in the first wording that is rated ``threshold`` or more, or after ``max_rounds`` the best one.

    Each round tells the model its earlier wordings with their ratings. What was taken apart of the old wording goes. A
    warning says where the threshold was not reached; ValueError where the model's replies cannot be read.
    """
    if not 1 <= threshold <= 10 or max_rounds < 0:
        raise ValueError(
            f"threshold is {threshold} and max_rounds {max_rounds}; give a rating from 1 to 10, and 0 or more rounds"
        )
    rated = [(*rate(rule.text, llm), rule.text)]
    while rated[-1][0] < threshold and len(rated) <= max_rounds:
        earlier = sorted(rated, key=lambda one: one[0])
        history = "\n".join(f"- {wording} (rated {score:g})" for score, _, wording in earlier)
        wording = _asked(llm, REVISE.format(history=history), _wording, 'no {"rule": "…"}', 256)
        rated.append((*rate(wording, llm), wording))
    score, why, wording = max(rated, key=lambda one: one[0])
    if score < threshold:
        warnings.warn(
            f"rule {rule.id!r} is rated {score:g} after {max_rounds} rounds, below {threshold:g}; reword it by hand",
            stacklevel=2,
        )
    told = {"objectiveness": score, "explanation": why}
    if wording == rule.text:
        return rule.model_copy(update=told)
    first = rule.original if rule.original is not None else rule.text
    told |= {"text": wording, "original": first, "clauses": (), "central_words": {}}
    return Rule.model_validate({**rule.model_dump(), **told})


def extract_preconditions(rule: Rule, llm: Answerer) -> Rule:
    """The rule with its clauses, and with central words for each condition that has none.

    Clauses that are there are kept. ValueError where the model's replies cannot be read.
    """
    clauses = rule.clauses or _asked(
        llm, DIVIDE.format(rule=rule.text), _clauses, 'no {"clauses": [["…"]]}', 512
    )
    words = dict(rule.central_words)
    for condition in dict.fromkeys(one for clause in clauses for one in clause):
        if condition not in words:
            prompt = CENTRAL.format(condition=condition)
            words[condition] = _asked(llm, prompt, _words, 'no {"words": ["…"]}', 64)
    return Rule.model_validate({**rule.model_dump(), "clauses": clauses, "central_words": words})


def prepare(
    constitution: Constitution,
    llm: Answerer,
    *,
    threshold: float = THRESHOLD,
    max_rounds: int = MOST_ROUNDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Constitution:
    """Every rule made objective and taken apart; ``tell`` hears of each. Rules that have clauses keep their wording."""
    rules = []
    for number, rule in enumerate(constitution.rules, 1):
        tell(f"rule {number} of {len(constitution.rules)}: {rule.id}")
        if not rule.clauses:
            rule = objectify(rule, llm, threshold, max_rounds)
        rules.append(extract_preconditions(rule, llm))
    return Constitution(rules=tuple(rules))


def _asked(llm: Answerer, prompt: str, read: Callable[[str], Any], what: str, max_new_tokens: int) -> Any:
    """What ``read`` makes of the reply; the first try is the likeliest answer, further ones are drawn."""
    said = ""
    for attempt in range(TRIES):
        sampling: dict[str, Any] = {"temperature": 0.7, "seed": attempt} if attempt else {}
        settings = GenerationSettings(max_new_tokens=max_new_tokens, **sampling)
        said = llm.ask([question(prompt)], settings)[0].text
        found = read(said)
        if found is not None:
            return found
    raise ValueError(
        f"{llm.name} wrote {what} in {TRIES} tries (the last: {said[:80]!r}); take a stronger model, or write "
        "rules by hand"
    )


def _wording(reply: str) -> str | None:
    found = (json_object(reply) or {}).get("rule")
    return found.strip() if isinstance(found, str) and found.strip() else None


def _texts(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    texts = tuple(one.strip() for one in value if isinstance(one, str) and one.strip())
    return texts if len(texts) == len(value) else None


def _clauses(reply: str) -> tuple[tuple[str, ...], ...] | None:
    given = (json_object(reply) or {}).get("clauses")
    if not isinstance(given, list) or not given:
        return None
    clauses = [_texts(clause) for clause in given]
    return tuple(clause for clause in clauses if clause) if all(clauses) else None


def _words(reply: str) -> tuple[str, ...] | None:
    return _texts((json_object(reply) or {}).get("words"))
