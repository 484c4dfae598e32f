"""Short captions: what is in a scene, with colours, numbers and places."""

from __future__ import annotations

from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene, SceneObject
from vitrail.data.scenes.wording import Wording


def caption(scene: Scene, wording: Wording, draws: Draws, colours: float = 0.5, ground: float = 0.3) -> str:
    """One sentence: "A red planet in the top left, two dogs and a pear in the center, on a gray background."

    ``colours`` is how often a sure colour is said, ``ground`` how often the background is. Things of one
    name are counted together; a place is said where it is sure and all of them share it.
    """
    groups: dict[str, list[SceneObject]] = {}
    for index in draws.shuffled(range(len(scene.objects))):
        item = scene.objects[index]
        groups.setdefault(item.name, []).append(item)
    parts = [_group(items, wording, draws.chance(colours)) for items in groups.values()]
    sentence = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    if draws.chance(ground):
        article = "an" if scene.background[0] in "aeiou" else "a"
        sentence += f", on {article} {scene.background} background"
    return sentence[0].upper() + sentence[1:] + "."


def _group(items: list[SceneObject], wording: Wording, coloured: bool) -> str:
    thing = items[0].thing
    shared = {item.colour for item in items}
    colour = next(iter(shared)) if coloured and len(shared) == 1 else None
    if colour is None or colour in thing.name.split():
        colour = ""
    if len(items) > 1 and thing.plural:
        text = " ".join(filter(None, (wording.numbers[len(items)], colour, thing.plural)))
    elif thing.number == "one":
        noun = f"{colour} {thing.name}".strip()
        text = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    else:
        text = f"{colour} {thing.name}".strip()
    places = {item.place for item in items}
    place = next(iter(places)) if len(places) == 1 else None
    return f"{text} in the {place}" if place else text
