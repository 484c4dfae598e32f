"""Key frames, transcripts, packing and the taxonomy of lessons."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

import lecture_videos
from vitrail.curation.lectures.frames import frames, seconds, sound
from vitrail.curation.lectures.keyframes import KeyframeName, encoder_similarity, extract_keyframes
from vitrail.curation.lectures.taxonomy import Point, grow, read_points, write_points
from vitrail.curation.lectures.textbook import (
    Clip,
    Fragment,
    assemble,
    ocr_novelty_filter,
    pack_fragments,
    shuffle_image_order,
    unpack_fragments,
)
from vitrail.curation.lectures.transcripts import Segment, judged, merge_segments, refined
from vitrail.data.records import Document, Image, Text
from vitrail.inference.answerers import FunctionAnswerer


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 20, 3)).astype(np.uint8)


def test_key_frames_are_what_differs_from_the_last_one_taken():
    constant = [noise(0)] * 5
    assert extract_keyframes(constant) == [0]
    different = [noise(seed) for seed in range(5)]
    assert extract_keyframes(different, threshold=1.5) == [0, 1, 2, 3, 4]
    assert extract_keyframes(different, threshold=-1.0) == [0]
    assert extract_keyframes(constant, threshold=1.0) == [0], "equality is no key frame"
    fade = [(noise(0) * (1 - step / 20) + noise(1) * step / 20).astype(np.uint8) for step in range(19)]
    neighbours = [extract_keyframes(pair, threshold=0.7) for pair in pairwise(fade)]
    assert all(found == [0] for found in neighbours) and len(extract_keyframes(fade, threshold=0.7)) > 1
    assert extract_keyframes([noise(0), noise(0) // 2], "pixel", 0.9) == [0, 1]
    with pytest.raises(ValueError, match="there is no frame"):
        extract_keyframes([])
    with pytest.raises(ValueError, match="threshold is not a number"):
        extract_keyframes(constant, threshold=float("nan"))
    with pytest.raises(ValueError, match="similarity is 'psnr'"):
        extract_keyframes(constant, "psnr")
    with pytest.raises(ValueError, match="resize one to the other"):
        extract_keyframes([noise(0), noise(0)[:10]])

    class Encoder:
        def embed_images(self, images):
            return np.array([[1.0, 0.0] if image.mean() > 127 else [0.0, 1.0] for image in images])

    flat = [np.full((9, 9, 3), level, np.uint8) for level in (200, 210, 40, 30)]
    assert extract_keyframes(flat, encoder_similarity(Encoder()), 0.5) == [0, 2]


def test_names_of_key_frames():
    name = KeyframeName("-aB_c-9", 10.0, 55.0, 2)
    assert name.path == "-aB_c-9/-aB_c-9@10.0_55.0#2.jpg" and KeyframeName.parsed(name.path) == name
    for wrong in ("a.jpg", "a@1_2.jpg", "a@b@1_2#1.jpg"):
        with pytest.raises(ValueError, match="is no key frame's name"):
            KeyframeName.parsed(wrong)
    with pytest.raises(ValueError, match="do not go back"):
        KeyframeName("a", 5, 4, 1)
    with pytest.raises(ValueError, match="neither @ nor /"):
        KeyframeName("a@b", 1, 2, 1)


def test_segments_become_clips_and_no_word_is_lost():
    draw, time, segments = random.Random(3), 0.0, []
    for number in range(60):
        length = draw.uniform(0.5, 9.0)
        segments.append(Segment(time, time + length, f"word{number}"))
        time += length + draw.uniform(0, 1.0)
    merged = merge_segments(draw.sample(segments, len(segments)))
    assert " ".join(one.text for one in merged) == " ".join(one.text for one in segments)
    assert all(one.end - one.start <= 20 for one in merged)
    assert sum(one.end - one.start >= 10 for one in merged) > 0.8 * len(merged)
    assert merge_segments([Segment(0, 30, "long"), Segment(30, 31, "short")])[0].text == "long"
    for start, end in ((-1, 2), (3, 2)):
        with pytest.raises(ValueError, match="times begin at 0 and do not go back"):
            Segment(start, end, "")
    with pytest.raises(ValueError, match="min_s must be 0 to max_s"):
        merge_segments([], 5, 4)


def test_a_model_judges_and_rewrites():
    good = FunctionAnswerer(lambda chat: "relevance: 8\ndensity: 7\n**quality**: 9/10")
    assert judged("text", "title", "sums", good) == {"relevance": 8, "density": 7, "quality": 9}
    with pytest.raises(ValueError, match="no density from 0 to 10"):
        judged("text", "title", "sums", FunctionAnswerer(lambda chat: "relevance: 8, density: high"))

    def rewrite(chat):
        asked = chat.messages[-1].content[-1].text
        return "" if "three" in asked else "one two, clean." if "um" in asked else "x" * 400

    segments = [Segment(0, 1, "um one two clean"), Segment(1, 2, "three"), Segment(2, 3, "four five")]
    found = refined(segments, FunctionAnswerer(rewrite))
    assert [one.text for one in found] == ["one two, clean.", "three", "four five"]
    assert [one.start for one in found] == [0, 1, 2]


def picture(name):
    return Image(url=f"https://e.org/{name}.png")


def clips():
    return [
        Clip(Segment(0, 10, "first"), ((0.0, picture("a")), (4.0, picture("b"))), ("shown", "")),
        Clip(Segment(10, 20, "second")),
        Clip(Segment(20, 30, "third"), ((21.0, picture("c")),), ("",)),
    ]


def test_fragments_come_in_the_order_of_time_and_words_of_dropped_clips_stay():
    found = assemble(clips())
    assert [one.kind for one in found] == ["frame", "ocr", "frame", "asr", "asr", "frame", "asr", "end"]
    times = [one.time for one in found]
    assert times == sorted(times) and sum(getattr(one.part, "text", "") == "second" for one in found) == 1
    with pytest.raises(ValueError, match="sort the clips by time"):
        assemble(clips()[::-1])
    assert assemble([]) == []


def test_packing_keeps_within_limits_and_is_undone():
    videos = [assemble(clips()), assemble(clips()[:1]), assemble(clips()[1:])]
    fragments = [one for video in videos for one in video]

    def tokens(part):
        return 4 if isinstance(part, Image) else len(part.text)

    samples = pack_fragments(fragments, tokens, max_tokens=24, max_images=2)
    assert len(samples) > 3 and [one for sample in samples for one in sample] == fragments
    assert all(sum(tokens(one.part) for one in sample) <= 24 for sample in samples)
    assert all(sum(one.kind == "frame" for one in sample) <= 2 for sample in samples)
    assert unpack_fragments(samples) == videos
    assert [one.kind for one in fragments].count("end") == 3
    with pytest.raises(ValueError, match=r"fragment 0 \(asr\) has 9 tokens and a sample 8"):
        pack_fragments([Fragment("asr", 0, Text(text="123456789"))], tokens, 8)
    with pytest.raises(ValueError, match="give 1 or more"):
        pack_fragments([], tokens, 0)


def test_text_like_that_of_the_frame_before_is_left_out():
    texts = ["Sums of squares", "Sums of  squares.", "", "Sums of squares", "Products"]
    assert ocr_novelty_filter(texts) == ["Sums of squares", "", "", "", "Products"]
    with pytest.raises(ValueError, match="alike is 2"):
        ocr_novelty_filter([], 2)


def test_shuffling_moves_pictures_alone():
    content = [part for n in range(6) for part in (picture(n), Text(text=str(n)))]
    documents = [Document(id=str(n), content=tuple(content)) for n in range(10)]
    found = shuffle_image_order(documents, 0.5, seed=1)
    moved = [a != b for a, b in zip(documents, found, strict=True)]
    assert sum(moved) == 5 and found == shuffle_image_order(documents, 0.5, seed=1)
    for before, after in zip(documents, found, strict=True):
        assert before.content[1::2] == after.content[1::2]
        assert sorted(one.url for one in before.content[::2]) == sorted(one.url for one in after.content[::2])
    assert shuffle_image_order(documents, 0.0, seed=1) == documents
    with pytest.raises(ValueError, match="fraction is 2"):
        shuffle_image_order(documents, 2, 0)


def test_a_taxonomy_grows_and_is_read_back(tmp_path):
    def answer(chat):
        asked = chat.messages[-1].content[-1].text
        return (
            "1. Algebra\n2. Geometry"
            if '"course"' in asked
            else "- one\n- two.\n- one"
            if '"sub-course"' in asked
            else "* point"
        )

    points = grow(["mathematics"], FunctionAnswerer(answer))
    assert points[0] == Point("mathematics", "Algebra", "one", "point") and len(points) == 4
    assert points[0].query == "point one"
    write_points(points, tmp_path / "points.jsonl")
    assert list(read_points(tmp_path / "points.jsonl")) == points
    (tmp_path / "bad.jsonl").write_text('{"subject": "a"}\n')
    with pytest.raises(ValueError, match="line 1: is no knowledge point"):
        list(read_points(tmp_path / "bad.jsonl"))
    with pytest.raises(ValueError, match="subjects is empty"):
        grow([], FunctionAnswerer(answer))


def test_frames_and_sound_of_a_video(tmp_path):
    slides = [lecture_videos.slide(f"part {n}", n) for n in range(3)]
    path = lecture_videos.lecture(tmp_path / "a.mp4", slides, 3.0, lecture_videos.tone(9.0))
    assert seconds(path) == pytest.approx(9.0, abs=0.2)
    assert [round(time, 2) for time, _ in frames(path, 1.0)] == [float(n) for n in range(9)]
    assert [round(time, 2) for time, _ in frames(path, 2.0, 2.5, 4.0)] == [2.5, 3.0, 3.5]
    assert extract_keyframes([image for _, image in frames(path, 2.0)], threshold=0.9) == [0, 6, 12]
    heard = sound(path)
    assert abs(len(heard) / 16_000 - 9.0) < 0.2 and 0.15 < np.sqrt(np.mean(heard**2)) < 0.25
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"b\.mp4 cannot be read"):
        list(frames(tmp_path / "b.mp4", 1.0))
    with pytest.raises(ValueError, match="fps is 0"):
        list(frames(path, 0))
