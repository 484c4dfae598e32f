"""A record packed with others is what it is alone: in every family, under every rule that composes."""

import dataclasses

import numpy as np
import pytest
import torch

import families
from conftest import chat, picture
from vitrail.models.layout import Layout, Modality, Speaker
from vitrail.models.loading import load
from vitrail.models.testbeds import nano
from vitrail.objectives.isolation import isolated
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Sum
from vitrail.objectives.word_alignment import WordAlignment
from vitrail.training.packed_batches import PackedCollator, packed_collator, refuse_unpackable

CLOSE = 1e-5
"""Of float32 log-probabilities (DESIGN.md, Exactness)."""


def chats():
    return [
        chat("what is it?", "a cat and a dog", seed=1, id="one"),
        chat("hello", "good day to you", images=0, id="text"),
        chat("and these?", "two birds", "sure?", "yes", images=2, seed=2, id="two"),
        chat("this?", "a house", seed=3, id="last"),
    ]


def rows(bundle):
    """Two rows: three records, the middle one without a picture, and one."""
    records = [bundle.encoder.encode(one) for one in chats()]
    return [records[:3], records[3:]]


def disturbed(record):
    """As many tokens, but other words and another picture."""
    said = record.speaker == Speaker.ASSISTANT
    ids = record.input_ids.copy()
    ids[said] = ids[said][::-1]
    return dataclasses.replace(record, input_ids=ids, images=tuple(picture(seed=99) for _ in record.images))


def batch_of(bundle, packed):
    return PackedCollator(bundle.collator())(packed)


@torch.no_grad()
def logits(bundle, batch):
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "layout")}
    with isolated(bundle.model, batch):
        return bundle.model.eval()(**inputs, use_cache=False).logits.float()


def segments(batch):
    """The tokens of each record, row by row, as (row, slice)."""
    found = []
    for row, segment in enumerate(batch["layout"].segment):
        for index in range(int(segment.max()) + 1):
            places = (segment == index).nonzero()[:, 0]
            found.append((row, slice(int(places[0]), int(places[-1]) + 1)))
    return found


def check_equals_alone(bundle):
    packed = rows(bundle)
    batch = batch_of(bundle, packed)
    together = logits(bundle, batch).log_softmax(-1)
    records = [record for row in packed for record in row]
    assert len(segments(batch)) == len(records)
    for record, (row, place) in zip(records, segments(batch), strict=True):
        alone = logits(bundle, bundle.collator()([record])).log_softmax(-1)[0]
        found = together[row, place]
        assert found.shape == alone.shape
        assert (found - alone).abs().max() < CLOSE, record.id


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_a_packed_record_has_the_logits_it_has_alone(name, saved_family):
    check_equals_alone(load(saved_family(name)))


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_what_stands_beside_a_record_does_not_matter_to_the_bit(name, saved_family):
    bundle = load(saved_family(name))
    packed = rows(bundle)
    batch = batch_of(bundle, packed)
    other = batch_of(bundle, [[disturbed(packed[0][0]), *packed[0][1:]], packed[1]])
    here, there, places = logits(bundle, batch), logits(bundle, other), segments(batch)
    row, place = places[0]
    assert not torch.equal(here[row, place], there[row, place])
    for row, place in places[1:]:
        assert torch.equal(here[row, place], there[row, place])


def test_our_model_packed_equals_alone(nano):
    check_equals_alone(nano)


SURGERIES = {
    "tc_llava": {"gamma": 0.5},
    "ee_mllm": {},
    "latest_picture": {},
}


@pytest.mark.parametrize("surgery", SURGERIES)
def test_rules_that_stand_in_the_model_compose(surgery):
    bundle = nano.build(seed=0).operated(surgery, SURGERIES[surgery])
    refuse_unpackable(bundle.model, NextToken())
    plain, packed = nano.build(seed=0), rows(bundle)
    batch = batch_of(bundle, packed)
    records = [record for row in packed for record in row]
    with torch.no_grad():
        loss = NextToken()(bundle.model, batch).sums["next_token"]
        alone = sum(NextToken()(bundle.model, bundle.collator()([one])).sums["next_token"] for one in records)
        other = NextToken()(plain.model, batch).sums["next_token"]
    assert loss == pytest.approx(float(alone), rel=1e-5)
    assert abs(float(loss - other)) > 1e-3  # the rule does something


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "paligemma"])
def test_loss_and_gradients_are_those_of_the_records(name, saved_family):
    bundle = load(saved_family(name))
    model = bundle.model.train().requires_grad_(True)
    packed = rows(bundle)
    records = [record for row in packed for record in row]
    objective, found = NextToken(), []
    for batch in (batch_of(bundle, packed), bundle.collator()(records)):
        model.zero_grad(set_to_none=True)
        loss = objective(model, batch)
        loss.total().backward()
        found.append((loss, {key: one.grad for key, one in model.named_parameters()}))
    (one, gradients), (other, expected) = found
    assert one.counts == other.counts == {"next_token": sum(record.labelled for record in records)}
    assert torch.allclose(one.sums["next_token"], other.sums["next_token"], rtol=1e-5)
    for key, gradient in gradients.items():
        assert (gradient is None) == (expected[key] is None), key
        if gradient is not None:
            assert torch.allclose(
                gradient, expected[key], atol=1e-4 * float(expected[key].abs().max() + 1)
            ), key


