"""Link-context episodes: two easily confused classes, examples of both, and a question that the examples answer.

Tai et al. 2023, "Link-Context Learning for Multimodal LLMs" (arXiv 2308.07891). Episode ``i`` is about class
``c = i mod classes`` (the positive role) and one neighbour n of it, drawn with weights m, m − 1, … 1, the nearest most
likely. K examples of each, shuffled, then a new picture of either. Policies:

===============  ======================================================================================
``2way``         both classes by their own names
``2way-weight``  a random string for c, fixed within the episode; n by its own name
``2way-random``  a random string for both
``random-shot``  as ``2way-weight``, with K drawn from 1 … K_max with weights exp((i + 1) / 2)
===============  ======================================================================================

Deviations: pictures of an episode are drawn without replacement, where the release may repeat one; both names never
hold each other, so that scores are sharp. Controls: ``shuffled`` deals the pictures of the examples out anew,
``no-link`` shows other classes' pictures in them; labels and the question stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from vitrail.data.demonstrations import Shown, shown
from vitrail.data.episodes.catalogue import Catalogue
from vitrail.data.episodes.naming import LONGEST, SHORTEST, RandomNamer
from vitrail.data.episodes.neighbours import class_features, neighbour_index
from vitrail.data.episodes.wording import WORDINGS, EpisodeWording, Shots, with_picture
from vitrail.data.records import Chat, Choices, Content, Frozen, Image, Message, Text
from vitrail.data.scenes.draws import Draws
from vitrail.data.sources import BadRow, RandomAccess, SetAside
from vitrail.storage.cache import key

if TYPE_CHECKING:
    import numpy as np

Policy = Literal["2way", "2way-weight", "2way-random", "random-shot"]
ROLES = ("positive", "neighbour")


class EpisodeSettings(Frozen):
    """``shots``: examples of each class, K; several numbers take turns. ``policy`` and ``control``: see the module.

    ``show``: how examples are shown (:mod:`vitrail.data.demonstrations`). ``swapped``: each episode twice, with the two
    names exchanged the second time. ``wording``: ``published``, ``short``, or one's own. ``shortest`` and
    ``longest``: letters of an invented name.
    """

    shots: Shots = (1,)
    policy: Policy = "2way-weight"
    control: Literal["none", "shuffled", "no-link"] = "none"
    show: Shown = "pictures"
    swapped: bool = False
    wording: Literal["published", "short"] | EpisodeWording = "published"
    shortest: int = Field(default=SHORTEST, ge=1, le=40)
    longest: int = Field(default=LONGEST, ge=1, le=40)

    @property
    def words(self) -> EpisodeWording:
        """The wording itself."""
        return WORDINGS[self.wording] if isinstance(self.wording, str) else self.wording


class Example(NamedTuple):
    """A picture, whose class's role it has, and the label that it is shown with."""

    role: int
    picture: Image
    label: str


class Drawn(NamedTuple):
    """An episode before it is worded: classes and labels by role, the examples, and the question's picture."""

    places: tuple[int, int]
    labels: tuple[str, str]
    examples: tuple[Example, ...]
    query: Example


