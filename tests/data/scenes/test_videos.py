from itertools import pairwise

import pytest

from vitrail.data.records import Region, Video

SIGNS = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}


def test_one_thing_moves_as_said(scenes_v1):
    source = scenes_v1.videos(n=8)
    for index in range(8):
        clip = source.clip(index)
        axis, sign = SIGNS[clip.direction]
        track = [box[axis] for box in clip.track(clip.mover).values()]
        steps = [sign * (b - a) for a, b in pairwise(track)]
        assert len(clip.frames) == 8 and min(steps) >= 0 and sum(steps) > 0.25 * 224
        assert max(steps) - min(steps) <= 1, "the speed is even"
        across = {box[1 - axis] for box in clip.track(clip.mover).values()}
        assert len(across) == 1
        for other in range(1, len(clip.frames[0].objects)):
            assert len(set(clip.track(other).values())) == 1


def test_records(scenes_v1):
    source = scenes_v1.videos(n=3)
    document = source[1]
    assert document == source[1] and isinstance(document.content[0], Video)
    assert len(document.content[0].frames) == 8 and document.content[0].fps == 4
    regions = [part for part in document.content if isinstance(part, Region)]
    assert [region.label for region in regions] == [
        item["name"] for item in document.meta["scene"]["objects"]
    ]
    assert all(list(region.track) == list(range(8)) for region in regions)
    chat = source.chat(1)
    assert chat.choices.options[chat.choices.answer][0].text == document.meta["direction"]
    assert document.content[1].text.endswith(f"{document.meta['direction']}.")
    with pytest.raises(ValueError, match="length is 1"):
        scenes_v1.videos(length=1)
