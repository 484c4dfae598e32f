"""Two scenes and a text that means things in either, both or neither of them, with their exact boxes.

MC-Bench's task (arXiv 2410.12332), composed. Six kinds of text, two in each of its styles; in a kind targets are in
each of its places equally often, pairs without any included:

========== ========== ==================================================== ================================
kind       style      text                                                 targets in
========== ========== ==================================================== ================================
one        referring  the umbrella                                         both, first, second, neither
two        referring  group 1: the umbrella; group 2: the cat              both, first, second, neither
same       comparison every thing that both pictures show                  both, neither
different  comparison every thing that only one of the pictures shows      both, first, second, neither
more       reasoning  all birds of the picture that shows more birds       first, second, neither
odd        reasoning  the thing that alone is of another kind than all     first, second, neither
========== ========== ==================================================== ================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.data.scenes.composer import Item, Spec, compose
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Box, Scene
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.wording import confusable

Where = tuple[bool, bool]
BOTH, FIRST, SECOND, NEITHER = (True, True), (True, False), (False, True), (False, False)
ANYWHERE: tuple[Where, ...] = (BOTH, FIRST, SECOND, NEITHER)
PLACES: dict[str, tuple[Where, ...]] = {
    "one": ANYWHERE,
    "two": ANYWHERE,
    "same": (BOTH, NEITHER),
    "different": ANYWHERE,
    "more": (FIRST, SECOND, NEITHER),
    "odd": (FIRST, SECOND, NEITHER),
}
"""In which pictures targets can be, by kind."""
KINDS = tuple(PLACES)
STYLES = {
    "one": "referring", "two": "referring", "same": "comparison", "different": "comparison", "more": "reasoning",
    "odd": "reasoning",
}  # fmt: skip
"""MC-Bench's style of each kind."""
_TRIES = 400


@dataclass(frozen=True)
class GroundingPair:
    """Two scenes, the text, and its targets: picture (0 or 1), box (``xyxy``, pixels), group (from 1)."""

    kind: str
    text: str
    scenes: tuple[Scene, Scene]
    targets: tuple[tuple[int, Box, int], ...]


@dataclass(frozen=True)
class _Plan:
    """Names of each picture; those that are meant, by picture, with their groups."""

    text: str
    names: tuple[Sequence[str], Sequence[str]]
    meant: tuple[dict[str, int], dict[str, int]]


def make_pair(kind: str, where: Where, pool: Pool, side: int, most: int, draws: Draws) -> GroundingPair:
    """A pair of a kind whose targets are ``where``; up to ``most`` things a picture (two at least).

    ValueError for a pool with too few unlike things.
    """
    plan = _PLANS[kind](where, pool, max(2, most), draws)
    scenes = tuple(_composed(pool, names, side, draws) for names in plan.names)
    targets = tuple(
        (image, item.box, plan.meant[image][item.name])
        for image, scene in enumerate(scenes)
        for item in scene.objects
        if item.name in plan.meant[image]
    )
    return GroundingPair(kind, plan.text, (scenes[0], scenes[1]), targets)


def _composed(pool: Pool, names: Sequence[str], side: int, draws: Draws) -> Scene:
    return compose(pool.library, Spec(tuple(Item(name) for name in draws.shuffled(names)), side=side), draws)


def _unlike(
    pool: Pool, count: int, draws: Draws, among: Sequence[str] = (), beside: Sequence[str] = ()
) -> list[str]:
    """``count`` names that can be taken neither for each other nor for those ``beside``."""
    taken = [pool.library[name] for name in beside]
    found: list[str] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        name = draws.pick(among or pool.names)
        thing = pool.library[name]
        if not any(confusable(thing, other) for other in taken):
            taken.append(thing)
            found.append(name)
    raise ValueError(
        f"there are too few unlike things to draw {count} beside {len(beside)}; use a larger suite"
    )


def _one(where: Where, pool: Pool, most: int, draws: Draws) -> _Plan:
    (name,) = _unlike(pool, 1, draws)
    return _named({name: where}, pool, most, draws, f"the {name}")


