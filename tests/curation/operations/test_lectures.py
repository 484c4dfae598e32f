"""Lessons on video through a pipeline into textbook pages."""

from __future__ import annotations

import json
import re
import subprocess
import wave

import numpy as np
import pytest

import lecture_videos
from vitrail.curation.operations.lecture_speech import (
    JudgeTranscript,
    LectureRules,
    MergeSegments,
    RefineTranscript,
    Transcribe,
)
from vitrail.curation.operations.textbook import Textbook
from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run
from vitrail.data.readers import open_source
from vitrail.data.records import Document, Image, Text, Video
from vitrail.inference.answerers import FunctionAnswerer

SRT = """1
00:00:00,000 --> 00:00:04,000
we look at the first slide

2
00:00:04,500 --> 00:00:08,000
here the shape has moved

3
00:00:08,000 --> 00:00:12,000
and now we count what is left
"""


def video(**meta):
    return Document(id="a.mp4", content=(Video(path="a.mp4"),), meta=meta)


@pytest.fixture
def lecture(tmp_path):
    slides = [lecture_videos.slide(f"part {n}", n) for n in range(3)]
    lecture_videos.lecture(tmp_path / "a.mp4", slides, 4.0, lecture_videos.tone(12.0))
    (tmp_path / "a.srt").write_text(SRT)
    about = {"id": "vid-1", "title": "Counting", "query": "counting shapes"}
    (tmp_path / "a.info.json").write_text(json.dumps(about))
    return tmp_path


def test_a_video_becomes_a_page_and_is_read_back(lecture):
    (lecture / "b.mp4").write_bytes(b"broken")
    pipeline = Pipeline.model_validate(
        {
            "input": {"name": "videos", "files": ["*.mp4"]},
            "operations": [
                {"name": "lecture_rules", "deny": ["advert"]},
                {"name": "transcribe", "recogniser": "subtitles"},
                {"name": "merge_segments", "min_seconds": 3, "max_seconds": 5},
                {"name": "textbook", "reader": "none", "fps": 2, "threshold": 0.9},
            ],
            "output": {"layout": "textbook", "by_language": False},
        }
    )
    ran = run(pipeline, lecture / "out", base=lecture, engine="process")
    assert ran.counts[0].set_aside == {"cannot be read": 1} and ran.counts[-1].kept == 1
    (page,) = open_source(lecture / "out/data")
    said = [getattr(part, "text", None) for part in page.content]
    first, second, third = SRT.splitlines()[2::4]
    assert said == [None, first, None, second, None, f"{third}\nEnd of Video"]
    assert page.meta["video_id"] == "vid-1" and page.meta["query"] == "counting shapes"
    assert page.content[0].open().size == lecture_videos.SIZE


def test_what_is_shown_stands_behind_its_frame_and_pictures_that_do_not_fit_go(lecture):
    class Reader:
        fingerprint = "reader"

        def read(self, pictures):
            return ["on the screen"] * len(pictures)

    class Scorer:
        fingerprint = "scorer"

        def scores(self, pictures, texts):
            return np.array([[0.0 if "moved" in texts[0] else 1.0] for _ in pictures])

    heard = Transcribe(Transcribe.Config(recogniser="subtitles"))
    heard.root = lecture
    document = heard(video()).document
    assert document.content[1].text.startswith("we look at") and len(document.meta["segments"]) == 3
    config = Textbook.Config(fps=2, threshold=0.9, encoder="e", min_fit=0.5)
    operation = Textbook(config, reader=Reader(), scorer=Scorer())
    operation.root = lecture
    page = operation(document).document
    assert page.meta["kinds"] == ["frame", "ocr", "asr", "asr", "frame", "asr", "end"]
    assert page.meta["times"] == sorted(page.meta["times"]) and "segments" not in page.meta
    assert operation.fingerprint()["encoder"] == "scorer"
    with pytest.raises(ValueError, match="need 'encoder'"):
        Textbook.Config(min_fit=0.2)
    with pytest.raises(ValueError, match="give both or neither"):
        Textbook.Config(reader="model")
    with pytest.raises(ValueError, match="put the operation 'transcribe' before"):
        operation(video())


