"""Scenes laid out for a question, so that without the picture each option is as likely as the next.

The options are drawn first, then which of them is true, then a scene where it is: however the options were
chosen, the words tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vitrail.data.scenes.composer import AREAS, WHOLE, Area, Item, Spec
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import PLACES, RELATIONS
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.wording import confusable

KINDS = ("what", "kind", "count", "where", "colour", "relation")
NAMELESS = ("kind", "count", "where", "colour", "relation")
"""Kinds that can be asked and answered about a thing whose name is never used."""


Subject = tuple[str, str]
"""What a question points at: ``("name", a name)`` or ``("kind", a kind)``."""


@dataclass(frozen=True)
class Plan:
    """A scene to compose, and the question to ask about it: ``form`` of wording, ``about`` which items.

    ``options`` are names, kinds, colour words or places; empty where the question's kind has fixed ones.
    """

    kind: str
    spec: Spec
    form: str
    about: tuple[int, ...]
    options: tuple[str, ...] = ()


class Planner:
    """Lays out scenes for questions.

    ``side`` in pixels, at most ``most`` things a scene, ``options`` a question. ``by_name`` is how often a
    known thing is pointed at by its name (else by its kind), ``present`` how often a wrong option is in
    the scene too.
    """

    def __init__(
        self,
        pool: Pool,
        side: int,
        most: int = 4,
        options: int = 4,
        by_name: float = 0.7,
        present: float = 0.5,
    ) -> None:
        self.pool, self.side, self.most, self.options = pool, side, most, options
        self.by_name, self.present = by_name, present

    def plan(self, kind: str, draws: Draws) -> Plan:
        """A plan for a question of ``kind``. ValueError if the pool cannot carry one."""
        if kind not in KINDS:
            raise ValueError(f"question kind is {kind!r}; use one of {', '.join(KINDS)}")
        if kind == "what" and not self.pool.named:
            raise ValueError("a question of kind 'what' needs names, and these names are held out")
        if kind not in self.possible():
            raise ValueError(f"these {len(self.pool.names)} things cannot carry questions of kind {kind!r}")
        plan: Plan = getattr(self, f"_{kind}")(draws)
        return plan

    def possible(self) -> tuple[str, ...]:
        """The question kinds that the pool's things can carry."""
        pool = self.pool
        pointed = bool(pool.countable or pool.referable)
        two_kinds = any(not pool.alike(a, b) for a in pool.referable for b in pool.referable)
        carried = {
            "what": pool.named,
            "kind": len(self._far_kinds(pool.kinds)) > 1,
            "count": pointed,
            "where": pointed,
            "colour": len(pool.by_colour) > 1,
            "relation": bool(pool.countable) or two_kinds,
        }
        return tuple(kind for kind in KINDS if carried[kind])

    def _spec(self, items: Sequence[Item]) -> Spec:
        return Spec(tuple(items), side=self.side)

    def _placed(
        self, kind: str, target: str, wrong: Sequence[str], options: Sequence[str], draws: Draws
    ) -> Plan:
        """The target at a place, each as likely, and up to ``most`` things in all, at different places.

        ``wrong`` are names that stand for a wrong option.
        """
        count = draws.integer(1, self.most)
        places = draws.sample(PLACES, count)
        lures = [name for name in wrong if name != target]
        first = draws.sample(lures, 1) if lures and count > 1 and draws.chance(self.present) else []
        rest = [name for name in self.pool.names if name != target and name not in first]
        others = first + draws.sample(rest, count - 1 - len(first))
        items = [Item(name, AREAS[place]) for name, place in zip([target, *others], places, strict=True)]
        return Plan(kind, self._spec(items), "only" if count == 1 else "place", (0,), tuple(options))

    def _apart(
        self, candidates: Sequence[str], clear: Callable[[str, str], bool], chosen: list[str]
    ) -> list[str]:
        """``chosen`` and candidates in order, each clear of all before, until there are enough options."""
        for candidate in candidates:
            if len(chosen) >= self.options:
                break
            if all(candidate != other and clear(candidate, other) for other in chosen):
                chosen.append(candidate)
        return chosen

    def _what(self, draws: Draws) -> Plan:
        """Options: a name, one of its kind, and others of any kind."""
        library = self.pool.library

        def clear(a: str, b: str) -> bool:
            return not confusable(library[a], library[b])

        start = draws.pick(self.pool.names)
        alike = [name for name in self.pool.unlike_name(start) if library[name].kind == library[start].kind]
        pair = [start, *(draws.sample(alike, 1) if alike else [])]
        options = self._apart(draws.shuffled(self.pool.names), clear, pair)
        return self._placed("what", draws.pick(options), options, options, draws)

    def _kind(self, draws: Draws) -> Plan:
        """Options: kinds far from each other."""
        kinds = self._far_kinds(draws.shuffled(self.pool.kinds))
        kind = draws.pick(kinds)
        others = [other for other in kinds if other != kind]
        things = self.pool.of_kind(kind)
        fair = [name for name in things if not self.pool.library[name].also.intersection(others)]
        lures = [name for other in others for name in self.pool.of_kind(other)]
        return self._placed("kind", draws.pick(fair or things), lures, kinds, draws)

    def _far_kinds(self, kinds: Sequence[str]) -> list[str]:
        return self._apart(kinds, lambda a, b: not self.pool.alike(a, b), [])

    def _colour(self, draws: Draws) -> Plan:
        """Options: any colours that some thing of the pool has."""
        by_colour = self.pool.by_colour
        options = draws.sample(list(by_colour), min(self.options, len(by_colour)))
        colour = draws.pick(options)
        lures = [name for word in options if word != colour for name in by_colour[word]]
        return self._placed("colour", draws.pick(by_colour[colour]), lures, options, draws)

    def _subject(self, draws: Draws) -> Subject:
        """What a question points at."""
        by_name = self.pool.countable and (not self.pool.referable or draws.chance(self.by_name))
        if by_name:
            return "name", draws.pick(self.pool.countable)
        return "kind", draws.pick(self.pool.referable)

    def _fitting(self, subject: Subject) -> tuple[str, ...]:
        """The names that the subject means."""
        return (subject[1],) if subject[0] == "name" else self.pool.of_kind(subject[1])

    def _unlike(self, subject: Subject) -> tuple[str, ...]:
        """The names that nobody could take for the subject."""
        form, value = subject
        return self.pool.unlike_name(value) if form == "name" else self.pool.unlike_kind(value)

    def _count(self, draws: Draws) -> Plan:
        count = draws.integer(1, 4)
        if draws.chance(1 / 3):
            names = [draws.pick(self.pool.names) for _ in range(count)]
            return Plan("count", self._spec([Item(name) for name in names]), "all", tuple(range(count)))
        subject = self._subject(draws)
        meant = [draws.pick(self._fitting(subject)) for _ in range(count)]
        unlike = self._unlike(subject)
        others = draws.sample(unlike, min(len(unlike), draws.integer(0, min(2, 5 - count))))
        items = [Item(name) for name in (*meant, *others)]
        return Plan("count", self._spec(items), subject[0], tuple(range(count)))

    def _where(self, draws: Draws) -> Plan:
        subject = self._subject(draws)
        target = draws.pick(self._fitting(subject))
        options = draws.sample(PLACES, min(self.options, len(PLACES)))
        place = draws.pick(options)
        unlike = self._unlike(subject)
        others = draws.sample(unlike, min(len(unlike), draws.integer(0, self.most - 1)))
        free = draws.sample([other for other in PLACES if other != place], len(others))
        items = [Item(name, AREAS[at]) for name, at in zip([target, *others], [place, *free], strict=True)]
        return Plan("where", self._spec(items), subject[0], (0,), tuple(options))

    def _relation(self, draws: Draws) -> Plan:
        """Two things side by side or one above the other, and sometimes a third anywhere."""
        for _ in range(100):
            first = self._subject(draws)
            second = self._second(first, draws)
            if second is None:
                continue
            unlike_first, unlike_second = set(self._unlike(first)), set(self._unlike(second))
            a = [name for name in self._fitting(first) if name in unlike_second]
            b = [name for name in self._fitting(second) if name in unlike_first]
            if a and b:
                break
        else:
            raise ValueError("no two of these things can be told apart by their names or kinds")
        side = draws.pick(RELATIONS)
        line = draws.uniform(0.3, 0.7)
        low, high = (0.20, 0.36), (0.64, 0.80)
        along, against = (low, high) if side in ("left", "above") else (high, low)
        items = [
            Item(draws.pick(a), _area(side, along, line)),
            Item(draws.pick(b), _area(side, against, line)),
        ]
        free = [name for name in self.pool.names if name in unlike_first and name in unlike_second]
        if free and draws.chance(0.4):
            items.append(Item(draws.pick(free), WHOLE))
        return Plan("relation", Spec(tuple(items), side=self.side, sizes=(0.26, 0.42)), first[0], (0, 1))

    def _second(self, first: Subject, draws: Draws) -> Subject | None:
        """Something of the same form that cannot be taken for ``first``."""
        if first[0] == "name":
            choices = self.pool.unlike_name(first[1])
        else:
            choices = tuple(kind for kind in self.pool.referable if not self.pool.alike(kind, first[1]))
        return (first[0], draws.pick(choices)) if choices else None


def _area(side: str, along: tuple[float, float], line: float) -> Area:
    band = (line - 0.04, line + 0.04)
    x, y = (along, band) if side in ("left", "right") else (band, along)
    return x[0], y[0], x[1], y[1]
