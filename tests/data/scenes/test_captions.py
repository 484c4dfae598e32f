import numpy as np

from vitrail.data.scenes.captions import caption
from vitrail.data.scenes.composer import Placement, paint
from vitrail.data.scenes.draws import Draws


def told(suite, *placements, key=0, **chances):
    scene = paint(suite.library, list(placements), np.full((200, 200, 3), 255, np.uint8), "white")
    return caption(scene, suite.config.wording, Draws("caption", key), **chances)


def test_what_captions_say(scenes_v1):
    whale, corner = Placement("whale", 100, 100, 80), Placement("red apple", 40, 40, 40)
    assert told(scenes_v1, whale, colours=1, ground=0) == "A blue whale in the center."
    assert told(scenes_v1, whale, colours=0, ground=1) == "A whale in the center, on a white background."
    # A colour that the name says already is not said again.
    assert told(scenes_v1, corner, colours=1, ground=0) == "A red apple in the top left."
    several = Placement("jeans", 100, 40, 60)
    assert told(scenes_v1, several, colours=1, ground=0) == "Blue jeans."


def test_equal_things_are_counted(scenes_v1):
    mice = [Placement("mouse", x, 100, 40) for x in (40, 100, 160)]
    assert told(scenes_v1, *mice, colours=1, ground=0) == "Three gray mice."
    both = [Placement("orca", x, 150, 30) for x in (30, 60)]
    assert told(scenes_v1, *both, colours=0, ground=0) == "Two orcas in the bottom left."


def test_everything_is_named_in_every_order(scenes_v1):
    things = [Placement("whale", 40, 40, 40), Placement("pig", 160, 40, 40), Placement("key", 100, 160, 40)]
    texts = {told(scenes_v1, *things, key=key, ground=0) for key in range(20)}
    assert len(texts) > 4
    assert all(all(name in text.lower() for name in ("whale", "pig", "key")) for text in texts)
    assert all(" and " in text and text.endswith(".") for text in texts)
