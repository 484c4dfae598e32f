"""A made picture is compared with candidates; text and picture must both be right, and a wrong text asks for none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from conftest import chat
from official_files import TEXTS, seed_2_row, seed_bench_2
from vitrail.evaluation.benchmarks.seed_bench_2 import SeedBench2
from vitrail.evaluation.image_choice import ImageChooser, TwoStepChooser, made_rows

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
PICTURES = [PILImage.new("RGB", (8, 8), colour) for colour in COLOURS]


def embed(pictures):
    return np.stack([np.asarray(one, float).mean((0, 1)) + 1 for one in pictures])


def test_a_candidate_itself_is_taken():
    chooser = ImageChooser(lambda asked, root: PICTURES[2], embed)
    found = chooser.choose(chat("draw"), PICTURES)
    assert found.choice == 2 and found.similarities[2] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="made no picture"):
        ImageChooser(lambda asked, root: None, embed).choose(chat("draw"), PICTURES)
    with pytest.raises(ValueError, match="leave no choice"):
        chooser.choose(chat("draw"), PICTURES[:1])


def test_two_steps():
    made = []

    def make(asked, root):
        made.append(1)
        return PICTURES[1]

    for text, answer, right in ((1, 1, True), (2, 1, None), (3, 3, False)):
        made.clear()
        said, image = TwoStepChooser(lambda asked, texts, text=text: text, ImageChooser(make, embed)).choose(
            chat("write and draw"), TEXTS, PICTURES, answer
        )
        assert said == text and bool(made) == (text == answer)
        assert (image.choice == answer if image else None) == right


def test_rows_of_the_dimensions_that_ask_for_pictures(tmp_path):
    rows = [
        seed_2_row(0, 1),
        seed_2_row(1, 25, data_id=[f"task25/{n}.jpg" for n in range(4)], answer="B"),
        seed_2_row(2, 26, data_id=[f"task26/{n}.png" for n in range(7)], answer="A"),
        seed_2_row(
            3,
            27,
            data_id=[f"task27/{n}.jpg" for n in range(4)],
            answer="B",
            subpart="Image & Text Generation",
        ),
    ]
    source = SeedBench2(SeedBench2.Config(path=str(seed_bench_2(tmp_path, rows)))).source()
    candidate = source.questions[1].candidates[1].open(source.root)
    chooser = ImageChooser(lambda asked, root: candidate, embed_exact)
    found, left = made_rows(source, chooser)
    assert [row["kind"] for row in found] == ["Text-to-Image Generation", "Next Image Prediction"]
    assert found[0]["correct"] and found[0]["prediction"] == 1
    assert "give rank" in left["27_3"]
    both, none = made_rows(source, chooser, rank=lambda asked, texts: 0)
    assert not both[-1]["correct"] and both[-1]["kind"] == "Text-Image Creation" and not none
    names = {figure.name for figure in SeedBench2.figures(both)}
    assert {"part 3, pooled", "part 3, mean of dimensions"} <= names


def embed_exact(pictures):
    return np.stack([np.asarray(one.resize((16, 16)), float).ravel() + 1 for one in pictures])
