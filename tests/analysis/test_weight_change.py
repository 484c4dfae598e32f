import pytest
import torch

from vitrail.analysis.weight_change import WeightChange, all_but
from vitrail.training.selection import select_parameters


def test_nothing_has_moved_at_the_beginning_and_frozen_layers_never(fresh_nano):
    model = fresh_nano.model
    change = WeightChange(model, ends=1)
    assert change.report() == {"bottom": 0.0, "top": 0.0, "ratio": 1.0}
    chosen = select_parameters(model, [all_but(2, bottom=1)])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in chosen.parameters:
                parameter.mul_(1.1)
    found = change.report()
    assert found["bottom"] == 0.0 and found["top"] == pytest.approx(0.1, rel=1e-4) and found["ratio"] == 0.0


def test_freezing_everything_and_groups_that_overlap_are_refused(nano):
    assert all_but(12, top=5) == "language.layers[0:7]"
    with pytest.raises(ValueError, match="leave nothing to train"):
        all_but(10, top=5, bottom=5)
    with pytest.raises(ValueError, match="ends is 2 of 2 layers; give 1 to 1"):
        WeightChange(nano.model, ends=2)
