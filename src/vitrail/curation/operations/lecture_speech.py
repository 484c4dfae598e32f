"""What is said in videos: heard, judged, written again, cut into clips (Multimodal Textbook, arXiv 2501.00958).

``transcribe`` puts the transcript behind the video as a text, so that every operation on texts (language, toxic words,
personal data, benchmark texts) judges the video by it, and keeps its times in ``meta.segments``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from vitrail.curation.lectures.transcripts import Segment, judged, merge_segments, refined
from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    changed,
    dropped,
    kept,
)
from vitrail.data.records import Document, Text, Video


def video_of(document: Document) -> Video | None:
    """The video that a document begins with, or None."""
    first = document.content[0] if document.content else None
    return first if isinstance(first, Video) and first.path is not None else None


def segments_of(document: Document) -> list[Segment]:
    """What ``transcribe`` heard. ValueError where it has not been asked."""
    rows = document.meta.get("segments")
    if rows is None:
        raise ValueError("meta.segments is missing; put the operation 'transcribe' before this one")
    return [Segment(*row) for row in rows]


def spoken(document: Document, segments: list[Segment], **meta: Any) -> Outcome:
    """The document with another transcript."""
    text = Text(text=" ".join(one.text for one in segments))
    rows = [[round(one.start, 3), round(one.end, 3), one.text] for one in segments]
    content = (document.content[0], text)
    return changed(document.model_copy(update={"content": content}), segments=rows, **meta)


class LectureRules(Operation):
    """Videos held against what is known of them: their length, words of title and description."""

    class Config(OperationConfig):
        """``min_seconds`` and ``max_seconds``; ``deny``: words of which none may occur, ``require``: of which one must,
        in title, description or tags, case ignored.
        """

        min_seconds: float = Field(default=10.0, ge=0)
        max_seconds: float = Field(default=36_000.0, gt=0)
        deny: tuple[str, ...] = ()
        require: tuple[str, ...] = ()

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped."""
        length = float(document.meta.get("seconds", 0.0))
        if video_of(document) is None:
            return dropped("not a video")
        if length < self.config.min_seconds:
            return dropped("video too short")
        if length > self.config.max_seconds:
            return dropped("video too long")
        names = ("title", "description", "tags")
        words = " ".join(str(document.meta.get(name, "")) for name in names).lower()
        if any(word.lower() in words for word in self.config.deny):
            return dropped("words of title or description")
        if self.config.require and not any(word.lower() in words for word in self.config.require):
            return dropped("of another subject")
        return kept(document)


class Transcribe(Operation):
    """The transcript of a video's sound. A silent one goes, and one with few words."""

    class Config(OperationConfig):
        """``recogniser``: ``whisper`` (``model``: folder or hub name), ``pocketsphinx``, or ``subtitles``: an ``.srt``
        beside the video. ``min_loudness``: the root mean square below which a sound is silence; ``min_words``.
        """

        recogniser: Literal["whisper", "pocketsphinx", "subtitles"] = "whisper"
        model: str | None = None
        language: str | None = None
        min_loudness: float = Field(default=1e-3, ge=0, le=1)
        min_words: int = Field(default=10, ge=0)

        @model_validator(mode="after")
        def _model(self) -> Transcribe.Config:
            if self.recogniser == "whisper" and self.model is None:
                raise ValueError(
                    "recogniser whisper needs 'model': a folder or hub name such as openai/whisper-large-v3"
                )
            if self.recogniser != "whisper" and (self.model is not None or self.language is not None):
                raise ValueError(f"'model' and 'language' have no effect with {self.recogniser}; remove them")
            return self

    config: Config

    def __init__(self, config: Config, recogniser: Any = None) -> None:
        super().__init__(config)
        self._recogniser = recogniser

    @property
    def recogniser(self) -> Any:
        """Loaded when it is first asked."""
        if self._recogniser is None:
            from vitrail.models.experts.speech import speech_recogniser

            self._recogniser = speech_recogniser(
                self.config.recogniser, self.config.model, self.config.language
            )
        return self._recogniser

    def fingerprint(self) -> dict[str, Any]:
        """That of the recogniser."""
        subtitles = self.config.recogniser == "subtitles" and self._recogniser is None
        return {} if subtitles else {"recogniser": self.recogniser.fingerprint}

    def __call__(self, document: Document) -> Outcome:
        """The document with its transcript, or dropped."""
        video = video_of(document)
        if video is None:
            return dropped("not a video")
        if self.config.recogniser == "subtitles" and self._recogniser is None:
            found = self._subtitles(video)
        else:
            found = self._heard(video)
        if isinstance(found, str):
            return dropped(found)
        if sum(len(one.text.split()) for one in found) < self.config.min_words:
            return dropped("few words")
        return spoken(document, found)

    def _subtitles(self, video: Video) -> list[Segment] | str:
        from vitrail.data.readers.subtitles import SubtitleTrack

        path = (self.root / str(video.path)).with_suffix(".srt")
        if not path.is_file():
            return "no subtitles"
        return [Segment(cue.start, cue.end, cue.text) for cue in SubtitleTrack.from_srt(path).cues]

    def _heard(self, video: Video) -> list[Segment] | str:
        from vitrail.curation.lectures.frames import sound

        heard = sound(self.root / str(video.path))
        if (
            not len(heard)
            or float(np.sqrt(np.mean(np.square(heard, dtype=np.float64)))) < self.config.min_loudness
        ):
            return "silent"
        return [Segment(*row) for row in self.recogniser.transcribe(heard)]


