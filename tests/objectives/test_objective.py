import pytest
import torch
from torch import nn

from vitrail.objectives.objective import Loss, Objective, Sum, accepts, model_inputs


class Part(Objective):
    def __init__(self, term: str, value: float, units: int, decomposes: bool = True) -> None:
        super().__init__()
        self.terms, self.value, self.units, self.decomposes = (term,), value, units, decomposes

    def count(self, batch):
        return self.units

    def forward(self, model, batch):
        return Loss({self.terms[0]: torch.tensor(self.value)}, {self.terms[0]: self.units})


class Model(nn.Module):
    def forward(self, input_ids, **kwargs):
        return input_ids


class LayoutModel(nn.Module):
    def forward(self, input_ids, layout=None):
        return input_ids


def test_total_divides_sums_by_the_units_of_the_step():
    loss = Loss({"a": torch.tensor(6.0), "b": torch.tensor(4.0)}, {"a": 2, "b": 2}, {"b": 0.5})
    assert float(loss.total()) == 6 / 2 + 0.5 * 4 / 2
    assert float(loss.total({"a": 3, "b": 8}, micro_batches=2)) == 6 / 3 + 0.5 * 4 / 8
    # b is not among the counts: it does not decompose, so it is the mean of this micro-batch over two of them
    assert float(loss.total({"a": 3}, micro_batches=2)) == 6 / 3 + 0.5 * (4 / 2) / 2


def test_a_step_without_units_is_zero_and_not_nan():
    assert float(Loss({"a": torch.tensor(0.0)}, {"a": 0}).total({"a": 0})) == 0


def test_sums_need_counts_and_weights_need_sums():
    with pytest.raises(ValueError, match="needs a count for each sum"):
        Loss({"a": torch.tensor(1.0)}, {})
    with pytest.raises(ValueError, match="weight for 'b'"):
        Loss({"a": torch.tensor(1.0)}, {"a": 1}, {"b": 1.0})


def test_a_sum_keeps_terms_apart_and_multiplies_weights_in():
    both = Sum([(2.0, Part("a", 3.0, 3)), (0.5, Part("b", 8.0, 4, decomposes=False))])
    loss = both(Model(), {})
    assert loss.weights == {"a": 2.0, "b": 0.5}
    assert both.counts({}) == {"a": 3}
    assert not both.decomposes
    assert float(loss.total()) == 2.0 * 1.0 + 0.5 * 2.0
    with pytest.raises(ValueError, match=r"both|two objectives"):
        Sum([(1.0, Part("a", 1.0, 1)), (1.0, Part("a", 1.0, 1))])


def test_layout_goes_to_models_that_name_it():
    batch = {"input_ids": 1, "labels": 2, "loss_weights": 3, "layout": 4}
    assert model_inputs(Model(), batch) == {"input_ids": 1}
    assert model_inputs(LayoutModel(), batch) == {"input_ids": 1, "layout": 4}
    assert not accepts(Model(), "layout")


def test_wrappers_are_looked_through():
    assert accepts(nn.DataParallel(LayoutModel()), "layout")


def test_importing_the_room_is_light():
    import subprocess
    import sys

    code = "import sys, vitrail.training.stages, vitrail.objectives; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
