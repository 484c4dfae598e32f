"""Faces in pictures: where they are, as mOSCAR stores it (arXiv 2406.08707), and, where asked, made unrecognisable.

The paper looks at pictures with a longer side of 256 pixels and keeps boxes with a score above 0.99 of its detector;
NudeNet's scores are lower (a clear portrait has about 0.7), so that the default here is 0.5. What the paper calls its
field is not known.
"""

from __future__ import annotations

import io
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field

from vitrail.curation.operations.operation import Operation, OperationConfig, Outcome, kept
from vitrail.data.records import Document, Image

Box = tuple[int, int, int, int]


class Faces(Operation):
    """Sets ``meta[field]``: ``{"image": number, "box": [left, top, right, bottom], "score": …}`` for each face, in
    pixels of the picture. Run it when no later operation removes pictures. Pictures not at hand are not looked at.
    """

    class Config(OperationConfig):
        """``detector``: ``nudenet``, a YuNet's ``.onnx`` file, or an object detector of transformers; ``labels``:
        patterns of those that are faces; ``max_side``: pictures are made smaller to that before they are looked at.
        ``hide``: nothing, or faces are blurred or filled in the stored picture, ``margin`` of a side around them.
        """

        detector: str = Field(default="nudenet", min_length=1)
        labels: tuple[str, ...] = Field(default=("FACE_*", "face", "human face"), min_length=1)
        min_score: float = Field(default=0.5, ge=0, le=1)
        max_side: int = Field(default=256, ge=16)
        hide: Literal["nothing", "blur", "fill"] = "nothing"
        margin: float = Field(default=0.1, ge=0, le=1)
        field: str = Field(default="faces", min_length=1)

    config: Config

    def __init__(self, config: Config | None = None, detector: Any = None) -> None:
        super().__init__(config)
        self._detector = detector

    @property
    def detector(self) -> Any:
        """Loaded when it is first asked."""
        if self._detector is None:
            from vitrail.models.experts.boxes import open_boxes

            self._detector = open_boxes(self.config.detector)
        return self._detector

    def fingerprint(self) -> dict[str, Any]:
        """That of the detector."""
        return {"detector": self.detector.fingerprint}

    def __call__(self, document: Document) -> Outcome:
        """The document with its faces told, and hidden where that was asked."""
        content, faces, number = list(document.content), [], -1
        for place, part in enumerate(content):
            if not isinstance(part, Image):
                continue
            number += 1
            try:
                picture = part.open(self.root)
            except (ValueError, OSError):
                continue
            found = self.find(picture)
            faces += [{"image": number, "box": list(box), "score": round(score, 4)} for box, score in found]
            if found and self.config.hide != "nothing":
                content[place] = self._hidden(part, picture, [box for box, _ in found])
        if not faces:
            return kept(document)
        meta = {**document.meta, self.config.field: faces}
        return Outcome(document.model_copy(update={"content": tuple(content), "meta": meta}), changed=True)

    def find(self, picture: Any) -> list[tuple[Box, float]]:
        """Boxes of a decoded picture's faces, in its own pixels, surest first."""
        small = picture.copy()
        small.thumbnail((self.config.max_side, self.config.max_side))
        across, down = picture.width / small.width, picture.height / small.height
        (boxes,) = self.detector.boxes([small])
        found = []
        for one in boxes:
            if one.score <= self.config.min_score or not self._is_face(one.label):
                continue
            left, top, right, bottom = one.box
            box = _inside((left * across, top * down, right * across, bottom * down), picture.size)
            found.append((box, one.score))
        return found

    def _is_face(self, label: str) -> bool:
        return any(fnmatchcase(label, pattern) for pattern in self.config.labels)

    def _hidden(self, image: Image, picture: Any, boxes: list[Box]) -> Image:
        """The picture without these faces, as bytes: JPEG where it was one, else PNG."""
        from PIL import Image as PILImage
        from PIL import ImageDraw, ImageFilter

        for left, top, right, bottom in boxes:
            width, height = right - left, bottom - top
            m = self.config.margin
            around = (left - m * width, top - m * height, right + m * width, bottom + m * height)
            box = _inside(around, picture.size)
            if self.config.hide == "fill":
                ImageDraw.Draw(picture).rectangle(
                    (box[0], box[1], box[2] - 1, box[3] - 1), fill=(127, 127, 127)
                )
            else:
                # Eight cells a side first: a blur alone could be undone.
                face = picture.crop(box)
                coarse = face.resize((8, 8), PILImage.Resampling.BOX).resize(face.size)
                picture.paste(coarse.filter(ImageFilter.GaussianBlur(max(face.size) / 16)), box)
        out = io.BytesIO()
        raw = image.read(self.root)
        if raw.startswith(b"\xff\xd8"):
            picture.save(out, "JPEG", quality=92)
        else:
            picture.save(out, "PNG")
        return Image(bytes=out.getvalue(), width=picture.width, height=picture.height)


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """Whole pixels, at least one each way, within the picture."""
    width, height = size
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    right, bottom = min(max(round(box[2]), left + 1), width), min(max(round(box[3]), top + 1), height)
    return left, top, right, bottom
