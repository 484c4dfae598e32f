"""Anatomy: parts by name, and parameters counted once."""

from __future__ import annotations

import pytest

import families
from vitrail.models import anatomy
from vitrail.models.testbeds import nano as nano_testbed


def test_parts_of_our_model(fresh_nano):
    model = fresh_nano.model
    found = anatomy.parts(model)
    assert found["tower"] is model.tower and found["connector"] is model.connector
    assert found["language"] is model.language and len(found["language.layers"]) == 2
    assert found["language.embeddings"].weight is found["language.head"].weight
    model.requires_grad_(False)
    model.connector.requires_grad_(True)
    rows = anatomy.counts(model)
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    assert {row.name: row.trained for row in rows} == {
        "tower": 0,
        "connector": sum(p.numel() for p in model.connector.parameters()),
        "language": 0,
    }


def test_parts_through_peft():
    from peft import LoraConfig, get_peft_model

    bundle = nano_testbed.build()
    adapted = get_peft_model(bundle.model, LoraConfig(r=2, target_modules=r"language\..*q_proj"))
    assert anatomy.part(adapted, "connector") is bundle.model.connector


def test_parts_of_a_llava_and_of_a_plain_language_model():
    llava, _ = families.llava()
    assert anatomy.part(llava, "connector") is llava.model.multi_modal_projector
    assert anatomy.part(llava, "language.layers") is llava.model.language_model.layers
    plain = anatomy.parts(families.llama())
    assert "tower" not in plain and "language.layers" in plain


def test_a_wrong_name_gets_the_nearest_right_one(nano):
    with pytest.raises(ValueError, match="no part 'conector'; did you mean 'connector'"):
        anatomy.part(nano.model, "conector")
