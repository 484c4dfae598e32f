import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vitrail.data.scenes.backgrounds import SHADES, STYLES, background
from vitrail.data.scenes.composer import AREAS, Item, Placement, Spec, area_of, compose, paint
from vitrail.data.scenes.draws import Draws
from vitrail.data.sprites.colours import NAMES, label_pixels


def scene_of(suite, names, key=0, **spec):
    items = tuple(name if isinstance(name, Item) else Item(name) for name in names)
    return compose(suite.library, Spec(items, **spec), Draws("test", key))


def random_scene(suite, key, count):
    draws = Draws("names", key)
    return scene_of(suite, draws.sample(suite.names("known"), count), key)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_truth_matches_pixels(scenes_v1, count):
    for key in range(6):
        scene = random_scene(scenes_v1, (count, key).__repr__(), count)
        assert len(scene.objects) == count
        changed = np.abs(scene.pixels.astype(int) - scene.backdrop).max(axis=-1) > 4
        # Where the picture differs from its background is a thing; soft edges may go two pixels further.
        things = np.any([scene.mask(i) for i in range(count)], axis=0)
        grown = ndimage.binary_dilation(things, np.ones((3, 3)), iterations=2)
        assert not (changed & ~grown).any()
        assert changed[things].mean() > 0.85
        for i, item in enumerate(scene.objects):
            full, seen = scene.mask(i), scene.visible_mask(i)
            assert not (seen & ~full).any(), "seen where it is not"
            assert item.visible == pytest.approx(seen.sum() / full.sum()) and item.visible >= 0.6
            rows, cols = np.flatnonzero(full.any(axis=1)), np.flatnonzero(full.any(axis=0))
            assert item.box == (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1)


def test_nearer_things_hide_farther_ones(scenes_v1):
    backdrop = np.full((200, 200, 3), 250, np.uint8)
    for depths in ((0, 1), (1, 0)):
        placements = [
            Placement("red apple", 90, 100, 100, depth=depths[0]),
            Placement("whale", 110, 100, 100, depth=depths[1]),
        ]
        scene = paint(scenes_v1.library, placements, backdrop, "white")
        front, back = depths.index(1), depths.index(0)
        assert scene.objects[front].visible == 1.0 and 0 < scene.objects[back].visible < 1
        shared = scene.mask(0) & scene.mask(1)
        assert shared.any() and (scene.labels[shared] == front + 1).all()


def test_equal_spec_and_draws_equal_bytes(scenes_v1):
    first, again = random_scene(scenes_v1, 1, 3), random_scene(scenes_v1, 1, 3)
    assert np.array_equal(first.pixels, again.pixels) and first.png == again.png
    assert first.describe() == again.describe()
    assert not np.array_equal(first.pixels, random_scene(scenes_v1, 2, 3).pixels)


def test_png_is_lossless(scenes_v1):
    scene = random_scene(scenes_v1, 3, 2)
    image = scene.image()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.bytes))), scene.pixels)
    assert (image.width, image.height) == (224, 224)


@pytest.mark.parametrize("place", AREAS)
def test_areas_give_sure_places(scenes_v1, place):
    for key in range(8):
        scene = scene_of(scenes_v1, [Item("whale", area_of(place))], key, sizes=(0.3, 0.5))
        assert scene.objects[0].place == place
    with pytest.raises(ValueError, match="place is 'middle'"):
        area_of("middle")


def test_any_size_and_more_detail(scenes_v1):
    for side in (64, 512):
        scene = scene_of(scenes_v1, ["banana", "dove"], 5, side=side)
        assert scene.pixels.shape == (side, side, 3)
        assert all(max(item.box) <= side for item in scene.objects)


def test_repainted_items_have_the_colour(scenes_v1):
    scene = scene_of(scenes_v1, [Item("banana", colour="blue")], 6, sizes=(0.5, 0.6), turn=0)
    assert scene.objects[0].colour == "blue"
    labels = label_pixels(scene.pixels)[scene.mask(0)]
    assert (labels == NAMES.index("blue")).mean() > 0.5


def test_what_cannot_be_composed_is_said(scenes_v1):
    with pytest.raises(ValueError, match="items is empty"):
        scene_of(scenes_v1, [])
    with pytest.raises(ValueError, match="no arrangement of 5 things"):
        scene_of(scenes_v1, [Item("banana", area_of("center"))] * 5, overlap=0.0)
    with pytest.raises(ValueError, match="needs 90 pixels, but the picture has 64"):
        backdrop = np.zeros((64, 64, 3), np.uint8)
        paint(scenes_v1.library, [Placement("red apple", 30, 30, 90)], backdrop, "black")
    with pytest.raises(KeyError, match="has no sprite 'bananna'; did you mean 'banana'"):
        scene_of(scenes_v1, ["bananna"])


@pytest.mark.parametrize("word", SHADES)
@pytest.mark.parametrize("style", STYLES)
def test_backgrounds_have_their_hue(word, style):
    made = background(word, style, 96, Draws("background", word, style))
    assert made.shape == (96, 96, 3) and made.dtype == np.uint8
    light, deep = (np.array(shade, int) for shade in SHADES[word])
    low, high = np.minimum(light, deep) - 12, np.maximum(light, deep) + 12
    assert (made >= low).all() and (made <= high).all()
    assert (np.ptp(made.reshape(-1, 3), axis=0).max() > 0) == (style != "plain")
    with pytest.raises(ValueError, match="style is 'stripes'"):
        background(word, "stripes", 32, Draws("x"))
