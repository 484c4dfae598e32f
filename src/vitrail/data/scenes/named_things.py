"""Things with names of their own, in scenes: which of them is there, whose it is, and what a memory holds of each.

The small version of RAP's data (Hao et al. 2024, arXiv 2410.13360): cut-out pictures get invented names and keepers,
which only a memory can tell. A conversation shows a scene, and its prompt holds some of the things as
:mod:`vitrail.data.personal` writes them, things that are not in the picture among them (RAP's noise concepts). A
question's prompt holds none, unless asked to; :meth:`NamedThings.memory` is what the method ``rap`` then remembers.

===========  =============================================  ===========================================================
kind         question                                       answer
===========  =============================================  ===========================================================
``which``    Which named thing is in the picture?           its name
``there``    Is <name> in the picture?                      Yes or No, as often; of what is not there, every other is
                                                            of the kind of what is, if there is one
``about``    Who keeps <name>? (not in the picture)         its keeper
``whose``    Who keeps the named thing in the picture?      its keeper
``else``     What else is in the picture?                   the plain word for a thing without a name
``caption``  Describe the picture with names.               a sentence of names and plain words
===========  =============================================  ===========================================================

Things are those of a suite, or the pictures of one's own folder: each sub-folder a kind, each file a thing by its own
name, and ``grey-cat.txt`` beside ``grey-cat.png`` a line about it. Those have no keepers to ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitrail.data.personal import Entry, remembered
from vitrail.data.records import Chat, Choices, Content, Message, Text
from vitrail.data.scenes.belongings import KEEPERS, NamedThing, belongings
from vitrail.data.scenes.composer import Item, Spec, compose
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.source import chosen
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key

Prompt = Literal["pictures", "lines", "nothing"]
Naming = Literal["rows", "things"]
KINDS = ("which", "there", "about", "whose", "else", "caption")
OPTIONS = 4
COUNTS = {0: 0.15, 1: 0.6, 2: 0.25}
"""How many named things a conversation's scene has, and how often."""


@dataclass(frozen=True)
class Row:
    """What an item is made of: a scene; the named things in it; the plain one beside them; those that the prompt holds
    (unless it holds nothing); and the one that a question is about.
    """

    scene: Scene
    present: tuple[NamedThing, ...]
    beside: str | None
    shown: tuple[NamedThing, ...]
    subject: NamedThing | None = None


