import json

import numpy as np
import pytest

from vitrail.data.scenes.composer import Placement, paint
from vitrail.data.scenes.objects import OPPOSITE
from vitrail.geometry import masks, rotated


def painted(suite, *placements, side=200):
    return paint(suite.library, list(placements), np.full((side, side, 3), 255, np.uint8), "white")


def apple_at(x, y, size=40):
    return Placement("red apple", x, y, size)


def test_places_and_cells(scenes_v1):
    spots = {
        (40, 40): ("top left", "top left"),
        (160, 40): ("top right", "top right"),
        (40, 160): ("bottom left", "bottom left"),
        (160, 160): ("bottom right", "bottom right"),
        (100, 100): ("center", "center"),
        (100, 40): (None, "top"),
        (40, 100): (None, "left"),
        (120, 120): ("bottom right", "center"),
        (115, 100): (None, "center"),
    }
    for (x, y), (place, cell) in spots.items():
        item = painted(scenes_v1, apple_at(x, y)).objects[0]
        assert (item.place, item.cell) == (place, cell), (x, y)


def test_sizes(scenes_v1):
    for size, word in ((30, "small"), (70, "medium"), (120, "large")):
        assert painted(scenes_v1, apple_at(100, 100, size)).objects[0].size == word


@pytest.mark.parametrize(
    ("other", "relation"),
    [((150, 110), "left"), ((40, 90), "right"), ((95, 160), "above"), ((110, 40), "below"),
     ((150, 150), None), ((120, 100), None)],
)  # fmt: skip
def test_relations_have_a_margin(scenes_v1, other, relation):
    scene = painted(scenes_v1, apple_at(100, 100), apple_at(*other))
    assert scene.relation(0, 1) == relation
    if relation:
        assert scene.relation(1, 0) == OPPOSITE[relation]
        assert scene.relations() == {(0, 1): relation, (1, 0): OPPOSITE[relation]}


def test_rotated_box_follows_the_angle(scenes_v1):
    for angle in (0, 30, -50):
        scene = painted(scenes_v1, Placement("straight ruler", 100, 100, 100, angle=angle))
        box = scene.rotated_box(0)
        y, x = np.nonzero(scene.mask(0))
        assert rotated.iou([box], [rotated.enclosing(np.stack([x + 0.5, y + 0.5], axis=1))])[0, 0] > 0.9
        if angle == 0:
            upright = box
        else:
            assert (box[4] - upright[4] - angle + 90) % 180 - 90 == pytest.approx(0, abs=3)


def test_regions_and_description(scenes_v1):
    scene = painted(scenes_v1, apple_at(60, 60), Placement("whale", 80, 60, 60, depth=1))
    seen = [masks.decode(region.mask) for region in scene.regions("mask")]
    assert all(np.array_equal(mask, scene.visible_mask(i)) for i, mask in enumerate(seen))
    assert scene.regions("box")[1].box == scene.objects[1].box
    assert scene.regions("rotated")[0].rotated == pytest.approx(scene.rotated_box(0))
    assert scene.visible_box(1) == scene.objects[1].box and scene.visible_box(0) != scene.objects[0].box
    told = json.loads(json.dumps(scene.describe()))
    assert told["objects"][0]["name"] == "red apple" and told["objects"][0]["colour"] == "red"
    assert told["objects"][1]["depth"] == 1 and told["objects"][0]["visible"] < 1
    assert scene.counts() == {"red apple": 1, "whale": 1}
    with pytest.raises(ValueError, match="shape is 'circle'"):
        scene.regions("circle")
