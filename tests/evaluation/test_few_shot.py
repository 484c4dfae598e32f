"""Few-shot evaluation: ways of showing examples, numbers of shots."""

from __future__ import annotations

import pytest

from vitrail.evaluation.few_shot import WAYS, few_shot
from vitrail.models.testbeds import nano

SETTINGS = {"n": 4, "suite": "nano-scenes-v1", "wording": "short", "per_class": 4, "side": 32}


def test_every_way_has_a_curve(tmp_path):
    bundle = nano.build(seed=0).operated("aim")
    found = few_shot(bundle, tmp_path, WAYS, (1, 2), **SETTINGS)
    assert list(found) == list(WAYS)
    assert all(curve[k].n == 2 and curve[k].value is not None for curve in found.values() for k in (1, 2))
    again = few_shot(bundle, tmp_path, ("apart",), (1, 2), **SETTINGS)
    assert {k: one.value for k, one in again["apart"].items()} == {
        k: one.value for k, one in found["apart"].items()
    }


def test_settings_and_models_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="per_clas"):
        few_shot(nano.build(seed=0), tmp_path, ("text",), (1,), per_clas=3)
