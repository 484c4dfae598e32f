"""Differences of models in memory: between, add, combine, measure.

The same arithmetic as :mod:`~.streaming`, for models that are loaded. A tied embedding is one parameter and is added to
once; buffers are none; names are those in memory, which for some families differ from those on disk.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vitrail.models.logits import unwrapped
from vitrail.models.weights.checkpoint import selected
from vitrail.models.weights.difference import same_names

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class ModelDelta:
    """A tensor for each parameter's name, in float32 or float64, never rounded to the model's type."""

    tensors: Mapping[str, Tensor]

    @classmethod
    @torch.no_grad()
    def between(
        cls,
        plus: nn.Module,
        minus: nn.Module,
        *,
        only: Sequence[str] = (),
        exclude: Sequence[str] = (),
        dtype: torch.dtype = torch.float32,
    ) -> ModelDelta:
        """``plus`` − ``minus`` over the parameters that ``only`` and ``exclude`` leave (patterns of names).

        Rows of the embeddings that ``plus`` alone has count as zeros in ``minus``. ValueError for other names or
        shapes, adapters that are not merged, and weights on the meta device or in a type that is not floating.
        """
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}; a difference is kept as float32 or float64")
        more, fewer = dict(_parameters(plus, "plus")), dict(_parameters(minus, "minus"))
        same_names(more, fewer, "plus", "minus")
        grows = _vocabulary(plus)
        wanted = selected(tuple(only), tuple(exclude))
        found = {
            name: _between(name, value, fewer[name], name in grows, dtype)
            for name, value in more.items()
            if wanted(name)
        }
        if not found:
            raise ValueError(f"only={list(only)} and exclude={list(exclude)} leave no parameter")
        return cls(found)

    @torch.no_grad()
    def apply(self, model: Model, scale: float = 1.0, *, in_place: bool = False) -> Model:
        """``model`` + ``scale`` × this, summed in float64 and rounded once; a copy unless ``in_place``.

        Parameters that the difference does not name stay. Embeddings grow with zeros where it has more rows. ValueError
        for a name that the model lacks, another shape, a value or a scale that is not finite.
        """
        if not torch.isfinite(torch.tensor(scale)):
            raise ValueError(f"scale is {scale}; give a finite number, such as 1")
        changed = model if in_place else copy.deepcopy(model)
        own = dict(_parameters(changed, "the model"))
        if any(name not in own for name in self.tensors):
            same_names(self.tensors, own, "the difference", "the model")
        _grow(changed, self.tensors)
        own = dict(_parameters(changed, "the model"))
        for name, more in self.tensors.items():
            if more.shape != own[name].shape:
                raise ValueError(
                    f"{name} is {tuple(own[name].shape)} in the model and {tuple(more.shape)} in the difference; they "
                    "are no versions of one model"
                )
            if not bool(more.isfinite().all()):
                raise ValueError(f"the difference of {name} has values that are not finite")
        for name, more in self.tensors.items():
            value = own[name]
            value.copy_((value.double() + scale * more.to(value.device).double()).to(value.dtype))
        return changed

    def __add__(self, other: ModelDelta) -> ModelDelta:
        return self._with(other, torch.add)

    def __sub__(self, other: ModelDelta) -> ModelDelta:
        return self._with(other, torch.sub)

    def __mul__(self, factor: float) -> ModelDelta:
        return ModelDelta({name: factor * value for name, value in self.tensors.items()})

    __rmul__ = __mul__

    def __neg__(self) -> ModelDelta:
        return self * -1.0

    def _with(self, other: ModelDelta, change: Callable[[Tensor, Tensor], Tensor]) -> ModelDelta:
        same_names(self.tensors, other.tensors, "one difference", "the other")
        return ModelDelta({name: change(value, other.tensors[name]) for name, value in self.tensors.items()})

    def norms(self) -> dict[str, float]:
        """The Euclidean norm of each module's part, by the module's name."""
        squares: dict[str, float] = {}
        for name, value in self.tensors.items():
            module = name.rpartition(".")[0]
            squares[module] = squares.get(module, 0.0) + float(value.double().square().sum())
        return {module: square**0.5 for module, square in squares.items()}

    def cosine(self, other: ModelDelta) -> float:
        """The cosine of the angle to another difference, over all their values; 0 where one of them is zero."""
        same_names(self.tensors, other.tensors, "one difference", "the other")
        pairs = [(value.double(), other.tensors[name].double()) for name, value in self.tensors.items()]
        product = sum(float((one * two).sum()) for one, two in pairs)
        sizes = [sum(float(pair[side].square().sum()) for pair in pairs) ** 0.5 for side in (0, 1)]
        return product / (sizes[0] * sizes[1]) if all(sizes) else 0.0


def combine(deltas: Sequence[ModelDelta], weights: Sequence[float]) -> ModelDelta:
    """``Σ weight × delta`` (task arithmetic, Ilharco et al., arXiv 2212.04089). ValueError for other names."""
    if not deltas or len(deltas) != len(weights):
        raise ValueError(f"there are {len(deltas)} differences and {len(weights)} weights; give one for each")
    total = deltas[0] * weights[0]
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        total = total + delta * weight
    return total


def resize_and_align(model: nn.Module, tokenizer: Any) -> None:
    """Give the embeddings a row for every token of ``tokenizer``; new ones, of input and output, are zeros, in place.

    A model with more rows than there are tokens (padding) stays as it is.
    """
    inner: Any = unwrapped(model)
    if len(tokenizer) > inner.get_input_embeddings().weight.shape[0]:
        _resize(inner, len(tokenizer))


def _between(name: str, plus: Tensor, minus: Tensor, grows: bool, dtype: torch.dtype) -> Tensor:
    further = grows and plus.shape[0] > minus.shape[0] and plus.shape[1:] == minus.shape[1:]
    if plus.shape != minus.shape and not further:
        raise ValueError(
            f"{name} is {tuple(plus.shape)} in plus and {tuple(minus.shape)} in minus; only rows of the vocabulary may "
            "be added, by plus"
        )
    found = plus.detach().to(dtype=torch.float64, copy=True)
    found[slice(len(minus)) if minus.ndim else ...] -= minus.detach().double()
    if not bool(found.isfinite().all()):
        raise ValueError(f"the difference of {name} has values that are not finite")
    return found.to(dtype)


def _parameters(model: nn.Module, which: str) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters by name, tied ones once. ValueError for what arithmetic is not defined for."""
    for name, value in unwrapped(model).named_parameters():
        if "lora_" in name or ".base_layer." in name:
            raise ValueError(
                f"{which} has adapters that are not merged ({name}); merge them first (merge_and_unload)"
            )
        if value.is_meta:
            raise ValueError(f"{which} has no values: {name} is on the meta device; load its weights")
        if not value.is_floating_point():
            raise ValueError(f"{which}: {name} is {value.dtype}, quantised; load it in bfloat16 or float32")
        yield name, value


def _vocabulary(model: nn.Module) -> set[str]:
    """Names of the parameters of input embedding and head."""
    inner: Any = unwrapped(model)
    if not hasattr(inner, "get_input_embeddings"):
        return set()
    modules = [inner.get_input_embeddings(), inner.get_output_embeddings()]
    meant = {id(value) for module in modules if module is not None for value in module.parameters()}
    return {name for name, value in inner.named_parameters() if id(value) in meant}


def _grow(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    names = _vocabulary(model)
    own = dict(unwrapped(model).named_parameters())
    rows = max((len(tensors[name]) for name in names & tensors.keys()), default=0)
    if names and rows > min(len(own[name]) for name in names):
        _resize(unwrapped(model), rows)


def _resize(inner: Any, rows: int) -> None:
    before = inner.get_input_embeddings().weight.shape[0]
    trains = {name: value.requires_grad for name, value in inner.named_parameters()}
    inner.resize_token_embeddings(rows, mean_resizing=False)
    for module in (inner.get_input_embeddings(), inner.get_output_embeddings()):
        if module is not None:
            for value in module.parameters():
                value.data[before:] = 0
    for name, value in inner.named_parameters():
        value.requires_grad_(trains[name])
