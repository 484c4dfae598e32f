"""Frames of clips: the rule's numbers, segments in seconds and in frames, damaged videos."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PILImage

from official_files import LENGTH, grey_video
from vitrail.evaluation.benchmarks.clips import Clip, chosen, read_frames, segment_middles


def test_the_published_indices():
    assert segment_middles(80, 8) == [4, 14, 24, 34, 44, 53, 63, 73]
    assert segment_middles(5, 8) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="must be 1 or more"):
        segment_middles(0, 8)


def test_a_segment_is_in_seconds_or_in_frames():
    seconds = Clip("v", 2, (1.0, 3.0), "seconds")
    frames = Clip("v", 2, (10, 30), "frames")
    assert chosen(seconds, 80, 10.0) == chosen(frames, 80, 10.0) == [10 + 5, 10 + 15]
    assert max(chosen(Clip("v", 8, (0, 1e9), "frames"), 80, 10.0)) < 80, "ends are clipped to the video"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video whose frame n is the grey 3 n."""
    return grey_video(tmp_path_factory.mktemp("video") / "clip.mp4")


def greys(images):
    return [round(np.asarray(PILImage.open(io.BytesIO(one.bytes))).mean() / 3) for one in images]


def test_frames_are_those_of_the_rule(video, monkeypatch):
    wanted = segment_middles(LENGTH, 8)
    found = greys(read_frames(video, Clip("clip.mp4")))
    assert np.abs(np.array(found) - wanted).max() <= 1
    part = Clip("clip.mp4", 3, (4.0, 7.0), "seconds")
    plain = greys(read_frames(video, part))
    monkeypatch.setattr("vitrail.evaluation.benchmarks.clips.FROM_KEY_FRAME", 10)
    assert greys(read_frames(video, part)) == plain, "seeking to a key frame finds the same frames"


def test_a_damaged_or_slow_video_is_named(video, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    with pytest.raises(ValueError, match="the video broken"):
        read_frames(broken, Clip("broken.mp4"))
    with pytest.raises(ValueError, match="took too long"):
        read_frames(video, Clip("clip.mp4"), timeout=-1.0)


def test_frames_cut_beforehand(tmp_path):
    for number in (1, 2, 10):
        PILImage.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
    images = Clip(tmp_path.name, 8).images(tmp_path.parent)
    assert [one.path.rsplit("/", 1)[1] for one in images] == ["1.png", "2.png", "10.png"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no frame"):
        Clip("none").images(tmp_path)
