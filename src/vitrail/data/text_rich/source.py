"""Questions about charts, maps and pages of known values, drawn anew for each seed.

The three categories of SEED-Bench-2-Plus (arXiv 2404.16790) with exact truth: every answer needs text that is in the
picture, and no option is favoured without it (wrong options come from the same picture or the same range).
"""

from __future__ import annotations

import io
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
VERSION = 1

Drawn = tuple[PILImage.Image, str, str, list[str], str]
"""A picture, the question, the right answer, wrong ones, and what is asked."""


class TextRich(RandomAccess):
    """``n`` multiple-choice questions with four options, categories in turn, one a picture.

    ``side`` in pixels. Item i depends on (fold, seed, side, i) alone. ValueError for an unknown category.
    """

    root = None

    def __init__(
        self,
        n: int = 300,
        seed: int = 0,
        fold: str = "test",
        side: int = 336,
        categories: tuple[str, ...] = CATEGORIES,
    ) -> None:
        unknown = [one for one in categories if one not in CATEGORIES]
        if unknown or not categories:
            raise ValueError(f"categories has {unknown}; use some of {', '.join(CATEGORIES)}")
        if n < 1 or side < 32:
            raise ValueError(f"n is {n} and side {side}; give 1 or more, and 32 pixels or more")
        self.n, self.seed, self.fold, self.side, self.categories = n, seed, fold, side, tuple(categories)
        self.name = f"text-rich/{fold}/{seed}"
        self.set_aside = SetAside(used=n)
        self.fingerprint = key("text-rich", VERSION, n, seed, fold, side, list(categories))

    def __len__(self) -> int:
        return self.n

    def _record(self, index: int) -> Chat:
        draws = Draws("text-rich", VERSION, self.fold, self.seed, index)
        category = self.categories[index % len(self.categories)]
        drawn: Drawn = {"chart": _chart, "map": _map, "web": _web}[category](draws, self.side)
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


def _chart(draws: Draws, side: int) -> Drawn:
    names = draws.sample(THINGS, 4)
    values = draws.sample(range(10, 100), 4)
    picture = bars(
        dict(zip(names, values, strict=True)), draws.pick(("Sold in May", "Stock", "Harvest")), side
    )
    if draws.chance(0.5):
        place = draws.integer(0, 3)
        wrong = [str(value) for spot, value in enumerate(values) if spot != place]
        return picture, f"What is the value of {names[place]}?", str(values[place]), wrong, "value"
    place = values.index(max(values))
    wrong = [name for spot, name in enumerate(names) if spot != place]
    return picture, "Which bar is the highest?", names[place], wrong, "highest"


def _map(draws: Draws, side: int) -> Drawn:
    cells = [(column, row) for column in range(3) for row in range(3)]
    spots, names = draws.sample(cells, 4), draws.sample(PLACES, 4)
    picture = town(dict(zip(spots, names, strict=True)), 3, side)
    place = draws.integer(0, 3)
    squares = [f"{'ABC'[column]}{row + 1}" for column, row in spots]
    others = [spot for spot in range(4) if spot != place]
    if draws.chance(0.5):
        wrong = [squares[spot] for spot in others]
        return picture, f"In which square is {names[place]}?", squares[place], wrong, "square"
    wrong = [names[spot] for spot in others]
    return picture, f"Which place is in square {squares[place]}?", names[place], wrong, "place"


def _web(draws: Draws, side: int) -> Drawn:
    goods = draws.sample(GOODS, 4)
    prices = [f"{value} EUR" for value in draws.sample(range(10, 100), 4)]
    title = draws.pick(TITLES)
    picture = page(title, list(zip(goods, prices, strict=True)), side)
    place, others = draws.integer(0, 3), [0, 1, 2, 3]
    others.remove(place)
    if draws.chance(0.5):
        return (
            picture,
            f"What does the {goods[place]} cost?",
            prices[place],
            [prices[o] for o in others],
            "price",
        )
    return picture, f"What costs {prices[place]}?", goods[place], [goods[o] for o in others], "item"
