"""Videos with transcripts into textbook pages: key frames, text on the screen and speech, in the order of time.

As the Multimodal Textbook (arXiv 2501.00958): of each clip the key frames (by SSIM with the last one taken), what each
shows where that is new, and what is said. A clip whose pictures do not fit its words loses the pictures and keeps the
words. The paper compares words with a captioner's account of the clip; here a dual encoder compares words and key
frames directly, which needs one model instead of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from vitrail.curation.lectures.frames import frames
from vitrail.curation.lectures.keyframes import encoder_similarity, keyframes
from vitrail.curation.lectures.model_reader import ModelReader, encoded
from vitrail.curation.lectures.textbook import END_OF_VIDEO, Clip, assemble, ocr_novelty_filter
from vitrail.curation.lectures.transcripts import Segment
from vitrail.curation.operations.lecture_speech import segments_of, video_of
from vitrail.curation.operations.operation import Operation, OperationConfig, Outcome, changed, dropped
from vitrail.data.records import Document, Image


class Textbook(Operation):
    """A video's document becomes its page. ``meta.kinds`` and ``meta.times`` say what each part is, and when."""

    class Config(OperationConfig):
        """``fps``: frames a second that are looked at; ``threshold``: of ``similarity``, below which a frame is a key
        frame (``encoder``: the cosine of ``encoder``'s embeddings); ``max_frames`` of a clip; ``side``: the longer side
        of a picture in pixels. ``reader``: ``rapidocr``, ``none``, or ``model`` (``reader_model``, any vision-language
        model); ``alike``: from which a text on the screen is that of the frame before. ``min_fit``: the least cosine of
        a clip's words with one of its key frames (needs ``encoder``). ``end_of_video``: the marker, empty for none.
        """

        fps: float = Field(default=1.0, gt=0)
        similarity: Literal["ssim", "pixel", "encoder"] = "ssim"
        threshold: float = 0.7
        max_frames: int = Field(default=12, ge=1)
        side: int = Field(default=768, ge=7)
        reader: Literal["rapidocr", "model", "none"] = "rapidocr"
        reader_model: str | None = None
        alike: float = Field(default=0.8, ge=0, le=1)
        encoder: str | None = None
        min_fit: float | None = Field(default=None, ge=-1, le=1)
        end_of_video: str = END_OF_VIDEO

        @model_validator(mode="after")
        def _models(self) -> Textbook.Config:
            if self.encoder is None and (self.similarity == "encoder" or self.min_fit is not None):
                raise ValueError(
                    "similarity 'encoder' and 'min_fit' need 'encoder': a CLIP, SigLIP or dual encoder"
                )
            if (self.reader == "model") != (self.reader_model is not None):
                raise ValueError("reader 'model' and 'reader_model' go together; give both or neither")
            return self

    packages: ClassVar[tuple[str, ...]] = ("av", "pillow", "scipy")
    config: Config

    def __init__(self, config: Config | None = None, *, reader: Any = None, scorer: Any = None) -> None:
        super().__init__(config)
        self._reader, self._scorer = reader, scorer

    @property
    def reader(self) -> Any:
        """Who reads the screen, loaded when it is first asked; None where nobody does."""
        if self._reader is None and self.config.reader == "rapidocr":
            from vitrail.models.experts.reading import RapidReader

            self._reader = RapidReader()
        elif self._reader is None and self.config.reader == "model":
            from vitrail.inference.answerers import ModelAnswerer

            self._reader = ModelReader(ModelAnswerer(str(self.config.reader_model)))
        return self._reader

    @property
    def scorer(self) -> Any:
        """The dual encoder, loaded when it is first asked."""
        if self._scorer is None and self.config.encoder is not None:
            from vitrail.models.experts.clip_scorer import ClipScorer

            self._scorer = ClipScorer.from_pretrained(self.config.encoder)
        return self._scorer

    def fingerprint(self) -> dict[str, Any]:
        """Versions, reader and encoder."""
        asked = {"reader": self.reader, "encoder": self.scorer}
        return {
            **super().fingerprint(),
            **{name: one.fingerprint for name, one in asked.items() if one is not None},
        }

    def __call__(self, document: Document) -> Outcome:
        """The page, or dropped for a document that is no video or gives no part."""
        video = video_of(document)
        if video is None:
            return dropped("not a video")
        fragments = assemble(
            self._read(self._clips(document, self.root / str(video.path))), self.config.end_of_video or None
        )
        if not fragments:
            return dropped("no part is left")
        meta = {name: value for name, value in document.meta.items() if name != "segments"}
        page = document.model_copy(update={"content": tuple(one.part for one in fragments), "meta": meta})
        times = [round(one.time, 3) for one in fragments]
        return changed(page, kinds=[one.kind for one in fragments], times=times)

    def _clips(self, document: Document, path: Path) -> list[tuple[Segment, list[tuple[float, Any]]]]:
        """What is said in each clip, and its key frames where they fit."""
        said = segments_of(document)
        found = []
        for place, one in enumerate(said):
            end = min(one.end, said[place + 1].start) if place + 1 < len(said) else one.end
            shown = list(self._key(path, one.start, end))
            if self.config.min_fit is not None and shown and not self._fits(one.text, shown):
                shown = []
            found.append((one, shown))
        return found

    def _key(self, path: Path, start: float, end: float) -> Iterator[tuple[float, Any]]:
        similarity: Any = self.config.similarity
        if similarity == "encoder":
            similarity = encoder_similarity(self.scorer)
        times: list[float] = []

        def pictures() -> Iterator[Any]:
            for time, picture in frames(path, self.config.fps, start, end):
                times.append(time)
                picture.thumbnail((self.config.side, self.config.side))
                yield picture

        for taken, (place, picture) in enumerate(
            keyframes(pictures(), similarity, self.config.threshold), start=1
        ):
            yield times[place], picture
            if taken == self.config.max_frames:
                return

    def _fits(self, text: str, shown: list[tuple[float, Any]]) -> bool:
        scores = self.scorer.scores([picture for _, picture in shown], [text])
        return bool(scores.max() >= self.config.min_fit)

    def _read(self, clips: list[tuple[Segment, list[tuple[float, Any]]]]) -> list[Clip]:
        """The clips with what their frames show; a text like the one before, of this clip or another, is left out."""
        pictures = [picture for _, shown in clips for _, picture in shown]
        texts = iter(
            ocr_novelty_filter(self.reader.read(pictures), self.config.alike)
            if self.reader is not None
            else [""] * len(pictures)
        )
        return [
            Clip(
                said,
                tuple((time, Image(bytes=encoded(picture))) for time, picture in shown),
                tuple(next(texts) for _ in shown),
            )
            for said, shown in clips
        ]