def test_the_layout_of_a_row_is_that_of_its_records(nano):
    packed = rows(nano)
    collator = nano.collator()
    collator.multiple_of = 16
    batch = PackedCollator(collator)(packed)
    layout = batch["layout"]
    assert layout.shape[1] % 16 == 0 and batch["input_ids"].shape == layout.shape
    assert torch.equal(layout.present.long(), batch["attention_mask"])
    names = [one.name for one in dataclasses.fields(Layout) if one.name not in ("segment", "droppable")]
    for row, records in enumerate(packed):
        begin = 0
        for index, record in enumerate(records):
            place = slice(begin, begin := begin + record.length)
            assert (layout.segment[row, place] == index).all()
            assert batch["input_ids"][row, place].tolist() == record.input_ids.tolist()
            assert batch["labels"][row, place].tolist()[1:] == record.labels.tolist()[1:]
            assert batch["labels"][row, place][0] == -100
            for name in names:
                assert getattr(layout, name)[row, place].tolist() == getattr(record, name).tolist(), name
        assert (layout.segment[row, begin:] == -1).all() and (batch["labels"][row, begin:] == -100).all()
        assert (layout.modality[row, begin:] == Modality.PADDING).all()
    assert torch.equal(layout.droppable, layout.visual)
    pictures = sum(len(record.images) for records in packed for record in records)
    assert len(batch["pixel_values"]) == pictures


def test_a_first_token_is_never_learnt(nano):
    record = nano.encoder.encode(chats()[1])
    ones = np.ones(record.length, dtype=np.float32)
    learnt = dataclasses.replace(record, labels=record.input_ids.copy(), weight=ones)
    batch = PackedCollator(nano.collator())([[learnt, learnt]])
    alone = nano.collator()([learnt, learnt])
    assert NextToken().count(batch) == NextToken().count(alone) == 2 * (record.length - 1)


def test_unpacked_batches_run_without_a_rule(nano, monkeypatch):
    from vitrail.objectives import isolation

    def forbidden(*_):
        raise AssertionError("a rule for rows of one record")

    monkeypatch.setattr(isolation, "applied", forbidden)
    records = [record for row in rows(nano) for record in row]
    with (
        isolated(nano.model, nano.collator()(records)),
        isolated(nano.model, {"input_ids": torch.ones(1, 3)}),
    ):
        pass
    with pytest.raises(AssertionError, match="a rule"), isolated(nano.model, batch_of(nano, rows(nano))):
        pass


class PerRecord:
    """A further input with a number for each record, not for each token."""

    def __call__(self, records):
        return {"levels": torch.ones(len(records), 3)}


def test_what_cannot_share_a_row_is_refused_with_the_reason(nano):
    with pytest.raises(ValueError, match="WordAlignment takes one record a row"):
        refuse_unpackable(nano.model, WordAlignment.__new__(WordAlignment))
    with pytest.raises(ValueError, match=r"needs a vitrail.models.batches.Collator, and function"):
        packed_collator(lambda records: {})
    collator = nano.collator()
    collator.from_records = PerRecord()
    with pytest.raises(ValueError, match=r"input 'levels' is \(4, 3\) for 4 records.*without packing"):
        PackedCollator(collator)(rows(nano))


def test_a_model_that_says_it_cannot_is_refused(monkeypatch):
    from vitrail.models.families.family import cannot
    from vitrail.training import packed_batches

    bundle = nano.build(seed=0)
    unable = dataclasses.replace(bundle.family, pack=cannot("it looks at whole rows"))
    monkeypatch.setattr(packed_batches, "family_of", lambda config: unable)
    with pytest.raises(ValueError, match="cannot share a row: it looks at whole rows"):
        refuse_unpackable(bundle.model, NextToken())
    encoder = dataclasses.replace(bundle.family, kind="encoder")
    monkeypatch.setattr(packed_batches, "family_of", lambda config: encoder)
    with pytest.raises(ValueError, match="is a encoder"):
        refuse_unpackable(bundle.model, NextToken())


def test_a_surgery_that_breaks_packing_and_flash_attention_are_refused():
    bundle = nano.build(seed=0).operated("aligngpt")
    with pytest.raises(ValueError, match="packing does not work with the surgery 'aligngpt'"):
        refuse_unpackable(bundle.model, NextToken())
    bundle = nano.build(seed=0)
    bundle.model.get_decoder().config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match=r"flash_attention_2.*'sdpa'"):
        refuse_unpackable(bundle.model, NextToken())


def test_a_sum_shares_rows_only_if_all_its_parts_do(nano):
    refuse_unpackable(nano.model, Sum([(1.0, NextToken())]))

    class Other(NextToken):
        terms = ("other",)
        takes_packed = False

        def __init__(self):
            super().__init__()
            self.terms = ("other",)

    with pytest.raises(ValueError, match="Sum takes one record a row"):
        refuse_unpackable(nano.model, Sum([(1.0, NextToken()), (1.0, Other())]))
