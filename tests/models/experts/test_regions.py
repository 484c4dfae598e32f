"""Boxes of a picture: a grid, known ones, and tiny detectors of transformers."""

from __future__ import annotations

import pytest
import torch
import transformers as T
from PIL import Image as PILImage

import family_files
from vitrail.models.experts.regions import Detector, Given, Grid, Labelled

PICTURE = PILImage.new("RGB", (64, 48), (10, 200, 30))


def owl():
    """A tiny OWLv2 with what feeds it."""
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    text = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 16}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision |= {"image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = T.Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
    processor = T.Owlv2Processor(
        image_processor=Owlv2ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=family_files.tokenizer("qwen2_vl"),
    )
    processor.tokenizer.model_max_length = 16
    model = T.Owlv2ForObjectDetection(config)
    for head in (model.box_head.dense2, model.class_head.logit_shift, model.class_head.logit_scale):
        torch.nn.init.zeros_(head.weight)  # boxes are those of the patches, confidences one half or so
        torch.nn.init.zeros_(head.bias)
    return model, processor


def test_grids_and_known_boxes_lie_inside():
    boxes = Grid((2, 3)).propose(PICTURE, [])
    assert len(boxes) == 14 and boxes[0] == (0, 0, 64, 48)
    assert sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes[5:]) == 64 * 48
    assert Given([(-5, 2.5, 10.2, 99), (70, 0, 80, 9)]).propose(PICTURE, []) == [(0, 2, 11, 48)]
    with pytest.raises(ValueError, match="sides"):
        Grid((1,))


def test_a_detector_looks_for_the_categories_it_is_told():
    model, processor = owl()
    detector = Detector(model, processor, threshold=0.0)
    assert detector.told
    found = detector.propose(PICTURE, ["cat", "a dog"])
    assert 8 <= len(found) <= 16, "of 4 × 4 patches; those in the padding are outside"
    assert all(0 <= x1 < x2 <= 64 and 0 <= y1 < y2 <= 48 for x1, y1, x2, y2 in found)
    assert detector.propose(PICTURE, []) == []
    assert Detector(model, processor, threshold=1.0).propose(PICTURE, ["cat"]) == []
    with pytest.raises(ValueError, match="threshold is 2"):
        Detector(model, processor, threshold=2.0)


def test_what_detects_nothing_is_refused(saved_family):
    with pytest.raises(ValueError, match="detects nothing"):
        Detector.from_pretrained(str(saved_family("llava")))


def test_known_boxes_are_those_of_the_words():
    known = Labelled({"cat": [[-3, 2, 9, 9], [30, 0, 40, 5]], "dog": [[1, 1, 4.5, 4]]})
    picture = PILImage.new("RGB", (20, 10))
    assert known.propose(picture, ["dog", "cat"]) == [(1, 1, 5, 4), (0, 2, 9, 9)]
    assert known.propose(picture, ["cow"]) == []
