"""Facts about people who do not exist: told as texts, asked for in a format that can be checked.

A world is drawn from its seed: people, each with a job, a town, a pet and a colour. As ``texts`` their facts are told
in several wordings, to pretrain on; as ``chats`` they are asked for with an instruction about the form of the answer,
to tune on; as ``questions`` half offer four facts in the form that is asked for (kind ``fact``), and half the right
fact in four forms (kind ``format``). So knowledge and the following of instructions are measured apart, and together
as their mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from vitrail.data.records import Chat, Choices, Document, Message, Record, Text
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key

Fold = Literal["development", "test"]
Form = Literal["texts", "chats", "questions"]

VALUES: dict[str, tuple[str, ...]] = {
    attribute: tuple(words.split())
    for attribute, words in {
        "job": "baker pilot nurse farmer singer tailor miner clerk doctor judge",
        "town": "Arden Belmo Corin Dunes Elvas Forli Genda Hoorn Imola Jerez",
        "pet": "cat dog horse goat parrot rabbit turtle snake duck mouse",
        "colour": "red blue green white black yellow brown pink grey orange",
    }.items()
}
TOLD: dict[str, tuple[str, ...]] = {
    "job": ("{name} is a {value}.", "{name} works as a {value}.", "The job of {name} is {value}."),
    "town": ("{name} lives in {value}.", "The home of {name} is {value}.", "The town of {name} is {value}."),
    "pet": ("{name} has a {value}.", "{name} keeps a {value}.", "The pet of {name} is a {value}."),
    "colour": ("{name} likes {value}.", "{name} wears {value}.", "The colour of {name} is {value}."),
}
FORMATS: dict[str, tuple[str, Callable[[str], str]]] = {
    "plain": ("Answer in one word.", lambda value: value),
    "capitals": ("Answer in capitals.", str.upper),
    "brackets": ("Answer in brackets.", lambda value: f"[{value}]"),
    "json": ("Answer as JSON.", lambda value: json.dumps({"answer": value})),
}
_STREAMS: dict[str | None, int] = {None: 7, "development": 8, "test": 9}
_SYLLABLES = (
    ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"],
    ["a", "e", "i", "o", "u"],
)


def follows(name: str, answer: str) -> bool:
    """Whether an answer in words has the form ``name`` of :data:`FORMATS`. ValueError for another name."""
    if name not in FORMATS:
        raise ValueError(f"there is no format {name!r}; known: {', '.join(FORMATS)}")
    answer = answer.strip()
    if name == "json":
        try:
            told = json.loads(answer)
        except ValueError:
            return False
        return isinstance(told, dict) and list(told) == ["answer"] and isinstance(told["answer"], str)
    if name == "brackets":
        return answer[:1] == "[" and answer[-1:] == "]" and answer[1:-1].isalpha()
    return answer.isalpha() and (answer == answer.upper()) == (name == "capitals")


class Facts(RandomAccess):
    """``n`` records in one ``form`` about a world of ``people``, drawn from ``seed``.

    ``world`` draws the people (default: ``seed``), so that others may be told of them in other words.

    ``fold`` keeps apart what a model is not to have read: of questions each has half of the people; of texts and chats,
    where everybody is in all of them, each is drawn anew (other orders and wordings, other forms).
    """

    root: Path | None = None

    def __init__(
        self,
        form: Form = "texts",
        n: int = 1000,
        people: int = 32,
        fold: Fold | None = None,
        seed: int = 0,
        world: int | None = None,
    ) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; give 1 or more")
        if not 2 <= people <= 2000:
            raise ValueError(f"people is {people}; give 2 to 2,000")
        if fold not in _STREAMS:
            raise ValueError(f"fold is {fold!r}; use development, test, or none")
        self.form, self.n, self.people, self.fold, self.seed = form, n, people, fold, seed
        self.world = seed if world is None else world
        self.name = f"facts/{form}/{fold or 'all'}/{seed}" + (f"/{world}" if self.world != seed else "")
        self.set_aside = SetAside(used=n)
        self._people = self._world()
        self.fingerprint = key("facts", self.name, n, self._people)

    def _world(self) -> list[dict[str, str]]:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.world, 1071])))
        found: dict[str, dict[str, str]] = {}
        while len(found) < self.people:
            name = "".join(str(rng.choice(_SYLLABLES[place % 2])) for place in range(4)).capitalize()
            own = {attribute: str(rng.choice(values)) for attribute, values in VALUES.items()}
            found.setdefault(name, {"name": name, **own})
        everybody = list(found.values())
        if self.form == "questions" and self.fold is not None:
            everybody = everybody[(self.fold == "test") :: 2]
        return everybody

    def __len__(self) -> int:
        return self.n

    def _record(self, index: int) -> Record:
        person = self._people[index % len(self._people)]
        stream = 7 if self.form == "questions" else _STREAMS[self.fold]
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, stream, index])))
        name = f"{self.name}/{index}"
        if self.form == "texts":
            order = rng.permutation(list(VALUES))
            told = [_told(one, str(rng.choice(TOLD[one])), person) for one in map(str, order)]
            return Document(id=name, content=(Text(text=" ".join(told)),))
        attribute = list(VALUES)[index // len(self._people) % len(VALUES)]
        form = str(rng.choice(list(FORMATS)))
        asked, shown = FORMATS[form]
        text = f"What is the {attribute} of {person['name']}? {asked}"
        question = Message(role="user", content=(Text(text=text),))
        meta = {"picture": person["name"], "format": form, "attribute": attribute}
        if self.form == "chats":
            said = Message(role="assistant", content=(Text(text=shown(person[attribute])),))
            return Chat(id=name, messages=(question, said), meta={**meta, "kind": "chat"})
        return self._question(name, question, person[attribute], attribute, form, meta, rng, index)

    def _question(
        self,
        name: str,
        question: Message,
        value: str,
        attribute: str,
        form: str,
        meta: dict[str, str],
        rng: np.random.Generator,
        index: int,
    ) -> Chat:
        """Four facts in the right form, or the right fact in four forms."""
        if index % 2:
            kind, shown = "format", {one: FORMATS[one][1](value) for one in FORMATS}
            right = shown[form]
            options = [shown[str(one)] for one in rng.permutation(list(FORMATS))]
        else:
            kind, others = "fact", [one for one in VALUES[attribute] if one != value]
            drawn = [value, *(str(one) for one in rng.choice(others, 3, replace=False))]
            right = FORMATS[form][1](value)
            options = [FORMATS[form][1](str(one)) for one in rng.permutation(drawn)]
        choices = Choices(options=tuple((Text(text=one),) for one in options), answer=options.index(right))
        return Chat(id=name, messages=(question,), choices=choices, meta={**meta, "kind": kind})


def _told(attribute: str, wording: str, person: dict[str, str]) -> str:
    return wording.format(name=person["name"], value=person[attribute])
