"""Questions put to scenes, planned for them or not. The scene gives each its one right answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import PLACES, RELATIONS, Scene
from vitrail.data.scenes.planner import Plan
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.wording import confusable
from vitrail.data.sprites import Thing


@dataclass(frozen=True)
class Question:
    """A question, its short answer, and options (the answer among them, at ``options[right]``)."""

    kind: str
    text: str
    answer: str
    options: tuple[str, ...]
    about: tuple[int, ...]
    """The indices of the objects that it is about."""

    @property
    def right(self) -> int:
        """The index of the right option."""
        return self.options.index(self.answer)


class Asker:
    """Puts questions to scenes. ``present`` is how often a wrong option is another thing of the scene."""

    def __init__(self, pool: Pool, options: int = 4, present: float = 0.5) -> None:
        self.pool, self.options, self.present = pool, options, present

    def ask(self, kind: str, scene: Scene, draws: Draws, plan: Plan | None = None) -> Question | None:
        """A question of ``kind`` that has one right answer in ``scene``; None if there is none to ask.

        ``plan`` asks what was planned for the scene; without it one of all that can be asked is drawn, and
        its wrong options are drawn after its answer.
        """
        candidates = getattr(self, f"_{kind}_candidates")(scene)
        if plan is not None:
            candidates = [candidate for candidate in candidates if candidate == (plan.form, plan.about)]
        elif kind == "count":
            # Scenes are full of single things: asked about evenly, "one" would nearly always be right.
            candidates = [(form, about) for form, about in candidates if form == "all" or len(about) > 1]
        if not candidates:
            return None
        form, about = draws.pick(candidates)
        question: Question = getattr(self, f"_{kind}")(
            scene, form, about, draws, plan.options if plan else ()
        )
        return question

    def _finish(
        self, kind: str, text: str, answer: str, wrong: Sequence[str], about: tuple[int, ...], draws: Draws
    ) -> Question:
        options = draws.shuffled([answer, *wrong])
        return Question(kind, text, answer, tuple(options), about)

    def _template(self, form: str, draws: Draws) -> str:
        return draws.pick(self.pool.wording.templates[form])

    def _located(self, scene: Scene) -> list[tuple[str, tuple[int, ...]]]:
        """Objects that a place, or being alone, points at."""
        if len(scene.objects) == 1:
            return [("only", (0,))]
        places = [item.place for item in scene.objects]
        return [("place", (i,)) for i, place in enumerate(places) if place and places.count(place) == 1]

    def _at(self, kind: str, form: str, scene: Scene, index: int, draws: Draws) -> str:
        return self._template(f"{kind}.{form}", draws).format(place=scene.objects[index].place)

    @staticmethod
    def _others(options: tuple[str, ...], answer: str) -> list[str]:
        return [option for option in options if option != answer]

    def _wrong(
        self, answer: str, present: Sequence[str], pools: Sequence[Sequence[str]], draws: Draws
    ) -> list[str]:
        """Wrong options: perhaps one of the scene, one from each pool, the rest from the last pool."""
        wrong: list[str] = []
        sources = [present, *pools] if draws.chance(self.present) else list(pools)
        while len(wrong) < self.options - 1:
            source = sources.pop(0) if len(sources) > 1 else sources[0]
            fresh = [option for option in source if option != answer and option not in wrong]
            if fresh:
                wrong.append(draws.pick(fresh))
            elif len(sources) == 1:
                break
        return wrong

    _what_candidates = _located
    _kind_candidates = _located

    def _what(
        self, scene: Scene, form: str, about: tuple[int, ...], draws: Draws, options: tuple[str, ...]
    ) -> Question:
        library, target = self.pool.library, scene.objects[about[0]].thing
        clear = self.pool.unlike_name(target.name)
        present = [item.name for item in scene.objects if not confusable(item.thing, target)]
        alike = [name for name in clear if library[name].kind == target.kind]
        wrong = self._others(options, target.name) or self._wrong(target.name, present, [alike, clear], draws)
        # Two wrong options may be near each other: only the right one must stand apart.
        phrases = [library[name].phrase for name in wrong]
        text = self._at("what", form, scene, about[0], draws)
        return self._finish("what", text, target.phrase, phrases, about, draws)

    def _kind(
        self, scene: Scene, form: str, about: tuple[int, ...], draws: Draws, options: tuple[str, ...]
    ) -> Question:
        words, target = self.pool.wording, scene.objects[about[0]].thing
        clear = [kind for kind in self.pool.kinds if not self._reaches(target, kind)]
        present = [item.kind for item in scene.objects if item.kind in clear]
        kinds = self._others(options, target.kind) or self._wrong(target.kind, present, [clear], draws)
        wrong = [words.kind(kind).answer for kind in kinds]
        text = self._at("kind", form, scene, about[0], draws)
        return self._finish("kind", text, words.kind(target.kind).answer, wrong, about, draws)

    def _reaches(self, thing: Thing, kind: str) -> bool:
        return self.pool.wording.could_be(thing, kind) or thing.kind in self.pool.wording.kind(kind).near

    def _colour_candidates(self, scene: Scene) -> list[tuple[str, tuple[int, ...]]]:
        return [(form, about) for form, about in self._located(scene) if scene.objects[about[0]].colour]

    def _colour(
        self, scene: Scene, form: str, about: tuple[int, ...], draws: Draws, options: tuple[str, ...]
    ) -> Question:
        answer = scene.objects[about[0]].colour
        assert answer is not None
        words = list(self.pool.by_colour)
        present = [item.colour for item in scene.objects if item.colour and item.colour != answer]
        wrong = self._others(options, answer) or self._wrong(answer, present, [words], draws)
        text = self._at("colour", form, scene, about[0], draws)
        return self._finish("colour", text, answer, wrong, about, draws)

    def _pointed(self, scene: Scene, form: str) -> list[int]:
        """Objects that their name, or the noun of their kind, points at and at nothing else in the scene."""
        found = []
        for i, item in enumerate(scene.objects):
            others = [other.thing for other in scene.objects if other is not item]
            if form == "name":
                clear = self.pool.named and not any(confusable(item.thing, other) for other in others)
            else:
                clear = self.pool.wording.kind(item.kind).refer and not any(
                    self.pool.wording.could_be(other, item.kind) for other in others
                )
            if clear:
                found.append(i)
        return found

    def _noun(self, thing: Thing, form: str) -> tuple[str, str]:
        """What a thing is called, and the verb that goes with it."""
        if form == "kind":
            return self.pool.wording.kind(thing.kind).noun, "is"
        return thing.name, "are" if thing.number == "several" else "is"

    def _where_candidates(self, scene: Scene) -> list[tuple[str, tuple[int, ...]]]:
        return [
            (form, (i,))
            for form in ("name", "kind")
            for i in self._pointed(scene, form)
            if scene.objects[i].place
        ]

    def _where(
        self, scene: Scene, form: str, about: tuple[int, ...], draws: Draws, options: tuple[str, ...]
    ) -> Question:
        target = scene.objects[about[0]]
        assert target.place is not None
        noun, verb = self._noun(target.thing, form)
        present = [item.place for item in scene.objects if item.place and item.place != target.place]
        wrong = self._others(options, target.place) or self._wrong(target.place, present, [PLACES], draws)
        text = self._template("where", draws).format(noun=noun, **{"is": verb})
        return self._finish("where", text, target.place, wrong, about, draws)

    def _relation_candidates(self, scene: Scene) -> list[tuple[str, tuple[int, ...]]]:
        return [
            (form, (a, b))
            for form in ("name", "kind")
            for a in self._pointed(scene, form)
            for b in self._pointed(scene, form)
            if a != b and scene.relation(a, b)
        ]

    def _relation(
        self, scene: Scene, form: str, about: tuple[int, ...], draws: Draws, options: tuple[str, ...]
    ) -> Question:
        answer = scene.relation(*about)
        assert answer is not None
        noun, verb = self._noun(scene.objects[about[0]].thing, form)
        other, _ = self._noun(scene.objects[about[1]].thing, form)
        words = {"noun": noun, "other": other, "is": verb, "Is": verb.capitalize()}
        text = self._template("relation", draws).format(**words)
        return self._finish(
            "relation", text, answer, [word for word in RELATIONS if word != answer], about, draws
        )

    def _count_candidates(self, scene: Scene) -> list[tuple[str, tuple[int, ...]]]:
        things = [item.thing for item in scene.objects]
        found: list[tuple[str, tuple[int, ...]]] = [("all", tuple(range(len(things))))]
        for i, thing in enumerate(things):
            if self.pool.named and thing.plural:
                meant = tuple(j for j, other in enumerate(things) if other.name == thing.name)
                doubtful = any(confusable(thing, other) for other in things if other.name != thing.name)
                if meant[0] == i and not doubtful:
                    found.append(("name", meant))
            if self.pool.wording.kind(thing.kind).refer:
                meant = tuple(j for j, other in enumerate(things) if other.kind == thing.kind)
                others = [other for other in things if other.kind != thing.kind]
                doubtful = any(self.pool.wording.could_be(other, thing.kind) for other in others)
                if meant[0] == i and not doubtful:
                    found.append(("kind", meant))
        return [(form, about) for form, about in found if len(about) < len(self.pool.wording.numbers)]

    def _count(
        self, scene: Scene, form: str, about: tuple[int, ...], draws: Draws, options: tuple[str, ...]
    ) -> Question:
        numbers = self.pool.wording.numbers
        answer = numbers[len(about)]
        thing = scene.objects[about[0]].thing
        if form == "all":
            text = self._template("count.all", draws)
        else:
            plural = thing.plural if form == "name" else self.pool.wording.kind(thing.kind).plural
            text = self._template("count.some", draws).format(plural=plural)
        wrong = [word for word in numbers[1:5] if word != answer][: self.options - 1]
        return self._finish("count", text, answer, wrong, about, draws)
