"""Where in a picture something may be: boxes to look up in a memory.

RAP (arXiv 2410.13360) takes YOLO-World's with the memory's categories as classes (confidence 0.1), or DETR's (0.5).
:class:`Detector` takes any detector of transformers: one that is told what to look for (OWL-ViT, OWLv2, Grounding
DINO), or one with classes of its own (DETR, RT-DETR). Without one, a grid; or boxes that are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image as PILImage

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels."""


class RegionProposer(Protocol):
    """Proposes boxes of a picture in which one of ``categories`` may be."""

    def propose(self, picture: PILImage.Image, categories: Sequence[str]) -> list[Box]:
        """Boxes, the likeliest first; none where nothing is found."""
        ...


class Grid:
    """The whole picture, then its cells: ``side`` × ``side`` of them for each of ``sides``."""

    def __init__(self, sides: Sequence[int] = (2, 3)) -> None:
        if any(side < 2 for side in sides):
            raise ValueError(f"sides is {tuple(sides)}; give whole numbers of 2 or more (the whole is there)")
        self.sides = tuple(sides)

    def propose(self, picture: PILImage.Image, categories: Sequence[str]) -> list[Box]:
        """The same for every picture of a size; cells of no pixel are left out."""
        wide, high = picture.size
        boxes = [(0, 0, wide, high)]
        for side in self.sides:
            xs, ys = ([round(i * span / side) for i in range(side + 1)] for span in (wide, high))
            boxes += [
                (xs[col], ys[row], xs[col + 1], ys[row + 1]) for row in range(side) for col in range(side)
            ]
        return [box for box in boxes if box[0] < box[2] and box[1] < box[3]]


class Given:
    """Boxes that somebody knows: each x1, y1, x2, y2 in pixels."""

    def __init__(self, boxes: Sequence[Any]) -> None:
        self.boxes = [tuple(box) for box in boxes]

    def propose(self, picture: PILImage.Image, categories: Sequence[str]) -> list[Box]:
        """Those boxes, inside the picture."""
        return _inside(self.boxes, picture.size)


class Labelled:
    """Boxes that somebody knows by what they show: for each word its boxes, the likeliest first."""

    def __init__(self, boxes: Mapping[str, Sequence[Any]]) -> None:
        self.boxes = {word: [tuple(box) for box in some] for word, some in boxes.items()}

    def propose(self, picture: PILImage.Image, categories: Sequence[str]) -> list[Box]:
        """The boxes of the words in ``categories``, inside the picture."""
        found = [box for word in categories for box in self.boxes.get(word, ())]
        return _inside(found, picture.size)


class Detector:
    """A detector's boxes above ``threshold``; its classes follow the categories where it can be told them."""

    def __init__(self, model: Any, processor: Any, *, threshold: float = 0.1) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; give a confidence from 0 to 1")
        self.model, self.processor, self.threshold = model.eval(), processor, threshold
        self.told = hasattr(processor, "post_process_grounded_object_detection")

    @classmethod
    def from_pretrained(cls, path: str, *, threshold: float | None = None) -> Detector:
        """A detector's folder or hub name. ``threshold``: 0.1 for one that is told its classes, 0.5 for another."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        options: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True}
        if type(config) in transformers.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING:
            model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(path, **options)
            processor = transformers.AutoProcessor.from_pretrained(path, trust_remote_code=False)
            return cls(model, processor, threshold=0.1 if threshold is None else threshold)
        if type(config) in transformers.MODEL_FOR_OBJECT_DETECTION_MAPPING:
            model = transformers.AutoModelForObjectDetection.from_pretrained(path, **options)
            images = transformers.AutoImageProcessor.from_pretrained(path, trust_remote_code=False)
            return cls(model, images, threshold=0.5 if threshold is None else threshold)
        raise ValueError(
            f"{path} is a {config.model_type}, which detects nothing; name OWLv2, Grounding DINO, DETR …"
        )

    @torch.inference_mode()
    def propose(self, picture: PILImage.Image, categories: Sequence[str]) -> list[Box]:
        """The boxes found, the most confident first."""
        size = [(picture.height, picture.width)]
        device = next(self.model.parameters()).device
        if not self.told:
            inputs = self.processor(images=picture, return_tensors="pt").to(device)
            found = self.processor.post_process_object_detection(
                self.model(**inputs), threshold=self.threshold, target_sizes=size
            )[0]
        else:
            if not categories:
                return []
            inputs = self.processor(text=[list(categories)], images=picture, return_tensors="pt").to(device)
            found = self.processor.post_process_grounded_object_detection(
                self.model(**inputs), threshold=self.threshold, target_sizes=size
            )[0]
        order = torch.argsort(found["scores"], descending=True, stable=True)
        return _inside(found["boxes"][order].tolist(), picture.size)


def _inside(boxes: Sequence[Any], size: tuple[int, int]) -> list[Box]:
    """Whole pixels inside the picture; boxes that are outside of it are left out."""
    wide, high = size
    found = []
    for x1, y1, x2, y2 in boxes:
        box = (
            max(math.floor(x1), 0),
            max(math.floor(y1), 0),
            min(math.ceil(x2), wide),
            min(math.ceil(y2), high),
        )
        if box[0] < box[2] and box[1] < box[3]:
            found.append(box)
    return found
