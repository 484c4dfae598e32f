"""Where masks fall: one piece of an entity, each as often as the others, never outside; the same for every batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import encoders
from vitrail.data.entities import TYPES, Entity
from vitrail.data.records import Document
from vitrail.data.translations import Translations
from vitrail.models.sentences import ENTITY, ENTITY_TYPE, SPECIAL
from vitrail.objectives.lem import LEM
from vitrail.objectives.masked import IGNORED, Masked
from vitrail.recipes.sentences import Annotation

KIND = "xlm-roberta"


def made(records, kind=KIND, **settings):
    """An objective and a batch of records, annotated."""
    bundle = encoders.bundle(kind)
    objective = LEM(LEM.Config(**settings), tokenizer=bundle.tokenizer)
    objective.at(1, 10)
    collator = bundle.collator()
    collator.annotate = Annotation(objective.annotator())
    return objective, collator, [bundle.encoder.encode(record) for record in records], bundle


def pairs(n=12, **options):
    return Translations(("english", "cindra"), n, seed=2, **options)


@pytest.mark.parametrize("types", [("NE",), ("NOUN", "VERB"), TYPES])
@pytest.mark.parametrize("kind", encoders.KINDS)
def test_one_token_of_each_entity_and_none_outside(kind, types):
    objective, collator, encoded, _ = made(pairs(), kind, types=types, budget=1.0)
    batch = collator(encoded)
    _, labels = objective.views(batch)
    allowed = [TYPES.index(one) for one in types]
    for row in range(len(encoded)):
        chosen = labels[row] != IGNORED
        numbers = batch[ENTITY][row][chosen].tolist()
        assert len(numbers) == len(set(numbers)) and min(numbers) >= 0
        assert set(batch[ENTITY_TYPE][row][chosen].tolist()) <= set(allowed)
        wanted = {
            int(number)
            for number, kind in zip(batch[ENTITY][row], batch[ENTITY_TYPE][row], strict=True)
            if int(kind) in allowed
        }
        assert set(numbers) == wanted  # a budget of everything: every entity


def test_the_budget_chooses_among_entities():
    objective, collator, encoded, _ = made(pairs(), budget=0.05)
    batch = collator(encoded)
    _, labels = objective.views(batch)
    for row, one in enumerate(encoded):
        assert int((labels[row] != IGNORED).sum()) == max(1, round(0.05 * one.labelled))


def test_each_piece_of_an_entity_is_chosen_equally_often():
    objective, collator, encoded, _ = made(pairs(1), budget=1.0)
    batch = collator(encoded)
    counts = np.zeros(batch["input_ids"].shape[1])
    for step in range(1, 1201):
        objective.at(step, 2000)
        counts += (objective.views(batch)[1][0] != IGNORED).numpy()
    sizes = []
    for number in range(int(batch[ENTITY].max()) + 1):
        own = counts[(batch[ENTITY][0] == number).numpy()]
        assert own.sum() == 1200
        sizes.append(len(own))
        if len(own) > 1:
            assert chisquare(own).pvalue > 1e-4
    assert max(sizes) > 2


def test_the_control_hides_as_many_and_the_whole_hides_all_of_an_entity():
    single, collator, encoded, _ = made(pairs(), budget=0.15)
    batch = collator(encoded)
    control, whole = (
        LEM(LEM.Config(mode=mode), tokenizer=encoders.tokenizer(KIND))
        for mode in ("random_same_count", "whole")
    )
    outside = 0
    for step in range(1, 6):
        for one in (single, control, whole):
            one.at(step, 10)
        found = [one.views(batch)[1] != IGNORED for one in (single, control, whole)]
        assert torch.equal(found[0].sum(1), found[1].sum(1))
        assert not (found[1] & batch[SPECIAL]).any()
        outside += int((found[1] & (batch[ENTITY] < 0)).sum())
        for row in range(len(encoded)):
            hidden = set(batch[ENTITY][row][found[2][row]].tolist())
            of_them = sum((batch[ENTITY][row] == number).sum() for number in hidden)
            assert int(found[2][row].sum()) == int(of_them)
    assert outside > 10


def test_a_probability_of_zero_leaves_a_type_out_and_a_source_is_hidden_alone():
    objective, collator, encoded, _ = made(pairs(), budget=1.0, probability={"NOUN": 0.0, "VERB": 0.0})
    batch = collator(encoded)
    _, labels = objective.views(batch)
    assert set(batch[ENTITY_TYPE][labels != IGNORED].tolist()) == {0}
    side = torch.from_numpy(encoded[0].side)
    row = labels[0][: len(side)] != IGNORED
    # The name of the one side is hidden without its translation in some step.
    alone = 0
    objective = LEM(LEM.Config(types=("NE",), budget=0.01), tokenizer=encoders.tokenizer(KIND))
    for step in range(1, 9):
        objective.at(step, 10)
        row = objective.views(batch)[1][0][: len(side)] != IGNORED
        alone += int(row.sum()) == 1 and int(row[side == 0].sum()) == 1
    assert alone


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_a_text_without_entities_costs_nothing_and_is_never_nan(kind):
    plain = [Document(content="near over under", meta={"entities": []}) for _ in range(3)]
    objective, collator, encoded, bundle = made([*plain, *pairs(2)], kind)
    model = bundle.model.train()
    loss = objective(model, collator(encoded[:3]))
    total = loss.total()
    total.backward()
    assert float(total) == 0 and objective.count(collator(encoded[:3])) == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    model.zero_grad()
    mixed = objective(model, collator(encoded))
    assert mixed.counts["lem"] == objective.count(collator(encoded)) > 0
    mixed.total().backward()
    assert torch.isfinite(mixed.total()) and any(
        p.grad.any() for p in model.parameters() if p.grad is not None
    )


@pytest.mark.parametrize("kind", encoders.KINDS)
@pytest.mark.parametrize("name", ["masked", "lem"])
def test_the_loss_is_that_of_the_whole_logits_and_of_any_batch(kind, name):
    objective, collator, encoded, bundle = made(pairs(6), kind)
    if name == "masked":
        objective = Masked(tokenizer=bundle.tokenizer)
        objective.at(1, 10)
    model = bundle.model
    whole = collator(encoded)
    with torch.no_grad():
        ids, labels = objective.views(whole)
        takes = {key: whole[key] for key in ("attention_mask", "token_type_ids") if key in whole}
        logits = model(input_ids=ids, **takes).logits
        reference = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        found = objective(model, whole)
        torch.testing.assert_close(found.sums[name], reference, atol=1e-4, rtol=1e-5)
        parts = [objective(model, collator(encoded[start : start + 2])) for start in (4, 0, 2)]
    assert sum(one.counts[name] for one in parts) == found.counts[name]
    torch.testing.assert_close(sum(one.sums[name] for one in parts), found.sums[name], atol=1e-3, rtol=1e-5)


def test_masks_follow_the_step_and_the_seed_alone():
    objective, collator, encoded, bundle = made(pairs(4))
    one = objective.views(collator(encoded))[0]
    again = objective.views(collator(encoded))[0]
    objective.at(2, 10)
    later = objective.views(collator(encoded))[0]
    other = LEM(LEM.Config(seed=1), tokenizer=bundle.tokenizer)
    other.at(2, 10)
    assert torch.equal(one, again) and not torch.equal(one, later)
    assert not torch.equal(other.views(collator(encoded))[0], later)


def test_eight_of_ten_chosen_tokens_become_the_mask():
    bundle = encoders.bundle(KIND)
    objective = Masked(Masked.Config(budget=0.5), tokenizer=bundle.tokenizer)
    batch = bundle.collator()([bundle.encoder.encode(record) for record in pairs(20)])
    counts = np.zeros(3)
    for step in range(1, 9):
        objective.at(step, 10)
        ids, labels = objective.views(batch)
        chosen = labels != IGNORED
        masked, kept = ids[chosen] == bundle.tokenizer.mask_token_id, ids[chosen] == labels[chosen]
        counts += [int(masked.sum()), int((~masked & ~kept).sum()), int(kept.sum())]
        assert torch.equal(ids[~chosen], batch["input_ids"][~chosen])
    assert np.allclose(counts / counts.sum(), (0.8, 0.1, 0.1), atol=0.02)


def test_what_cannot_be_is_refused(nano):
    with pytest.raises(ValueError, match="greater than 0"):
        LEM.Config(budget=0)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Masked.Config(budget=1.5)
    with pytest.raises(ValueError, match="add up to 1"):
        Masked.Config(corruption=(0.8, 0.1, 0.2))
    with pytest.raises(ValueError, match="'NE', 'NOUN' or 'VERB'"):
        LEM.Config(types=("ADJ",))
    with pytest.raises(ValueError, match="give 0 to 1"):
        LEM.Config(probability={"NE": 2})
    with pytest.raises(ValueError, match="did you mean 'spacy'"):
        LEM.Config(tagger="spacey")
    with pytest.raises(ValueError, match="no masked encoder"):
        Masked(tokenizer=nano.tokenizer)
    objective, collator, encoded, _ = made([Document(content="Ada opens the door")])
    with pytest.raises(ValueError, match=r"no annotation \(meta\.entities\)"):
        collator(encoded)
    chats = copy.copy(objective)
    with pytest.raises(ValueError, match="this model reads chats"):
        chats.views({"input_ids": torch.ones(1, 2)})
    wrong = Document(content="Ada", meta={"entities": [{"type": "NE", "start": 0, "end": 9}]})
    with pytest.raises(ValueError, match="the text has 3 characters"):
        collator([encoders.bundle(KIND).encoder.encode(wrong)])
    assert Entity(0, 3, "NE") < Entity(4, 5, "NE")
