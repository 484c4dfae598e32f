"""Questions about charts, maps and pages of known values, drawn anew for each seed.

The three categories of SEED-Bench-2-Plus (arXiv 2404.16790) with exact truth: every answer needs text that is in the
picture, and no option is favoured without it (wrong options come from the same picture or the same range).

Small pictures hold little text: :class:`Layout` has fewer entries in larger letters.
"""

from __future__ import annotations

import io
from dataclasses import astuple, dataclass
from typing import Any

from PIL import Image as PILImage

from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.data.scenes.draws import Draws
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.data.text_rich.drawings import bars, page, town
from vitrail.storage.cache import key

CATEGORIES = ("chart", "map", "web")
GOODS = ("Lamp", "Chair", "Kettle", "Basket", "Mirror", "Blanket", "Clock", "Ladder", "Teapot", "Bucket")
PLACES = ("Arden", "Brook", "Colby", "Dover", "Elmet", "Fenby", "Goole", "Hythe", "Ilkley", "Jarrow")
TITLES = ("Corner Shop", "Green Market", "Old Mill", "River Store", "Hill House", "Sun Depot")
THINGS = ("Apples", "Pears", "Plums", "Figs", "Limes", "Dates", "Nuts", "Beans")
ASKED = {"chart": ("value", "highest"), "map": ("square", "place"), "web": ("price", "item")}
"""What is asked of each category, equally often."""
VERSION = 1
OPTIONS = 4

Drawn = tuple[PILImage.Image, str, str, list[str], str]
"""A picture, the question, the right answer, wrong ones, and what is asked."""


@dataclass(frozen=True)
class Layout:
    """``entries`` bars, places or goods a picture (1 to 4), their names and values ``letters`` times as large as usual;
    values are from 10 to ``most``; ``asks``: some of :data:`ASKED` (None: all).

    ValueError for what there is not.
    """

    entries: int = OPTIONS
    letters: float = 1.0
    most: int = 99
    asks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= OPTIONS:
            raise ValueError(f"entries is {self.entries}; a picture has 1 to {OPTIONS}")
        if not 0.5 <= self.letters <= 4:
            raise ValueError(f"letters is {self.letters}; give 0.5 to 4 times the usual height")
        if not 10 + OPTIONS <= self.most <= 99:
            raise ValueError(f"most is {self.most}; values have two digits, so give {10 + OPTIONS} to 99")
        known = [asked for some in ASKED.values() for asked in some]
        unknown = [asked for asked in self.asks or () if asked not in known]
        if unknown or self.asks == ():
            raise ValueError(f"asks has {unknown}; use some of {', '.join(known)}")

    def asked(self, category: str, draws: Draws) -> str:
        """What is asked of a picture of a category."""
        first, second = ASKED[category]
        if self.asks is None:
            return first if draws.chance(0.5) else second
        return draws.pick([one for one in (first, second) if one in self.asks])

    def options(self, there: list[str], right: int, others: list[str], draws: Draws) -> list[str]:
        """Three wrong options: the other entries of the picture, then what it does not show."""
        wrong = [one for place, one in enumerate(there) if place != right]
        absent = [one for one in others if one not in there]
        return wrong + draws.sample(absent, OPTIONS - 1 - len(wrong))


