"""Who finds things in a picture: pictures → labelled boxes with scores.

``nudenet`` brings its weights in the wheel (extra ``safety``) and finds faces and covered or exposed parts of bodies;
a name that ends in ``.onnx`` is a YuNet face detector, as OpenCV's model zoo has it (package opencv-python or
opencv-python-headless); every other name is an object detector of transformers, by folder or hub name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vitrail.models.experts.image_labels import image_model, model_fingerprint
from vitrail.storage.cache import file_digest

LOWEST = 0.05
"""Boxes of a lower score are not told."""


@dataclass(frozen=True)
class FoundBox:
    """``box``: left, top, right, bottom in pixels of the picture that was looked at; ``score`` from 0 to 1."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@runtime_checkable
class BoxFinder(Protocol):
    """What the operations ``unsafe_images`` and ``faces`` ask."""

    @property
    def fingerprint(self) -> str:
        """A hash of all that its answers depend on."""

    def boxes(self, pictures: Sequence[Any]) -> list[list[FoundBox]]:
        """The boxes of each picture (Pillow), surest first."""


class NudeNet:
    """NudeNet's small detector on ONNX Runtime: ``FACE_FEMALE``, ``FEMALE_BREAST_EXPOSED`` and sixteen more labels."""

    def __init__(self) -> None:
        try:
            from nudenet import NudeDetector
        except ImportError:
            raise ImportError("nudenet is not installed; install vitrail[safety]") from None
        self._detector = NudeDetector()
        self.fingerprint = f"nudenet:{metadata.version('nudenet')}"

    def boxes(self, pictures: Sequence[Any]) -> list[list[FoundBox]]:
        """See :class:`BoxFinder`. The detector itself leaves out scores below 0.2."""
        return [_surest_first(_cornered(one) for one in self._found(picture)) for picture in pictures]

    def _found(self, picture: Any) -> list[dict[str, Any]]:
        import numpy as np

        return list(
            self._detector.detect(np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1]))
        )


def _cornered(row: dict[str, Any]) -> FoundBox:
    x, y, width, height = map(float, row["box"])
    return FoundBox(row["class"], float(row["score"]), (x, y, x + width, y + height))


class YuNet:
    """OpenCV's face detector (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector"), from its ONNX file."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise ValueError(f"there is no face detector {path}; correct the path, or name nudenet")
        try:
            import cv2
        except ImportError:
            raise ImportError(
                "a face detector from an ONNX file needs OpenCV; install vitrail[safety]"
            ) from None
        self._detector = cv2.FaceDetectorYN.create(path, "", (320, 320), LOWEST)
        self.fingerprint = f"yunet:{file_digest(path)}:{cv2.__version__}"

    def boxes(self, pictures: Sequence[Any]) -> list[list[FoundBox]]:
        """See :class:`BoxFinder`; the label is ``face``."""
        import numpy as np

        found = []
        for picture in pictures:
            self._detector.setInputSize(picture.size)
            _, rows = self._detector.detect(
                np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
            )
            faces = [] if rows is None else rows.tolist()
            found.append(
                _surest_first(
                    FoundBox("face", float(row[-1]), (row[0], row[1], row[0] + row[2], row[1] + row[3]))
                    for row in faces
                )
            )
        return found


class HubBoxes:
    """Any object detector of transformers, weights in safetensors."""

    def __init__(self, path: str) -> None:
        from transformers import AutoModelForObjectDetection

        self._model, self._images = image_model(path, AutoModelForObjectDetection)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, labels and image processor."""
        return model_fingerprint("boxes", self._model, self._images)

    def boxes(self, pictures: Sequence[Any]) -> list[list[FoundBox]]:
        """See :class:`BoxFinder`."""
        import torch

        names = self._model.config.id2label
        found = []
        for picture in pictures:
            inputs = self._images(images=[picture.convert("RGB")], return_tensors="pt")
            with torch.inference_mode():
                output = self._model(**inputs)
            sizes = [(picture.height, picture.width)]
            (rows,) = self._images.post_process_object_detection(output, threshold=LOWEST, target_sizes=sizes)
            boxes = zip(rows["labels"].tolist(), rows["scores"].tolist(), rows["boxes"].tolist(), strict=True)
            found.append(
                _surest_first(FoundBox(str(names[label]), score, tuple(box)) for label, score, box in boxes)
            )
        return found


def _surest_first(found: Any) -> list[FoundBox]:
    return sorted(found, key=lambda one: (-one.score, one.label, one.box))


def open_boxes(name: str) -> BoxFinder:
    """The detector of that name: ``nudenet``, a YuNet's ``.onnx``, or a folder or hub name."""
    if name == "nudenet":
        return NudeNet()
    return YuNet(name) if name.endswith(".onnx") else HubBoxes(name)
