"""Subtitles: cues at times, gaps, repeats, markup, broken times."""

from __future__ import annotations

import pytest

from vitrail.data.readers.subtitles import SubtitleTrack

SRT = """1
00:00:01,000 --> 00:00:02,000
<i>One</i> word
on two lines

2
00:00:02,500 --> 00:00:04,000
42

3
01:00:00.5 --> 01:00:01.5
{\\an8}An hour
"""


def test_each_cue_at_its_middle_once_and_in_order(tmp_path):
    (tmp_path / "a.srt").write_text("\ufeff" + SRT)
    track = SubtitleTrack.from_srt(tmp_path / "a.srt")
    middles = [(cue.start + cue.end) / 2 for cue in track.cues]
    assert track.at(middles) == track.all() == ["One word on two lines", "42", "An hour"]
    assert track.at(middles[::-1]) == track.all() and track.cues[2].start == 3600.5
    assert track.at([2.2, 2.0]) == [] and track.at([1.0]) == ["One word on two lines"]
    assert track.at([1.1, 1.2]) == ["One word on two lines"]
    assert track.at([1.1, 1.2], dedupe=False) == ["One word on two lines"] * 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("00:00:0x,000 --> 00:00:02,000", "line 2: .*must be HH"),
        ("00:00:03,000 --> 00:00:02,000", "before it begins"),
    ],
)
def test_broken_times_are_named(line, words):
    with pytest.raises(ValueError, match=words):
        SubtitleTrack.parsed(f"1\n{line}\nx\n")
