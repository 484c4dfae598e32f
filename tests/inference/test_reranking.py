"""RagLLaVA at inference: p_yes, what is kept, the threshold, and the evidence of an answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memories import COLOURS, concept, filled
from vitrail.inference.answerers import question
from vitrail.inference.inputs import model_inputs
from vitrail.inference.methods import TRACE, build, using
from vitrail.inference.ragllava import RagLLaVA
from vitrail.inference.reranking import YesNoReranker, adaptive_threshold, kept, relevance_chat
from vitrail.models.loading import load


@pytest.fixture(scope="module")
def bundle(saved_family):
    return load(str(saved_family("qwen2_vl")))


@pytest.fixture
def store(tmp_path):
    with filled(tmp_path / "memory") as one:
        yield one


def test_p_yes_is_the_softmax_of_two_logits_one_by_one_or_together(bundle, saved_family):
    images = [concept(name).part() for name in COLOURS]
    captions = ["a red thing", "something green and much longer than that", "blue", "x"]
    reranker = YesNoReranker(bundle, batch_size=3)
    for given in (None, captions):
        scores = reranker.score("who is red?", images, given)
        for place, image in enumerate(images):
            chat = relevance_chat("who is red?", image, given[place] if given else None)
            encoded = bundle.encoder.encode(chat, add_generation_prompt=True)
            inputs = model_inputs(bundle.model, bundle.collator()([encoded]))
            with torch.no_grad():
                logits = bundle.model(**inputs).logits[0, -1].double()
            ids = [bundle.encoder.text_ids(word)[0] for word in ("Yes", "No")]
            assert scores[place] == pytest.approx(logits[ids].softmax(0)[0].item(), abs=1e-5)
    assert reranker.score("x", []) == []
    with pytest.raises(ValueError, match="begins 'Yes' and 'No' with the same token"):
        YesNoReranker(load(str(saved_family("llava"))))
    with pytest.raises(ValueError, match="4 pictures have 1 captions"):
        reranker.score("x", images, ["a", "", "", ""])


def test_what_is_kept():
    scores = [0.2, 0.9, 0.5, 0.9]
    assert kept(scores, 4) == [1, 3, 2, 0] and kept(scores, 2) == [1, 3]
    assert kept(scores, 4, 0.5) == [1, 3, 2] and kept(scores, 4, 1.01) == []
    with pytest.raises(ValueError, match="n is 5, and there are 4"):
        kept(scores, 5)


def test_the_threshold_is_where_two_normal_densities_cross():
    rng = np.random.default_rng(0)
    base = rng.normal(size=100)
    base = (base - base.mean()) / base.std()
    assert adaptive_threshold(0.7 + 0.05 * base, 0.3 + 0.05 * base) == pytest.approx(0.5)
    found = adaptive_threshold(0.8 + 0.02 * base, 0.4 + 0.1 * base)

    def density(x, mean, spread):
        return np.exp(-0.5 * ((x - mean) / spread) ** 2) / spread

    assert 0.5 < found < 0.8
    assert density(found, 0.8, 0.02) == pytest.approx(density(found, 0.4, 0.1))
    with pytest.raises(ValueError, match="no threshold parts them"):
        adaptive_threshold([0.1, 0.2], [0.8, 0.9])
    with pytest.raises(ValueError, match="two or more"):
        adaptive_threshold([0.1], [0.8, 0.9])


def answered(bundle, store, text, **settings):
    method = RagLLaVA(RagLLaVA.Config(memory="-", **settings), store)
    with using(bundle, [("ragllava", method)]) as looking:
        return looking.encoder.encode(question(text), add_generation_prompt=True)


def evidence(encoded):
    return [one["name"] for one in encoded.meta[TRACE]["ragllava"]["evidence"]]


def test_the_pipeline_keeps_the_retrievers_order_or_the_rerankers(bundle, store):
    plain = answered(bundle, store, "what is blue?", rerank=False, k=4, n=2)
    assert evidence(plain)[0] == "Tom" and len(plain.images) == 2
    assert plain.images[0].bytes == store.get("Tom").image
    ranked = answered(bundle, store, "what is blue?", k=4, n=4)
    scores = {
        name: YesNoReranker(bundle).score("what is blue?", [store.get(name).part()], [store.get(name).info])[
            0
        ]
        for name in COLOURS
    }
    assert evidence(ranked) == sorted(scores, key=lambda name: -scores[name])
    bound = sorted(scores.values())[-1] - 1e-7
    assert len(answered(bundle, store, "what is blue?", k=4, n=4, eta=bound).images) == 1
    assert len(answered(bundle, store, "what is blue?", k=4, n=4, eta=1.0).images) == 0


def test_bad_input(bundle, store):
    for settings, message in (
        ({"k": 1, "n": 2}, "at least as many"),
        ({"rerank": False, "eta": 0.5}, "no effect"),
        ({"eta": 1.01}, "eta"),
    ):
        with pytest.raises(ValueError, match=message):
            build("ragllava", {"memory": "m", **settings})
    store.update("Tom", info="")
    with pytest.raises(ValueError, match="'Tom' has no line"):
        answered(bundle, store, "what is blue?", k=4)
    store.remove(*COLOURS)
    with pytest.raises(ValueError, match="holds no picture"):
        answered(bundle, store, "what is blue?")