@pytest.mark.parametrize(
    "config, meta, reason",
    [
        ({}, {"seconds": 9.0}, "video too short"),
        ({"max_seconds": 20}, {"seconds": 30.0}, "video too long"),
        ({"deny": ["Prank"]}, {"seconds": 30.0, "title": "a prank"}, "words of title or description"),
        ({"require": ["sum"]}, {"seconds": 30.0, "tags": ["song"]}, "of another subject"),
        ({"require": ["sum"]}, {"seconds": 30.0, "description": "Sums"}, ""),
    ],
)
def test_rules_of_videos(config, meta, reason):
    assert LectureRules(LectureRules.Config(**config))(video(**meta)).reason == reason


def test_silence_and_few_words_go(lecture):
    class Deaf:
        fingerprint = "deaf"

        def transcribe(self, sound):
            return [(0.0, len(sound) / 16_000, "two words")]

    operation = Transcribe(Transcribe.Config(recogniser="pocketsphinx"), Deaf())
    operation.root = lecture
    assert operation(video()).reason == "few words"
    slides = [lecture_videos.slide("still")]
    lecture_videos.lecture(lecture / "a.mp4", slides, 2.0, lecture_videos.tone(2.0, 0.0))
    assert operation(video()).reason == "silent"
    lecture_videos.lecture(lecture / "a.mp4", slides, 2.0)
    assert operation(video()).reason == "silent"
    assert operation(Document(content=(Text(text="a"),))).reason == "not a video"
    with pytest.raises(ValueError, match="recogniser whisper needs 'model'"):
        Transcribe.Config()
    with pytest.raises(ValueError, match="have no effect with subtitles"):
        Transcribe.Config(recogniser="subtitles", model="x")


def test_a_judge_and_a_rewriter_are_asked(lecture):
    document = video(segments=[[0.0, 2.0, "um we count"], [2.0, 13.0, "shapes"]], query="counting")
    asked = []

    def judge(chat):
        asked.append(chat.messages[-1].content[-1].text)
        return "relevance: 9, density: 3, quality: 9"

    config = JudgeTranscript.Config(model="m")
    assert JudgeTranscript(config, FunctionAnswerer(judge))(document).reason == "low density"
    assert "about counting" in asked[0] and "um we count shapes" in asked[0]
    lenient = JudgeTranscript(JudgeTranscript.Config(model="m", min_density=0), FunctionAnswerer(judge))
    assert lenient(document).document.meta["judged"]["quality"] == 9
    rewriter = RefineTranscript(
        RefineTranscript.Config(model="m"), FunctionAnswerer(lambda chat: "We count.")
    )
    assert rewriter(document).document.meta["segments"][0] == [0.0, 2.0, "We count."]
    merged = MergeSegments()(document).document
    assert merged.meta["segments"] == [[0.0, 13.0, "um we count shapes"]]


SENTENCES = (
    "the sum of two numbers is a number",
    "we write the answer on the second line",
    "now you can do it again",
)


@pytest.mark.debian("flite")
def test_speech_is_heard_and_the_screen_is_read(tmp_path):
    """A lesson spoken by flite, heard by pocketsphinx and read by rapidocr; its words are known."""
    sounds = []
    for number, sentence in enumerate(SENTENCES):
        name = tmp_path / f"{number}.wav"
        subprocess.run(["flite", "-voice", "rms", "-t", sentence, "-o", str(name)], check=True)
        with wave.open(str(name)) as file:
            assert file.getframerate() == 16_000
            spoken = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        sounds.append(np.concatenate([spoken, np.zeros(4 * 16_000)])[: 4 * 16_000])
    slides = [lecture_videos.slide(text, n) for n, text in enumerate(("Sums", "Second line", "Again"))]
    lecture_videos.lecture(tmp_path / "a.mp4", slides, 4.0, np.concatenate(sounds))
    document = video()
    for operation in (
        Transcribe(Transcribe.Config(recogniser="pocketsphinx")),
        MergeSegments(MergeSegments.Config(min_seconds=3, max_seconds=6)),
        Textbook(Textbook.Config(fps=1, threshold=0.9)),
    ):
        operation.root = tmp_path
        document = operation(document).document
    kinds = document.meta["kinds"]
    shown = [part.text for part, kind in zip(document.content, kinds, strict=True) if kind == "ocr"]
    heard = " ".join(
        part.text for part, kind in zip(document.content, kinds, strict=True) if kind == "asr"
    ).split()
    wanted = " ".join(SENTENCES).split()
    assert len(set(heard) & set(wanted)) >= 0.6 * len(set(wanted))
    read = re.sub(r"\s", "", "".join(shown)).lower()
    assert sum(word in read for word in ("sums", "secondline", "again")) >= 2
    assert sum(isinstance(part, Image) for part in document.content) >= 3
