"""What a suite says: kinds of things in words, templates of questions. Frozen with it."""

from __future__ import annotations

from pydantic import Field

from vitrail.data.records import Frozen
from vitrail.data.sprites import Thing


class KindWords(Frozen):
    """How a kind is spoken of. ``answer`` is an answer ("a bird"), ``noun`` points at one ("the bird").

    ``refer`` is false where the noun is too vague to point at one thing. ``near`` lists kinds so close
    that they are never offered beside it, and that may not be in a scene where the noun shall point at one
    thing.
    """

    answer: str
    noun: str
    plural: str
    refer: bool = True
    near: tuple[str, ...] = ()


KINDS: dict[str, KindWords] = {
    "mammal": KindWords(answer="a mammal", noun="mammal", plural="mammals"),
    "bird": KindWords(answer="a bird", noun="bird", plural="birds", near=("sky",)),
    "sea creature": KindWords(
        answer="a sea animal", noun="sea animal", plural="sea animals", near=("reptile",)
    ),
    "bug": KindWords(answer="a bug", noun="bug", plural="bugs"),
    "reptile": KindWords(answer="a reptile", noun="reptile", plural="reptiles", near=("sea creature",)),
    "fruit": KindWords(answer="a fruit", noun="fruit", plural="fruits", near=("vegetable", "food", "plant")),
    "vegetable": KindWords(
        answer="a vegetable", noun="vegetable", plural="vegetables", near=("fruit", "food", "plant")
    ),
    "food": KindWords(
        answer="food", noun="food", plural="foods", refer=False, near=("fruit", "vegetable", "drink")
    ),
    "drink": KindWords(answer="a drink", noun="drink", plural="drinks", near=("food", "household item")),
    "plant": KindWords(answer="a plant", noun="plant", plural="plants", near=("fruit", "vegetable")),
    "vehicle": KindWords(answer="a vehicle", noun="vehicle", plural="vehicles", near=("sky",)),
    "clothing": KindWords(answer="clothing", noun="piece of clothing", plural="pieces of clothing"),
    "musical instrument": KindWords(
        answer="a musical instrument",
        noun="musical instrument",
        plural="musical instruments",
        near=("device",),
    ),
    "tool": KindWords(
        answer="a tool",
        noun="tool",
        plural="tools",
        near=("household item", "office item", "device", "medical item"),
    ),
    "building": KindWords(answer="a building", noun="building", plural="buildings"),
    "sports item": KindWords(
        answer="sports equipment",
        noun="piece of sports equipment",
        plural="pieces of sports equipment",
        near=("toy",),
    ),
    "toy": KindWords(
        answer="a toy", noun="toy", plural="toys", near=("sports item", "household item", "device")
    ),
    "household item": KindWords(
        answer="a household item",
        noun="household item",
        plural="household items",
        refer=False,
        near=("tool", "device", "office item", "toy", "drink", "medical item", "clothing", "food"),
    ),
    "device": KindWords(
        answer="an electronic device",
        noun="electronic device",
        plural="electronic devices",
        near=("household item", "office item", "tool", "musical instrument", "medical item", "toy"),
    ),
    "office item": KindWords(
        answer="an office item",
        noun="office item",
        plural="office items",
        refer=False,
        near=("tool", "device", "household item"),
    ),
    "medical item": KindWords(
        answer="a medical item",
        noun="medical item",
        plural="medical items",
        refer=False,
        near=("tool", "device", "household item"),
    ),
    "sky": KindWords(
        answer="something in the sky",
        noun="thing in the sky",
        plural="things in the sky",
        refer=False,
        near=("bird", "vehicle"),
    ),
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "what.only": ("What is this?", "What does the picture show?", "What thing is in the picture?"),
    "what.place": (
        "What is in the {place}?",
        "What thing is in the {place} of the picture?",
        "Which thing do you see in the {place}?",
    ),
    "kind.only": ("What kind of thing is this?", "What kind of thing does the picture show?"),
    "kind.place": (
        "What kind of thing is in the {place}?",
        "What kind of thing do you see in the {place} of the picture?",
    ),
    "count.all": (
        "How many things are in the picture?",
        "How many things do you see?",
        "How many objects are there in total?",
    ),
    "count.some": (
        "How many {plural} are in the picture?",
        "How many {plural} do you see?",
        "How many {plural} are there?",
    ),
    "where": (
        "Where {is} the {noun}?",
        "Where in the picture {is} the {noun}?",
        "In which part of the picture {is} the {noun}?",
    ),
    "colour.only": ("What color is this thing?", "What color is the thing in the picture?"),
    "colour.place": (
        "What color is the thing in the {place}?",
        "Which color does the thing in the {place} have?",
    ),
    "relation": (
        "{Is} the {noun} left of, right of, above or below the {other}?",
        "Where {is} the {noun}, relative to the {other}: left, right, above or below?",
        "On which side of the {other} {is} the {noun}: left, right, above or below?",
    ),
    "caption": ("Describe the picture.", "What do you see?", "What is in the picture? Describe it briefly."),
    "change": (
        "What changed from the first picture to the second?",
        "What is different in the second picture?",
    ),
    "motion": ("Which way {is} the {noun} moving?", "In which direction {is} the {noun} moving?"),
}

NUMBERS = ("zero", "one", "two", "three", "four", "five")


class Wording(Frozen):
    """Kinds, templates by question kind, and number words."""

    kinds: dict[str, KindWords] = Field(default_factory=lambda: dict(KINDS))
    templates: dict[str, tuple[str, ...]] = Field(default_factory=lambda: dict(TEMPLATES))
    numbers: tuple[str, ...] = NUMBERS

    def kind(self, kind: str) -> KindWords:
        """The words of a kind; made from its name where the suite has none (a user's own folders)."""
        if kind in self.kinds:
            return self.kinds[kind]
        return KindWords(answer=kind, noun=kind, plural=kind)

    def could_be(self, thing: Thing, kind: str) -> bool:
        """Whether somebody could call ``thing`` one of ``kind``."""
        return kind == thing.kind or kind in thing.also or kind in self.kind(thing.kind).near


def confusable(a: Thing, b: Thing) -> bool:
    """Whether the name of one could be taken for the other: "egg" and "fried egg", "car" and "taxi"."""
    if a.name == b.name or a.name in b.also or b.name in a.also:
        return True
    shorter, longer = sorted((set(a.name.split()), set(b.name.split())), key=len)
    return shorter <= longer
