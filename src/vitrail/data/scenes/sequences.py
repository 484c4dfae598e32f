"""Short sequences of pictures, and questions that need their order, beside some that do not.

A sequence is one of three: a *parade* (each frame shows another thing), *repeats* (one thing is in some of the frames)
or a *motion* (a thing crosses the picture). The kinds of question in :data:`ORDER` have answers that change when frames
change places, and each is asked such that a bag of frames tells nothing: every option is equally likely, given the same
frames in unknown order. ``times`` needs all frames, but not their order; ``static`` needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vitrail.data.scenes.composer import Item, Spec, compose
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.questions import Question
from vitrail.data.scenes.videos import make_clip
from vitrail.data.scenes.wording import Wording, confusable
from vitrail.data.sprites import Thing

Form = Literal["parade", "repeats", "motion"]
FORMS: dict[Form, tuple[str, ...]] = {
    "parade": ("ends", "neighbour", "when", "static"),
    "repeats": ("times", "static"),
    "motion": ("direction", "static"),
}
"""What can be asked about each form of sequence."""
ORDER = ("ends", "neighbour", "when", "direction")
"""Kinds whose answer depends on the order of frames."""
KINDS = (*ORDER, "times", "static")
PLANNED: dict[str, Form] = {kind: form for form, kinds in FORMS.items() for kind in kinds} | {
    "static": "parade"
}
"""The form that an evaluation's question of a kind is asked about."""
ORDINALS = ("first", "second", "third", "fourth", "fifth")
OPPOSITE_WAYS = {"left": "right", "right": "left", "up": "down", "down": "up"}
LONGEST = len(ORDINALS)
TEMPLATES: dict[str, tuple[str, ...]] = {
    "sequence.first": ("What comes first?", "What is in the first picture?"),
    "sequence.last": ("What comes last?", "What is in the last picture?"),
    "sequence.after": ("What comes right after the {noun}?", "What do you see right after the {noun}?"),
    "sequence.before": ("What comes right before the {noun}?", "What do you see right before the {noun}?"),
    "sequence.when": ("In which picture {is} the {noun}?", "Which picture shows the {noun}?"),
    "sequence.times": ("In how many pictures {is} the {noun}?", "How many pictures show the {noun}?"),
    "sequence.static": ("What is in one of the pictures?", "Which thing is in one of the pictures?"),
    "motion": ("Which way {is} the {noun} moving?", "In which direction {is} the {noun} moving?"),
}
"""Used where a suite's own wording has none of the same key."""


@dataclass(frozen=True)
class Series:
    """Frames in their order. ``names`` says which thing each frame is about (``motion``: the one that moves);
    ``direction`` where it goes. Without frames it is one that is told in words.
    """

    form: Form
    frames: tuple[Scene, ...]
    names: tuple[str, ...]
    direction: str | None = None


def make_sequence(
    form: Form, pool: Pool, side: int, length: int, draws: Draws, painted: bool = True
) -> Series:
    """A sequence of ``length`` frames. In *repeats* a thing's share of the frames is as likely as any other.

    Not ``painted`` it has names alone; a motion is always painted.
    """
    if form == "motion":
        clip = make_clip(pool, side, length, 1.0, draws)
        name = clip.frames[0].objects[clip.mover].name
        return Series(form, clip.frames, (name,) * length, clip.direction)
    if form == "parade":
        names = apart(pool, length, draws)
    else:
        often = draws.integer(1, length)
        chosen = apart(pool, 1 + length - often, draws)
        names = draws.shuffled([chosen[0]] * often + chosen[1:])
    if not painted:
        return Series(form, (), tuple(names))
    frames = tuple(compose(pool.library, Spec((Item(name),), side=side), draws) for name in names)
    return Series(form, frames, tuple(names))


def apart(pool: Pool, count: int, draws: Draws) -> list[str]:
    """``count`` names of the pool, in random order, none of which could be taken for another."""
    found: list[str] = []
    for name in draws.shuffled(pool.names):
        if all(not confusable(pool.library[name], pool.library[other]) for other in found):
            found.append(name)
        if len(found) == count:
            return found
    raise ValueError(
        f"the pool holds {len(found)} names that are surely different, and {count} are needed: use shorter sequences"
    )