def _two(where: Where, pool: Pool, most: int, draws: Draws) -> _Plan:
    """The first group's targets are somewhere of ``where``, the second's too, so that both together are there."""
    a, b = _unlike(pool, 2, draws)
    first = tuple(there and draws.chance(0.75) for there in where)
    second = tuple(there and (not one or draws.chance(0.5)) for there, one in zip(where, first, strict=True))
    places = {a: (first[0], first[1]), b: (second[0], second[1])}
    return _named(places, pool, most, draws, f"group 1: the {a}; group 2: the {b}")


def _named(places: dict[str, Where], pool: Pool, most: int, draws: Draws, text: str) -> _Plan:
    """Things that are named, where they shall be, among others; no picture is empty."""
    names: list[list[str]] = []
    for image in (0, 1):
        there = [name for name, where in places.items() if where[image]]
        others = draws.integer(0 if there else 1, most - len(there))
        names.append([*there, *_unlike(pool, others, draws, beside=list(places))])
    groups = {name: group for group, name in enumerate(places, start=1)}
    meant = [{name: groups[name] for name, where in places.items() if where[image]} for image in (0, 1)]
    return _Plan(text, (names[0], names[1]), (meant[0], meant[1]))


def _same(where: Where, pool: Pool, most: int, draws: Draws) -> _Plan:
    shared = draws.integer(1, most - 1) if where == BOTH else 0
    own = [draws.integer(0 if shared else 1, most - shared) for _ in (0, 1)]
    names = _unlike(pool, shared + sum(own), draws)
    both, first, second = names[:shared], names[shared : shared + own[0]], names[shared + own[0] :]
    meant = dict.fromkeys(both, 1)
    return _Plan("every thing that both pictures show", ([*both, *first], [*both, *second]), (meant, meant))


def _different(where: Where, pool: Pool, most: int, draws: Draws) -> _Plan:
    shared = draws.integer(1, most - 1)
    own = [draws.integer(1, most - shared) if there else 0 for there in where]
    names = _unlike(pool, shared + sum(own), draws)
    both, first, second = names[:shared], names[shared : shared + own[0]], names[shared + own[0] :]
    text = "every thing that only one of the two pictures shows"
    return _Plan(
        text, ([*both, *first], [*both, *second]), (dict.fromkeys(first, 1), dict.fromkeys(second, 1))
    )


def _more(where: Where, pool: Pool, most: int, draws: Draws) -> _Plan:
    """As many of a kind in both pictures where there is no target."""
    kind = _kind(pool, most, draws)
    few = draws.integer(1, most - 1)
    many = draws.integer(few + 1, most)
    counts = [many if there else few for there in where]
    of_kind, others = pool.of_kind(kind), pool.unlike_kind(kind)
    names = [
        [*draws.sample(of_kind, count), *_unlike(pool, draws.integer(0, most - count), draws, others)]
        for count in counts
    ]
    plural = pool.wording.kind(kind).plural
    text = (
        f"all {plural} of the picture that shows more {plural} than the other one; none if both show as many"
    )
    meant = [dict.fromkeys(names[image][: counts[image]] if where[image] else (), 1) for image in (0, 1)]
    return _Plan(text, (names[0], names[1]), (meant[0], meant[1]))


def _odd(where: Where, pool: Pool, most: int, draws: Draws) -> _Plan:
    kind = _kind(pool, most, draws)
    odd = _unlike(pool, 1, draws, pool.unlike_kind(kind))
    names: list[list[str]] = []
    for there in where:
        count = draws.integer(1, most - there)
        names.append([*draws.sample(pool.of_kind(kind), count), *(odd if there else ())])
    text = "the one thing that is of another kind than all others in the two pictures"
    meant = [dict.fromkeys(odd if there else (), 1) for there in where]
    return _Plan(text, (names[0], names[1]), (meant[0], meant[1]))


def _kind(pool: Pool, most: int, draws: Draws) -> str:
    """A kind whose noun is plain, with enough things, and enough others beside it."""
    kinds = [one for one in pool.referable if len(pool.of_kind(one)) >= most and pool.unlike_kind(one)]
    if not kinds:
        raise ValueError(f"no kind has {most} things; use a larger suite")
    return draws.pick(kinds)


_PLANS = {"one": _one, "two": _two, "same": _same, "different": _different, "more": _more, "odd": _odd}
