"""Rules for pictures, and the conditions whose conjunction each rule is (CLUE, arXiv 2501.00192).

A rule in conjunctive normal form is a list of clauses, each a list of *preconditions* of which one must hold: the rule
is broken iff every clause is true. A constitution is a JSON file::

    {"rules": [{"id": "injury", "text": "No people or animals with visible bloody injuries that show imminent death.",
                "clauses": [["A human is visible", "An animal is visible"],
                            ["Bloody injuries are visible on the body"],
                            ["The injuries are severe enough to show imminent death"]],
                "central_words": {"Bloody injuries are visible on the body": ["body"]}}]}

People write it by hand, or a language model does (:mod:`vitrail.inference.rule_writing`). A rule may be its text alone
until it is taken apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vitrail.data.records import Frozen
from vitrail.settings.faults import flatten
from vitrail.storage import atomic
from vitrail.storage.cache import key

Holds = bool | None
"""Whether something holds; None where that is not decided."""


class Rule(Frozen):
    """One rule: something that no picture may show.

    ``text`` is judged, in its objective wording; ``original`` is how it was first written, ``objectiveness`` its rating
    from 1 to 10, ``explanation`` why. ``clauses`` of preconditions; ``central_words``: for a precondition, what a
    detector looks for.
    """

    id: str = Field(min_length=1)
    text: str
    objectiveness: float | None = Field(default=None, ge=1, le=10)
    explanation: str = ""
    original: str | None = None
    clauses: tuple[tuple[str, ...], ...] = ()
    central_words: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Rule:
        if not self.text.strip():
            raise ValueError(f"rule {self.id!r} has an empty text; write what no picture may show")
        for place, clause in enumerate(self.clauses):
            if not clause or not all(condition.strip() for condition in clause):
                raise ValueError(
                    f"rule {self.id!r}: clauses[{place}] is {list(clause)}; write one condition at least, none empty"
                )
        unknown = sorted(set(self.central_words) - set(self.conditions))
        if unknown and self.clauses:
            raise ValueError(
                f"rule {self.id!r}: central_words has {unknown[0]!r}, which is none of its conditions; write it alike"
            )
        return self

    @property
    def conditions(self) -> list[str]:
        """Its preconditions, each once, in order."""
        return list(dict.fromkeys(condition for clause in self.clauses for condition in clause))

    def undivided(self) -> Rule:
        """The rule as its own one precondition: what is asked when rules are not taken apart."""
        condition = f"This rule is broken: {self.text}"
        return self.model_copy(update={"clauses": ((condition,),), "central_words": {}})


class Constitution(Frozen):
    """Rules; a picture that breaks one is unsafe. ValueError for none, or an id that two of them have."""

    rules: tuple[Rule, ...]

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """A list instead of ``{"rules": [...]}``, texts instead of rules, a file's path instead of what is in it."""
        if isinstance(value, (str, Path)):
            value = _loaded(Path(value))
        if isinstance(value, (list, tuple)):
            value = {"rules": value}
        if isinstance(value, Mapping) and isinstance(value.get("rules"), (list, tuple)):
            rules = [
                {"id": f"rule-{number}", "text": one} if isinstance(one, str) else one
                for number, one in enumerate(value["rules"], 1)
            ]
            value = {**value, "rules": rules}
        return value

    @model_validator(mode="after")
    def _some(self) -> Constitution:
        if not self.rules:
            raise ValueError("rules is empty; write one at least")
        ids = [rule.id for rule in self.rules]
        twice = next((one for one in ids if ids.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules have the id {twice!r}; give each its own")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        short = {"type": "array", "items": {}, "description": "texts of rules, or rules"}
        return {"anyOf": [{"type": "string", "description": "a JSON file of rules"}, short, handler(core)]}

    @classmethod
    def read(cls, path: Path | str) -> Constitution:
        """Read a JSON file. ValueError naming the file, the place in it and the remedy."""
        raw = _loaded(Path(path))
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            place, message, _ = flatten(error, cls, raw if isinstance(raw, dict) else {"rules": raw})[0]
            where = ".".join(map(str, place))
            raise ValueError(f"{path}: {where + ': ' if where else ''}{message}") from None

    def write(self, path: Path | str) -> None:
        """Write it as JSON, atomically; :meth:`read` gives an equal one."""
        plain = self.model_dump(mode="json", exclude_defaults=True)
        atomic.write_text(Path(path), json.dumps(plain, indent=1, ensure_ascii=False) + "\n")

    @property
    def fingerprint(self) -> str:
        """A hash of everything in it."""
        return key("constitution", self.model_dump(mode="json"))

    def __getitem__(self, name: str) -> Rule:
        """The rule of an id. KeyError for one that there is not."""
        return {rule.id: rule for rule in self.rules}[name]

    def listed(self) -> str:
        """All rules as a numbered list, to be shown at once."""
        return "\n".join(f"{number}. {rule.text}" for number, rule in enumerate(self.rules, 1))

    def require_divided(self) -> None:
        """ValueError naming the first rule that was not taken apart."""
        whole = next((rule.id for rule in self.rules if not rule.clauses), None)
        if whole is not None:
            raise ValueError(
                f"rule {whole!r} has no clauses; write them, let a language model do it (vitrail judge prepare), or "
                "judge rules whole (divide: false)"
            )


def _loaded(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"there is no constitution {path}; write one as JSON") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file of rules: {error}") from None


def any_of(values: Sequence[Holds]) -> Holds:
    """Whether one of them holds: undecided where none does and one is undecided."""
    if any(value is True for value in values):
        return True
    return None if any(value is None for value in values) else False


def all_of(values: Sequence[Holds]) -> Holds:
    """Whether all of them hold: undecided where none fails and one is undecided."""
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


__all__ = ["Constitution", "Holds", "Rule", "all_of", "any_of"]
