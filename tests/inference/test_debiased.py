"""The share of yes against a plain forward, in several families; thresholds; erased regions."""

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from conftest import picture
from vitrail.inference.debiased import (
    DebiasedJudge,
    Share,
    answer_tokens,
    asking,
    remove_region,
    yes_no_score,
    yes_no_scores,
)
from vitrail.models.loading import load

CONDITIONS = ["a dog is there", "it is true that something red has been lying there for long", "it rains"]


@torch.no_grad()
def test_it_is_that_of_a_plain_forward(nano):
    yes, no = answer_tokens(nano)
    asked = [(picture(1), one) for one in CONDITIONS] + [(picture(2), CONDITIONS[0]), (None, CONDITIONS[0])]
    found = yes_no_scores(nano, asked, batch_size=4)
    for (image, condition), score in zip(asked, found, strict=True):
        prompt = nano.encoder.encode(asking(condition, image), add_generation_prompt=True)
        batch = nano.collator()([prompt])
        batch.pop("labels"), batch.pop("layout")
        shares = nano.model(**batch, use_cache=False).logits[0, -1].softmax(-1)
        p, q = float(shares[yes].sum()), float(shares[no].sum())
        assert score == pytest.approx(p / (p + q), abs=1e-5)
    one_by_one = yes_no_scores(nano, asked[::-1], batch_size=1)[::-1]
    assert found == pytest.approx(one_by_one, abs=1e-5)
    assert found[0] != found[3] and found[3] != found[4]


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "smolvlm", "paligemma"])
def test_every_family_has_a_score_and_a_prior(saved_family, family, monkeypatch):
    # The tiny vocabularies have neither word as a token.
    monkeypatch.setattr("vitrail.inference.debiased.answer_tokens", lambda bundle: ([5, 6], [7]))
    bundle = load(str(saved_family(family)))
    with_picture, other, prior = yes_no_scores(
        bundle, [(picture(1), "it rains"), (picture(2), "it rains"), (None, "it rains")]
    )
    assert all(0 < one < 1 for one in (with_picture, other, prior)) and len({with_picture, other, prior}) == 3


def test_what_the_other_tokens_have_does_not_matter():
    assert Share(-2.0, -3.0).score == pytest.approx(Share(-7.0, -8.0).score)
    assert Share(-2.0, -2.0).score == 0.5 and Share(-900.0, 0.0).score < 1e-12
    with pytest.raises(ValueError, match=r"probability of 2.*e-09, below 1e-06: this model does not answer"):
        _ = Share(float(np.log(1e-9)), float(np.log(1e-9))).score


def test_a_form_of_several_tokens_counts_by_its_first(nano, monkeypatch):
    spelled = {
        "Yes": [1, 9],
        "yes": [2],
        " Yes": [5, 1, 9],
        " yes": [5, 2],
        "No": [3, 8],
        "no": [4, 8],
        " No": [5, 3],
        " no": [6],
    }
    monkeypatch.setattr(type(nano.encoder), "text_ids", lambda self, text: spelled[text])
    assert answer_tokens(nano) == ([1, 2], [3, 4, 6])


def test_words_that_cannot_be_told_apart(nano, monkeypatch):
    monkeypatch.setattr(type(nano.encoder), "text_ids", lambda self, text: [7, len(text)])
    with pytest.raises(ValueError, match="Yes and No begin with the same token"):
        yes_no_score(nano, None, "it rains")
    with pytest.raises(ValueError, match="must hold"):
        asking("x", None, "Is it?")


def test_thresholds_shrink_with_the_room_that_the_prior_leaves():
    judge = DebiasedJudge()
    assert judge.thresholds(0.9) == pytest.approx((-0.27, 0.08))
    assert [judge.judge(0.9 + d, 0.9) for d in (0.081, 0.079, -0.269, -0.271)] == [True, None, None, False]
    assert [judge.judge(one, 0.0) for one in (0.0, 0.79, 0.81)] == [None, None, True]
    assert judge.judge(1.0, 1.0) is None and judge.judge(0.69, 1.0) is False


def test_a_model_that_ignores_its_picture_is_never_decided_by_the_prior():
    judge = DebiasedJudge()
    assert {judge.judge(m0, m0) for m0 in np.linspace(0, 1, 101)} == {None}


def test_the_second_contrast_only_accepts():
    judge = DebiasedJudge()
    assert judge.judge(0.7, 0.5, 0.09) is True and judge.judge(0.7, 0.5, 0.11) is None
    assert judge.judge(0.2, 0.9, 0.0) is False  # the first contrast comes first


@pytest.mark.parametrize(
    ("change", "said"),
    [({"alpha1": 0.1}, "alpha1 is 0.1"), ({"alpha2": 0}, "alpha2 is 0"), ({"beta": 1.1}, "beta is")],
)
def test_thresholds_that_are_none(change, said):
    with pytest.raises(ValueError, match=said):
        DebiasedJudge(**change)


def test_a_region_is_erased_and_nothing_else():
    pixels = np.full((20, 30, 3), (10, 200, 30), np.uint8)
    pixels[5:10, 3:9] = (255, 0, 0)
    found = np.array(remove_region(PILImage.fromarray(pixels), (3, 5, 9, 10)))
    assert (found == (10, 200, 30)).all()
    black = np.array(remove_region(PILImage.fromarray(pixels), (0, 0, 2, 2), "black"))
    assert (black[:2, :2] == 0).all() and (black[5:10, 3:9] == (255, 0, 0)).all()
    blue = np.array(remove_region(PILImage.fromarray(pixels).convert("L"), (0, 0, 30, 20), (0, 0, 255)))
    assert (blue == (0, 0, 255)).all()
    with pytest.raises(ValueError, match=r"box \(0, 0, 31, 5\) does not lie in a picture of 30 × 20"):
        remove_region(PILImage.fromarray(pixels), (0, 0, 31, 5))
    with pytest.raises(ValueError, match="fill is 'pink'; use mean"):
        remove_region(PILImage.fromarray(pixels), (0, 0, 1, 1), "pink")