class LinkContextEpisodes(RandomAccess):
    """``n`` episodes over a catalogue (default: one a class), that depend on (catalogue, settings, seed, index) alone.

    ``asked``: as two-way choices for an evaluation, instead of answered chats of which the last answer is learnt.
    ``neighbours``: features ``(classes, dim)`` to rank neighbours by (default: those that the catalogue names, and
    thumbnails where it names none). Classes with fewer pictures than their episodes need are set aside. ValueError
    where fewer than two are left, or a class has no neighbour.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: EpisodeSettings | None = None,
        *,
        n: int | None = None,
        seed: int = 0,
        asked: bool = False,
        neighbours: np.ndarray | None = None,
    ) -> None:
        self.catalogue, self.settings = catalogue, settings or EpisodeSettings()
        self.seed, self.asked, self.root = seed, asked, catalogue.root
        self.name = f"episodes of {catalogue.name}"
        self.set_aside = SetAside()
        self._usable = _usable(catalogue, max(self.settings.shots) + 1)
        self.n = len(self._usable) * (2 if self.settings.swapped else 1) if n is None else n
        if self.n < 1:
            raise ValueError(f"n is {self.n}; ask for 1 episode at least")
        self._near = _neighbours(catalogue, self._usable, neighbours)
        self.set_aside.used = self.n
        self.set_aside.rows += [
            BadRow(
                catalogue.name,
                place + 1,
                "samples",
                f"{len(one.pictures)} pictures are too few",
                one.id,
                "class",
            )
            for place, one in enumerate(catalogue)
            if place not in self._near
        ]
        self._namer = RandomNamer(catalogue.names, self.settings.shortest, self.settings.longest)
        told = self.settings.model_dump(mode="json")
        ranked = key([[place, near] for place, near in self._near.items()])
        self.fingerprint = key("episodes", catalogue.fingerprint, told, self.n, seed, asked, ranked)

    def __len__(self) -> int:
        return self.n

    def drawn(self, index: int) -> Drawn:
        """What episode ``index`` is made of; of ``swapped`` ones, both have the same pictures."""
        number = index // 2 if self.settings.swapped else index
        draws = Draws("link context", self.seed, number)
        place = self._usable[number % len(self._usable)]
        near = self._near[place]
        other = near[draws.weighted({rank: float(len(near) - rank) for rank in range(len(near))})]
        k = self._shots(number, draws)
        role = draws.integer(0, 1)
        both = (place, other)
        pictures = [self._some(one, k + (asked == role), draws) for asked, one in enumerate(both)]
        query = pictures[role].pop()
        labels = self._labels(both, draws)
        if self.settings.swapped and index % 2:
            labels = (labels[1], labels[0])
        examples = [Example(one, picture, labels[one]) for one in (0, 1) for picture in pictures[one]]
        examples = draws.shuffled(examples)
        return Drawn(
            both, labels, self._controlled(examples, both, draws), Example(role, query, labels[role])
        )

    def _record(self, index: int) -> Chat:
        drawn = self.drawn(index)
        words, k = self.settings.words, len(drawn.examples) // 2
        wording = Draws("wording", self.seed, index // 2 if self.settings.swapped else index)
        asked = wording.pick(words.queries) if k else words.direct
        turns = [
            Message(role="system", content=(Text(text=words.system),)) if words.system and k else None,
            *(turn for one in drawn.examples for turn in _example(words, one)),
            Message(role="user", content=with_picture(asked, drawn.query.picture)),
        ]
        right, wrong = drawn.query.label, drawn.labels[1 - drawn.query.role]
        options: tuple[tuple[Content, ...], ...] = tuple(
            (Text(text=words.said(label)),) for label in wording.shuffled((right, wrong))
        )
        answer = (Text(text=words.said(right)),)
        if not self.asked:
            turns.append(Message(role="assistant", content=answer))
        chat = Chat(
            id=f"{self.name}/{self.seed}/{index}",
            messages=tuple(turn for turn in turns if turn is not None),
            choices=Choices(options=options, answer=options.index(answer)) if self.asked else None,
            meta=self._meta(index, drawn, k),
        )
        return shown(chat, self.settings.show, 2 * k)

    def _meta(self, index: int, drawn: Drawn, k: int) -> dict[str, Any]:
        right, wrong = drawn.query.label, drawn.labels[1 - drawn.query.role]
        first = {"first": drawn.examples[0].label == right} if drawn.examples else {}
        pair = {"pair": index // 2} if self.settings.swapped else {}
        return {
            "kind": f"{k} {'shot' if k == 1 else 'shots'}",
            "picture": f"{self.name}/{self.seed}/{index // 2 if pair else index}",
            "groups": {
                "k": k,
                "role": ROLES[drawn.query.role],
                "positive": right,
                "negative": wrong,
                **first,
                **pair,
            },
            "classes": [self.catalogue[place].id for place in drawn.places],
            "roles": [ROLES[one.role] for one in drawn.examples],
        }

    def _shots(self, number: int, draws: Draws) -> int:
        shots = self.settings.shots[number % len(self.settings.shots)]
        if self.settings.policy != "random-shot" or shots < 2:
            return shots
        return draws.weighted({i + 1: math.exp((i + 1) / 2) for i in range(shots)})

    def _labels(self, places: tuple[int, int], draws: Draws) -> tuple[str, str]:
        own = [self.catalogue[place].name.lower() for place in places]
        policy = self.settings.policy
        if policy == "2way":
            return own[0], own[1]
        if policy == "2way-random":
            first = self._namer.name(draws)
            return first, self._namer.name(draws, first)
        return self._namer.name(draws, own[1]), own[1]

    def _some(self, place: int, count: int, draws: Draws) -> list[Image]:
        """``count`` different pictures of a class."""
        pictures = self.catalogue[place].pictures
        return [pictures[one] for one in draws.sample(range(len(pictures)), count)]

    def _controlled(
        self, examples: list[Example], both: tuple[int, int], draws: Draws
    ) -> tuple[Example, ...]:
        if self.settings.control == "none" or not examples:
            return tuple(examples)
        if self.settings.control == "shuffled":
            pictures = draws.shuffled([one.picture for one in examples])
        else:
            others = [place for place in self._usable if place not in both]
            if len(others) < 2:
                raise ValueError(
                    "control no-link needs two classes beside those of an episode; give more classes"
                )
            strange = draws.sample(others, 2)
            k = len(examples) // 2
            drawn = {role: self._some(place, k, draws) for role, place in enumerate(strange)}
            pictures = [drawn[one.role].pop() for one in examples]
        return tuple(one._replace(picture=new) for one, new in zip(examples, pictures, strict=True))


def _example(words: EpisodeWording, one: Example) -> tuple[Message, Message]:
    """An example's exchange; of its answer nothing is learnt."""
    answer = words.said(one.label) + words.example_end
    return (
        Message(role="user", content=with_picture(words.example, one.picture)),
        Message(role="assistant", content=(Text(text=answer),), weight=0.0),
    )