class SequenceAsker:
    """Puts questions to sequences, each with one right answer and at most ``options`` options."""

    def __init__(self, pool: Pool, options: int = 4) -> None:
        self.pool, self.options = pool, options

    def ask(self, kind: str, sequence: Series, draws: Draws) -> Question:
        """A question of a kind that the sequence's form allows (:data:`FORMS`).

        ``about`` of the question are the frames that show its answer, for a neighbour then the frame that it is beside.
        ValueError for another kind.
        """
        if kind not in FORMS[sequence.form]:
            allowed = ", ".join(FORMS[sequence.form])
            raise ValueError(f"kind is {kind!r}; of a {sequence.form} can be asked: {allowed}")
        found: Question = getattr(self, f"_{kind}")(sequence, draws)
        return found

    def _ends(self, sequence: Series, draws: Draws) -> Question:
        which, place = draws.pick((("first", 0), ("last", len(sequence.names) - 1)))
        text = self._text(f"sequence.{which}", draws)
        return self._thing("ends", text, sequence, place, draws)

    def _neighbour(self, sequence: Series, draws: Draws) -> Question:
        which, step = draws.pick((("after", 1), ("before", -1)))
        last = len(sequence.names) - 1
        known = draws.integer(0, last - 1) + (step < 0)
        text = self._text(f"sequence.{which}", draws, self._named(sequence, known))
        return self._thing("neighbour", text, sequence, known + step, draws, known)

    def _thing(
        self, kind: str, text: str, sequence: Series, place: int, draws: Draws, known: int | None = None
    ) -> Question:
        """The wrong options are things of other frames: which things there are does not give the answer away."""
        phrases = [self._named(sequence, frame).phrase for frame in range(len(sequence.names))]
        wrong = [phrase for frame, phrase in enumerate(phrases) if frame not in (place, known)]
        about = (place,) if known is None else (place, known)
        return self._finish(kind, text, phrases[place], wrong, about, draws)

    def _when(self, sequence: Series, draws: Draws) -> Question:
        length = len(sequence.names)
        place = draws.integer(0, length - 1)
        text = self._text("sequence.when", draws, self._named(sequence, place))
        words = [f"the {word}" for word in ORDINALS[:length]]
        wrong = [word for word in words if word != words[place]]
        return self._finish("when", text, words[place], wrong, (place,), draws)

    def _direction(self, sequence: Series, draws: Draws) -> Question:
        """Two options: which line a thing moves along is seen in a bag of frames, which way is not."""
        assert sequence.direction is not None
        text = self._text("motion", draws, self._named(sequence, 0))
        wrong = [OPPOSITE_WAYS[sequence.direction]]
        every = tuple(range(len(sequence.names)))
        return self._finish("direction", text, sequence.direction, wrong, every, draws)

    def _times(self, sequence: Series, draws: Draws) -> Question:
        often = max(sequence.names.count(name) for name in sequence.names)
        subject = (
            draws.pick(sequence.names)
            if often == 1
            else next(name for name in sequence.names if sequence.names.count(name) == often)
        )
        places = tuple(frame for frame, name in enumerate(sequence.names) if name == subject)
        text = self._text("sequence.times", draws, self.pool.library[subject])
        words = self.pool.wording.numbers[1 : len(sequence.names) + 1]
        answer = words[len(places) - 1]
        return self._finish("times", text, answer, [word for word in words if word != answer], places, draws)

    def _static(self, sequence: Series, draws: Draws) -> Question:
        """Options: one thing that is shown, and others that are in no frame."""
        held = [{item.name for item in frame.objects} for frame in sequence.frames]
        held = held or [{name} for name in sequence.names]
        shown = sorted(set().union(*held))
        target = draws.pick(shown)
        library, wrong = self.pool.library, list[str]()
        for name in draws.shuffled(self.pool.names):
            if all(not confusable(library[name], library[other]) for other in (*shown, *wrong)):
                wrong.append(name)
            if len(wrong) == self.options - 1:
                break
        places = tuple(number for number, names in enumerate(held) if target in names)
        phrases = [library[name].phrase for name in wrong]
        text = self._text("sequence.static", draws)
        return self._finish("static", text, library[target].phrase, phrases, places, draws)

    def _named(self, sequence: Series, frame: int) -> Thing:
        return self.pool.library[sequence.names[frame]]

    def _text(self, form: str, draws: Draws, thing: Thing | None = None) -> str:
        template = draws.pick(templates(self.pool.wording, form))
        if thing is None:
            return template
        verb = "are" if thing.number == "several" else "is"
        return template.format(noun=thing.name, **{"is": verb})

    def _finish(
        self, kind: str, text: str, answer: str, wrong: Sequence[str], about: tuple[int, ...], draws: Draws
    ) -> Question:
        chosen = draws.sample(wrong, min(len(wrong), self.options - 1))
        return Question(kind, text, answer, tuple(draws.shuffled([answer, *chosen])), about)


def templates(wording: Wording, form: str) -> tuple[str, ...]:
    """The suite's own templates of a form, else those of :data:`TEMPLATES`."""
    return wording.templates.get(form) or TEMPLATES[form]