class TextRich(RandomAccess):
    """``n`` multiple-choice questions with four options, categories in turn, one a picture.

    ``side`` in pixels. Item i depends on (fold, seed, side, layout, i) alone. ValueError for an unknown category, or
    one of which the layout asks nothing.
    """

    root = None

    def __init__(
        self,
        n: int = 300,
        seed: int = 0,
        fold: str = "test",
        side: int = 336,
        categories: tuple[str, ...] = CATEGORIES,
        layout: Layout | None = None,
    ) -> None:
        unknown = [one for one in categories if one not in CATEGORIES]
        if unknown or not categories:
            raise ValueError(f"categories has {unknown}; use some of {', '.join(CATEGORIES)}")
        if n < 1 or side < 32:
            raise ValueError(f"n is {n} and side {side}; give 1 or more, and 32 pixels or more")
        self.layout = layout or Layout()
        asks = self.layout.asks
        silent = [one for one in categories if asks is not None and not set(ASKED[one]) & set(asks)]
        if silent:
            raise ValueError(f"asks has nothing about {silent[0]}; add one of {', '.join(ASKED[silent[0]])}")
        self.n, self.seed, self.fold, self.side, self.categories = n, seed, fold, side, tuple(categories)
        self.name = f"text-rich/{fold}/{seed}"
        self.set_aside = SetAside(used=n)
        laid = [] if self.layout == Layout() else [list(astuple(self.layout))]
        self.fingerprint = key("text-rich", VERSION, n, seed, fold, side, list(categories), *laid)

    def __len__(self) -> int:
        return self.n

    def _record(self, index: int) -> Chat:
        draws = Draws("text-rich", VERSION, self.fold, self.seed, index)
        category = self.categories[index % len(self.categories)]
        drawn: Drawn = {"chart": _chart, "map": _map, "web": _web}[category](draws, self.side, self.layout)
        picture, question, answer, wrong, asked = drawn
        options = draws.shuffled([answer, *wrong])
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        image = Image(bytes=buffer.getvalue(), width=self.side, height=self.side)
        name = f"{self.name}/{index}"
        meta: dict[str, Any] = {
            "kind": category,
            "picture": name,
            "groups": {"subtype": f"{category}: {asked}"},
        }
        return Chat(
            id=name,
            messages=(Message(role="user", content=(image, Text(text=question))),),
            choices=Choices(
                options=tuple((Text(text=one),) for one in options), answer=options.index(answer)
            ),
            meta=meta,
        )


def _chart(draws: Draws, side: int, layout: Layout) -> Drawn:
    names, values = draws.sample(THINGS, layout.entries), draws.sample(_values(layout), layout.entries)
    title = draws.pick(("Sold in May", "Stock", "Harvest"))
    picture = bars(dict(zip(names, values, strict=True)), title, side, layout.letters)
    asked = layout.asked("chart", draws)
    if asked == "value":
        place, told = draws.integer(0, layout.entries - 1), [str(value) for value in values]
        wrong = layout.options(told, place, [str(value) for value in _values(layout)], draws)
        return picture, f"What is the value of {names[place]}?", told[place], wrong, asked
    place = values.index(max(values))
    return (
        picture,
        "Which bar is the highest?",
        names[place],
        layout.options(names, place, [*THINGS], draws),
        asked,
    )


def _map(draws: Draws, side: int, layout: Layout) -> Drawn:
    across = 3 if layout.entries > 2 else 2
    cells = [(column, row) for column in range(across) for row in range(across)]
    spots, names = draws.sample(cells, layout.entries), draws.sample(PLACES, layout.entries)
    picture = town(dict(zip(spots, names, strict=True)), across, side, layout.letters)
    place = draws.integer(0, layout.entries - 1)
    every, squares = [_square(cell) for cell in cells], [_square(spot) for spot in spots]
    asked = layout.asked("map", draws)
    if asked == "square":
        wrong = layout.options(squares, place, every, draws)
        return picture, f"In which square is {names[place]}?", squares[place], wrong, asked
    wrong = layout.options(names, place, [*PLACES], draws)
    return picture, f"Which place is in square {squares[place]}?", names[place], wrong, asked


def _web(draws: Draws, side: int, layout: Layout) -> Drawn:
    goods = draws.sample(GOODS, layout.entries)
    prices = [_price(value) for value in draws.sample(_values(layout), layout.entries)]
    title = draws.pick(TITLES)
    picture = page(title, list(zip(goods, prices, strict=True)), side, layout.letters)
    place = draws.integer(0, layout.entries - 1)
    asked = layout.asked("web", draws)
    if asked == "price":
        wrong = layout.options(prices, place, [_price(value) for value in _values(layout)], draws)
        return picture, f"What does the {goods[place]} cost?", prices[place], wrong, asked
    wrong = layout.options(goods, place, [*GOODS], draws)
    return picture, f"What costs {prices[place]}?", goods[place], wrong, asked


def _values(layout: Layout) -> range:
    return range(10, layout.most + 1)


def _price(value: int) -> str:
    return f"{value} EUR"


def _square(cell: tuple[int, int]) -> str:
    return f"{'ABC'[cell[0]]}{cell[1] + 1}"