def _usable(catalogue: Catalogue, wanted: int) -> list[int]:
    enough = [place for place, one in enumerate(catalogue) if len(one.pictures) >= wanted]
    if len(enough) < 2:
        most = max(len(one.pictures) for one in catalogue)
        raise ValueError(
            f"{len(enough)} of {len(catalogue)} classes of {catalogue.name} have the {wanted} pictures that an episode "
            f"of {wanted - 1} shots needs (the most are {most}); ask for fewer shots, or give more pictures"
        )
    return enough


def _neighbours(
    catalogue: Catalogue, usable: Sequence[int], features: np.ndarray | None
) -> dict[int, list[int]]:
    """The usable neighbours of each usable class, nearest first, of another name than its own."""
    inside = set(usable)
    told = {
        place: [catalogue.places[one] for one in catalogue[place].neighbours if one in catalogue.places]
        for place in (usable if features is None else ())
    }
    if len(told) < len(usable) or not all(told.values()):
        ranked = neighbour_index(class_features(catalogue) if features is None else features)
        told = {place: told.get(place) or ranked[place].tolist() for place in usable}
    found = {}
    for place, near in told.items():
        own = catalogue[place].name.lower()
        found[place] = [
            int(one)
            for one in near
            if one in inside and one != place and _apart(catalogue[one].name.lower(), own)
        ]
        if not found[place]:
            raise ValueError(
                f"class {catalogue[place].id!r} has no neighbour of another name with pictures enough; give it "
                "some, or leave the class out"
            )
    return found


def _apart(one: str, other: str) -> bool:
    """Whether neither name holds the other."""
    return one not in other and other not in one