class _Asking(Operation):
    """An operation that asks a language model."""

    def __init__(self, config: Any, answerer: Any = None) -> None:
        super().__init__(config)
        if answerer is None:
            from vitrail.inference.answerers import ModelAnswerer

            answerer = ModelAnswerer(config.model)
        self.answerer = answerer


class JudgeTranscript(_Asking):
    """Videos that a language model finds off the subject, empty, or badly heard go; ``meta.judged`` has its scores."""

    class Config(OperationConfig):
        """``model``: folder, run or hub name; ``topic``: the subject, or by default what the video was searched by
        (``meta.query``); the lowest scores, each from 0 to 10.
        """

        model: str
        topic: str | None = None
        min_relevance: int = Field(default=6, ge=0, le=10)
        min_density: int = Field(default=6, ge=0, le=10)
        min_quality: int = Field(default=6, ge=0, le=10)

    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    config: Config

    def __call__(self, document: Document) -> Outcome:
        """Kept with its scores, or dropped. ValueError (set aside) where the model gives no scores."""
        text = " ".join(one.text for one in segments_of(document))
        topic = self.config.topic or str(document.meta.get("query") or "something that can be learnt")
        scores = judged(text, str(document.meta.get("title", "")), topic, self.answerer)
        for name, score in scores.items():
            if score < getattr(self.config, f"min_{name}"):
                return dropped(f"low {name}")
        return changed(document, judged=scores)


class RefineTranscript(_Asking):
    """Each segment of a transcript written again by a language model, its meaning kept."""

    class Config(OperationConfig):
        """``model``: folder, run or hub name; ``max_change``: the largest difference of lengths, as a share."""

        model: str
        max_change: float = Field(default=0.5, ge=0)

    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document with its fluent transcript; a segment whose answer cannot be right stays."""
        return spoken(document, refined(segments_of(document), self.answerer, self.config.max_change))


class MergeSegments(Operation):
    """Segments of a transcript joined to clips of some seconds."""

    class Config(OperationConfig):
        """The length of a clip in seconds, where segments allow it."""

        min_seconds: float = Field(default=10.0, ge=0)
        max_seconds: float = Field(default=20.0, gt=0)

        @model_validator(mode="after")
        def _order(self) -> MergeSegments.Config:
            if self.min_seconds > self.max_seconds:
                raise ValueError("min_seconds must be max_seconds or less")
            return self

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document with fewer, longer segments."""
        merged = merge_segments(segments_of(document), self.config.min_seconds, self.config.max_seconds)
        return spoken(document, merged)
