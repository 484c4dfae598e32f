"""Whether a claim about a composed scene holds, from what is known about the scene."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from vitrail.data.scenes import suite


class SceneTruth:
    """Judges what is said about things of a suite: that they are there, how many, of which colour, and where.

    A text names things of the suite, each perhaps behind a number and a colour and before a place; it holds if all of
    them do, and if the background that it names is the scene's. A text that names neither does not hold.
    """

    def __init__(self, name: str) -> None:
        made = suite(name)
        wording = made.config.wording
        self._numbers = {word: count for count, word in enumerate(wording.numbers) if word}
        self._names: dict[str, tuple[str, bool]] = {}
        for names in made.config.split.values():
            for one in names:
                thing = made.library[one]
                self._names.setdefault(one, (one, False))
                if thing.plural:
                    self._names.setdefault(thing.plural, (one, True))
        # A name may begin with a colour ("red apple"), so the longest name is looked for first.
        longest = "|".join(map(re.escape, sorted(self._names, key=lambda one: (-len(one), one))))
        places = "top left|top right|bottom left|bottom right|center"
        counts = "|".join(map(re.escape, self._numbers))
        colours = "|".join(sorted(set(made.config.colours.values())))
        self._thing = re.compile(
            rf"(?:\b(?P<number>{counts}|an?|the)\s+)?(?:\b(?P<colour>{colours})\s+)?(?<!\w)(?P<name>{longest})(?!\w)"
            rf"(?:\s+in the (?P<place>{places}))?"
        )
        self._ground = re.compile(r"\b(?P<ground>[a-z]+) background")

    def holds(self, text: str, scene: Mapping[str, Any]) -> bool:
        """Whether ``text`` is true of a scene (a record's ``meta["scene"]``)."""
        lowered = text.casefold()
        ground = [found["ground"] == scene["background"] for found in self._ground.finditer(lowered)]
        things = [self._there(found, scene["objects"]) for found in self._thing.finditer(lowered)]
        return bool(ground or things) and all(ground) and all(things)

    def _there(self, said: re.Match[str], objects: list[Mapping[str, Any]]) -> bool:
        name, plural = self._names[said["name"]]
        of_it = [one for one in objects if one["name"] == name]
        fitting = [
            one
            for one in of_it
            if (said["colour"] is None or one["colour"] == said["colour"] or said["colour"] in name.split())
            and (said["place"] is None or one["place"] == said["place"])
        ]
        number = self._numbers.get(said["number"] or "")
        if number is not None:
            return len(of_it) == number and len(fitting) == number
        return len(fitting) >= (2 if plural else 1)


@cache
def scene_truth(name: str) -> SceneTruth:
    """The judge of a suite, made once."""
    return SceneTruth(name)