class NamedThings(RandomAccess):
    """``n`` conversations, or (``asked``) questions, about ``things``: a suite's of ``names``, or a folder's pictures.

    ``prompt``: how things stand in it (default: ``pictures`` in conversations, ``nothing`` in questions); ``noise``: at
    most so many of them are not needed. ``naming`` of a suite's things: every conversation gives them other names
    (``rows``; only the prompt can tell then), or each has one (``things``, as in all questions). Invented names have so
    many ``syllables``; another ``edition`` renames all things. ``mixed_up``: :meth:`memory` has everything under the
    name of something else, as a control.

    ValueError for kinds, names or a folder that cannot be asked about.
    """

    root: Path | None = None

    def __init__(
        self,
        things: str,
        names: str = "known",
        *,
        fold: str = "train",
        seed: int = 0,
        n: int = 1000,
        asked: bool = False,
        kinds: Sequence[str] | None = None,
        prompt: Prompt | None = None,
        noise: int = 2,
        naming: Naming = "rows",
        syllables: int = 3,
        edition: int = 0,
        turns: tuple[int, int] = (2, 4),
        mixed_up: bool = False,
    ) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; give 1 or more")
        if noise < 0:
            raise ValueError(f"noise is {noise}; give 0 or more things that are not needed")
        if not 1 <= turns[0] <= turns[1]:
            raise ValueError(f"turns is {list(turns)}; give the fewest, 1 or more, and the most")
        if syllables < 2:
            raise ValueError(f"syllables is {syllables}; give 2 or more, or names run out")
        self.pool = belongings(things, names, fold)
        self._syllables = syllables
        self.n, self.asked, self.noise, self.turns, self.mixed_up = n, asked, noise, turns, mixed_up
        self.prompt = prompt or ("nothing" if asked else "pictures")
        self._anew = naming == "rows" and not asked and self.pool.folder is None
        # What has one name for good is never called by a plain word.
        lasting = () if self._anew else self.pool.names
        self._plain = tuple(name for name in self.pool.plain if name not in lasting)
        self.kinds = self._possible(kinds)
        self._bare = set(self.kinds) <= {"about", "else"} and not asked
        self._world = (self.pool.name, seed, edition)
        self._all = self._named("all", self.pool.names)
        use = "questions" if asked else "conversations"
        self.name = f"named-things/{self.pool.name}/{use}/{fold}/{names}/{seed}"
        self.set_aside = SetAside(used=n)
        told = (list(self.kinds), self.prompt, noise, naming, syllables, edition, list(turns), mixed_up)
        self.fingerprint = key("named things", self.pool.fingerprint, self.name, n, *told)

    def _possible(self, kinds: Sequence[str] | None) -> tuple[str, ...]:
        if self.asked and tuple(kinds or ()) == ("caption",):
            return ("caption",)
        known = [kind for kind in KINDS if not (kind == "caption" and self.asked)]
        if self.pool.folder is not None:
            known = [kind for kind in known if kind not in ("about", "whose")]
        if not self._plain:
            known.remove("else")
        return chosen(None if kinds is None else tuple(kinds), tuple(known))

    def __len__(self) -> int:
        return self.n

    def memory(self) -> list[Entry]:
        """Everything that has a name, with one picture; with ``mixed_up`` each under the name of the next one."""
        names = [one.name for one in self._all]
        if self.mixed_up:
            names = [*names[1:], *names[:1]]
        called = [one.renamed(name) for one, name in zip(self._all, names, strict=True)]
        return [Entry(one.name, one.line, self.pool.avatar(one.own_name), one.category) for one in called]

    def _named(self, place: str, names: Sequence[str]) -> tuple[NamedThing, ...]:
        """What things are called at a ``place``, which decides it."""
        draws, taken = Draws("names", *self._world, place), set[str]()
        return tuple(self.pool.thing(name, draws, taken, self._syllables) for name in names)

    def row(self, index: int) -> Row:
        """What item ``index`` is made of."""
        return self._row(index, Draws(self.name, index))

    def _kind(self, index: int) -> str | None:
        """The kind of question; None for a conversation, which has several."""
        return self.kinds[index % len(self.kinds)] if self.asked and self.kinds != ("caption",) else None

    def _row(self, index: int, draws: Draws) -> Row:
        kind = self._kind(index)
        there = draws.sample(self.pool.names, self._count(kind, draws))
        absent = self._absent(there, index, draws)
        subject = self._subject(kind, there, absent, index)
        needed = there if subject is None else [subject]
        unneeded = [name for name in absent if name not in needed]
        least = min(len(unneeded), 1 if self._bare or not needed else 0)
        noise = unneeded[: draws.integer(least, max(least, min(self.noise, len(unneeded))))]
        shown = draws.shuffled([*needed, *noise])
        plain = self._plain_beside([*there, *shown])
        alone = kind != "else" and not self._bare and there and draws.chance(0.5)
        beside = None if alone or not plain else draws.pick(plain)
        items = tuple(Item(name) for name in (*there, *([beside] if beside else [])))
        scene = compose(self.pool.library, Spec(items, side=self.pool.side), draws)
        used = list(dict.fromkeys((*shown, *there, *([subject] if subject else []))))
        called = {one.own_name: one for one in (self._named(str(index), used) if self._anew else self._all)}
        return Row(
            scene,
            tuple(called[name] for name in there),
            beside,
            tuple(called[name] for name in shown),
            None if subject is None else called[subject],
        )

    def _count(self, kind: str | None, draws: Draws) -> int:
        """How many named things a scene has: one where its name may be asked for, some of any number elsewhere."""
        if kind is not None or not (self._bare or {"there", "caption"} & set(self.kinds)):
            return 1
        return min(max(0 if self._plain else 1, draws.weighted(COUNTS)), len(self.pool.names) - 1)

    def _plain_beside(self, names: Sequence[str]) -> list[str]:
        return self.pool.unlike(self._plain, names)

    def _absent(self, there: Sequence[str], index: int, draws: Draws) -> list[str]:
        """What is not there, in random order; for every other item those of the kind of what is come first."""
        mixed = draws.shuffled([name for name in self.pool.names if name not in there])
        if there and (index // (2 * len(self.kinds))) % 2:
            kind = self.pool.library[there[0]].kind
            mixed.sort(key=lambda name: self.pool.library[name].kind != kind)
        return mixed

    def _subject(
        self, kind: str | None, there: Sequence[str], absent: Sequence[str], index: int
    ) -> str | None:
        if kind in ("which", "whose"):
            return there[0]
        if kind == "about" or kind == "there":
            no = kind == "about" or (index // len(self.kinds)) % 2 == 1
            return absent[0] if no else there[0]
        return None

    def _record(self, index: int) -> Chat:
        draws = Draws(self.name, index)
        row, kind = self._row(index, draws), self._kind(index)
        opening: list[Content] = [row.scene.image(), *self._prompt(row, index)]
        about = {
            "kind": kind or "caption",
            "picture": f"{self.name}/{index}",
            "present": [one.name for one in row.present],
            "boxes": [list(item.box) for item in row.scene.objects],
            "scene": row.scene.describe(),
        }
        if kind is not None:
            text, options, right = self._question(kind, row, draws)
            shown = draws.shuffled([right, *draws.sample(options, min(OPTIONS - 1, len(options)))])
            choices = Choices(options=tuple((Text(text=one),) for one in shown), answer=shown.index(right))
            asked = Message(role="user", content=(*opening, Text(text=text)))
            return Chat(id=f"{self.name}/{index}", messages=(asked,), choices=choices, meta=about)
        messages: list[Message] = []
        for _, text, answer in self._exchanges(row, draws):
            messages.append(Message(role="user", content=(*opening, Text(text=text))))
            messages.append(Message(role="assistant", content=(Text(text=answer),)))
            opening = []
        return Chat(id=f"{self.name}/{index}", messages=tuple(messages), meta=about)

    def _prompt(self, row: Row, index: int) -> list[Any]:
        if self.prompt == "nothing":
            return []
        pictures = self.prompt == "pictures"
        view = None if self.asked else index
        return list(
            remembered(
                [
                    (one.name, one.line, self.pool.avatar(one.own_name, view) if pictures else None)
                    for one in row.shown
                ]
            )
        )

    def _question(self, kind: str, row: Row, draws: Draws) -> tuple[str, list[str], str]:
        """The text, all wrong answers, and the right one."""
        if kind == "else":
            assert row.beside is not None
            taken = [row.beside, *(one.own_name for one in row.present)]
            wrong = [self.pool.library[name].phrase for name in self._plain_beside(taken)]
            return _ELSE, wrong, self.pool.library[row.beside].phrase
        assert row.subject is not None
        text, right = _asked(kind, row.subject, row.subject in row.present)
        if kind == "there":
            return text, ["No" if right == "Yes" else "Yes"], right
        known = [one.tag for one in self._all] if kind == "which" else list(KEEPERS)
        return text, [one for one in known if one != right], right

    def _exchanges(self, row: Row, draws: Draws) -> list[tuple[str, str, str]]:
        """Kind, question and answer of each turn of a conversation; what gives away who is there comes last."""
        first = [("there", *_asked("there", one, one in row.present)) for one in row.shown]
        first += [("about", *_asked("about", one, False)) for one in row.shown if one not in row.present]
        if row.beside is not None:
            first.append(("else", _ELSE, self.pool.library[row.beside].phrase))
        last = [("caption", _CAPTION, _described(row, self.pool.library, draws))]
        if len(row.present) == 1:
            last += [(kind, *_asked(kind, row.present[0], True)) for kind in ("which", "whose")]
        first, last = ([one for one in some if one[0] in self.kinds] for some in (first, last))
        count = draws.integer(*self.turns)
        ends = draws.shuffled(last)[:1]
        return [*draws.shuffled(first)[: max(count - len(ends), 0 if ends else 1)], *ends]


_ELSE = "What else is in the picture?"
_CAPTION = "Describe the picture with names."


def _asked(kind: str, thing: NamedThing, there: bool) -> tuple[str, str]:
    """A question about a thing, and its answer."""
    return {
        "which": ("Which named thing is in the picture?", thing.tag),
        "whose": ("Who keeps the named thing in the picture?", thing.keeper),
        "about": (f"Who keeps {thing.tag}?", thing.keeper),
        "there": (f"Is {thing.tag} in the picture?", "Yes" if there else "No"),
    }[kind]


def _described(row: Row, library: Any, draws: Draws) -> str:
    """One sentence that says everything in the scene, in any order."""
    said = [one.tag for one in row.present] + ([library[row.beside].phrase] if row.beside else [])
    said = draws.shuffled(said)
    return f"I see {said[0] if len(said) == 1 else ', '.join(said[:-1]) + ' and ' + said[-1]}."
