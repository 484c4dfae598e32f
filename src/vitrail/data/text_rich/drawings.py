"""A chart, a map and a page from values, by Pillow alone. Sizes are shares of the side, so that any side is legible
alike; ``letters`` times as large are those of names and values, where there is room for few (small pictures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

INK, PALE, PAPER = (30, 30, 40), (205, 205, 215), (250, 250, 247)
COLOURS = ((66, 110, 180), (200, 90, 70), (90, 150, 90), (170, 120, 180), (200, 160, 60), (80, 160, 170))


def font(side: int, share: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own letters, ``share`` of the side high."""
    return ImageFont.load_default(max(6, round(share * side)))


def bars(values: Mapping[str, int], title: str, side: int, letters: float = 1.0) -> Image.Image:
    """A bar chart with a title, names below and values above."""
    picture, draw = _paper(side)
    _text(draw, side, (0.5, 0.06), title, 0.06)
    room = 0.055 * (letters - 1)
    low, high, top = 0.84 - room, 0.2 + room, max(values.values())
    width = 0.9 / len(values)
    for place, (name, value) in enumerate(values.items()):
        left = 0.05 + place * width
        height = (low - high) * value / top
        box = [side * x for x in (left + 0.15 * width, low - height, left + 0.85 * width, low)]
        draw.rectangle(box, fill=COLOURS[place % len(COLOURS)])
        _text(draw, side, (left + width / 2, low - height - (0.04 + room / 2)), str(value), 0.055 * letters)
        _text(draw, side, (left + width / 2, low + (0.06 + room)), name, 0.055 * letters)
    draw.line([side * 0.04, side * low, side * 0.96, side * low], fill=INK, width=max(1, side // 150))
    return picture


def town(places: Mapping[tuple[int, int], str], cells: int, side: int, letters: float = 1.0) -> Image.Image:
    """A map: a grid of ``cells`` × ``cells``, columns A, B …, rows 1, 2 …, north above; names in (column, row)."""
    picture, draw = _paper(side)
    step = 0.9 / cells
    for line in range(cells + 1):
        at = 0.08 + line * step
        draw.line([side * 0.08, side * at, side * 0.98, side * at], fill=PALE)
        draw.line([side * at, side * 0.08, side * at, side * 0.98], fill=PALE)
    for place in range(cells):
        centre = 0.08 + (place + 0.5) * step
        _text(draw, side, (centre, 0.045), "ABCDEFGH"[place], 0.05)
        _text(draw, side, (0.04, centre), str(place + 1), 0.05)
    for number, ((column, row), name) in enumerate(places.items()):
        x, y = 0.08 + (column + 0.5) * step, 0.08 + (row + 0.35) * step
        radius = 0.09 * step
        colour = COLOURS[number % len(COLOURS)]
        draw.ellipse([side * v for v in (x - radius, y - radius, x + radius, y + radius)], fill=colour)
        _text(draw, side, (x, y + 0.33 * step), name, 0.05 * letters)
    return picture


def page(title: str, rows: Sequence[tuple[str, str]], side: int, letters: float = 1.0) -> Image.Image:
    """A web page: an address line, a title, a list of goods with prices; below them where letters are large."""
    picture, draw = _paper(side)
    draw.rectangle([0, 0, side, side * 0.09], fill=PALE)
    address = f"www.{title.lower().replace(' ', '')}.example"
    _text(draw, side, (0.04, 0.045), address, 0.045, anchor="lm")
    _text(draw, side, (0.5, 0.17), title, 0.08)
    for place, (name, price) in enumerate(rows):
        y = 0.3 + place * 0.65 / len(rows)
        draw.rectangle(
            [side * v for v in (0.06, y - 0.02, 0.14, y + 0.06)], fill=COLOURS[place % len(COLOURS)]
        )
        below = 0.0 if letters == 1 else 0.325 / len(rows)
        _text(draw, side, (0.2, y + 0.02), name, 0.055 * letters, anchor="lm")
        _text(draw, side, (0.92, y + 0.02 + below), price, 0.055 * letters, anchor="rm")
    return picture


def _paper(side: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (side, side), PAPER)
    return picture, ImageDraw.Draw(picture)


def _text(
    draw: ImageDraw.ImageDraw, side: int, at: tuple[float, float], text: str, share: float, anchor: str = "mm"
) -> None:
    draw.text((at[0] * side, at[1] * side), text, fill=INK, font=font(side, share), anchor=anchor)
