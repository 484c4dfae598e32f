"""SLTrain: linear layers become low-rank plus sparse, for training from scratch with little memory.

Han et al. 2024, "SLTrain: a sparse plus low-rank approach for parameter and memory efficient pretraining", arXiv
2406.02214. Every linear layer whose name says attention or MLP becomes a :class:`SparseLowRankLinear` (``W = s·B A +
S``); embeddings, norms and head stay whole. Such a layer cannot hold a given weight: what was there is lost, so a model
with loaded weights needs ``discard_weights: true``. The published sizes (rank, density, alpha) for Llamas of width 512,
768, 1024, 2048 and 4096: (128, .03, 32), (256, .03, 16), (256, .03, 16), (512, .03, 8), (1024, .05, 8).

``low_rank`` is the control: no sparse part, and each layer's rank raised by as many parameters as that would have had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from torch import nn

from vitrail.models.surgery import operating
from vitrail.models.surgery.sparse_low_rank import LowRankLinear, SparseLowRankLinear
from vitrail.models.surgery.surgery import Surgery
from vitrail.models.towers.tower import ComponentConfig

NAMES = ("sltrain", "low_rank")


class Sltrain(Surgery):
    """Low-rank plus sparse linear layers. Parts: ``factors`` (B and A) and ``values``."""

    class Config(ComponentConfig):
        """``rank``, ``density``, ``alpha``: of every layer (see the module). ``where``: parts by anatomy;
        ``targets``: what the dotted name of a linear layer inside them contains; ``exclude``: what it does not.
        ``trained_scale``: the tanh of a trained scalar in place of alpha / rank. ``discard_weights``: lose the
        weights that are there, which a loaded model needs said.
        """

        rank: int = Field(default=128, ge=1)
        density: float = Field(default=0.03, gt=0, lt=1)
        alpha: float = Field(default=32.0, gt=0)
        where: tuple[str, ...] = Field(default=("language.layers",), min_length=1)
        targets: tuple[str, ...] = Field(default=("attn", "mlp", "attention"), min_length=1)
        exclude: tuple[str, ...] = ()
        trained_scale: bool = False
        discard_weights: bool = False

    def check(self, model: nn.Module) -> None:
        """ValueError for loaded weights without ``discard_weights``, no target, or a target of another kind."""
        chosen = targets(model, self.config.where, self.config.targets, self.config.exclude)
        if not self.config.discard_weights and (source := _loaded_from(model, chosen)):
            raise ValueError(
                f"the weights of these layers were loaded from {source!r}, and low-rank layers cannot hold them; set "
                "discard_weights: true to train them from scratch"
            )

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Replace the layers; the record lists them with their ranks."""
        chosen = targets(model, self.config.where, self.config.targets, self.config.exclude)
        layers = {path: self.rank_of(linear) for path, linear in chosen.items()}
        for path, linear in chosen.items():
            _put(model, path, self.layer(linear, layers[path]))
        return {"layers": layers}

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The same layers, to be filled from the file: values, and places."""
        for path, rank in record["layers"].items():
            _put(model, path, self.layer(model.get_submodule(path), rank))

    def after_load(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Check the places that were loaded."""
        for path in record["layers"]:
            model.get_submodule(path).check_places()  # type: ignore[operator]

    def parts(self, model: nn.Module, record: dict[str, Any]) -> dict[str, nn.Module]:
        """``factors``; ``values`` where there are any."""
        from vitrail.models.anatomy import Joined

        layers = {path: model.get_submodule(path) for path in record["layers"]}
        if not all(isinstance(layer, SparseLowRankLinear) for layer in layers.values()):
            return {}
        found: dict[str, nn.Module] = {"factors": Joined(_named(layers, ("B", "A", "scale")), "factors")}
        if values := _named(layers, ("values",)):
            found["values"] = Joined(values, "values")
        return found

    def rank_of(self, linear: Any) -> int:
        """The rank that replaces ``linear``."""
        return self.config.rank

    def layer(self, linear: Any, rank: int) -> SparseLowRankLinear:
        """What replaces ``linear``."""
        return SparseLowRankLinear(density=self.config.density, **self._sizes(linear, rank))

    def _sizes(self, linear: Any, rank: int) -> dict[str, Any]:
        return {
            "in_features": linear.in_features,
            "out_features": linear.out_features,
            "rank": rank,
            "alpha": self.config.alpha,
            "bias": linear.bias is not None,
            "trained_scale": self.config.trained_scale,
            "device": linear.weight.device,
            "dtype": linear.weight.dtype,
        }


class LowRank(Sltrain):
    """Low-rank linear layers, without a sparse part: SLTrain's control. Part: ``factors``."""

    class Config(ComponentConfig):
        """As :class:`Sltrain`'s. ``density_as_rank``: the density whose values each layer's rank is raised for, so
        that it has as many parameters as SLTrain's (to half of what one rank costs).
        """

        rank: int = Field(default=128, ge=1)
        density_as_rank: float = Field(default=0.0, ge=0, lt=1)
        alpha: float = Field(default=32.0, gt=0)
        where: tuple[str, ...] = Field(default=("language.layers",), min_length=1)
        targets: tuple[str, ...] = Field(default=("attn", "mlp", "attention"), min_length=1)
        exclude: tuple[str, ...] = ()
        trained_scale: bool = False
        discard_weights: bool = False

    def rank_of(self, linear: Any) -> int:
        """The rank, raised by what the values of the density cost."""
        m, n = linear.out_features, linear.in_features
        return self.config.rank + round(int(self.config.density_as_rank * m * n) / (m + n))

    def layer(self, linear: Any, rank: int) -> SparseLowRankLinear:
        """What replaces ``linear``."""
        return LowRankLinear(**self._sizes(linear, rank))


def targets(
    model: nn.Module, where: tuple[str, ...], names: tuple[str, ...], exclude: tuple[str, ...] = ()
) -> dict[str, nn.Linear]:
    """The linear layers inside the parts ``where`` whose dotted name contains one of ``names``, by path.

    Head and embeddings are left out, tied or not. ValueError if there are none, or if one is quantised, replaced
    already, or a matrix of another kind.
    """
    from vitrail.models.anatomy import part

    inner: Any = model
    whole = [inner.get_input_embeddings(), inner.get_output_embeddings()]
    left_out = {id(one.weight) for one in whole if one is not None}
    inside = {id(module) for name in where for module in part(model, name).modules()}
    found: dict[str, nn.Linear] = {}
    for path, module in model.named_modules():
        wanted = any(name in path for name in names) and not any(name in path for name in exclude)
        if id(module) not in inside or not wanted:
            continue
        own = dict(module.named_parameters(recurse=False))
        if type(module) is nn.Linear:
            if id(module.weight) not in left_out:
                found[path] = module
        elif isinstance(module, SparseLowRankLinear):
            raise ValueError(
                f"{path} is low-rank already; do this surgery once, or fold it with merge_sltrain first"
            )
        elif ("weight" in own and own["weight"].ndim == 2) or any(one.ndim > 2 for one in own.values()):
            raise ValueError(
                f"{path} is a {type(module).__name__}, not a plain linear layer (quantised, or of another kind); "
                f"load the model unquantised, or name it in exclude"
            )
    if not found:
        raise ValueError(
            f"no linear layer of {', '.join(where)} has {' or '.join(map(repr, names))} in its name; "
            "give targets that do (vitrail show lists the model's layers)"
        )
    return found


@dataclass(frozen=True)
class Account:
    """What low-rank layers cost. Bytes: ``weights``, ``gradients``, two moments of Adam (``state``), and the
    ``places`` of the sparse values. ``dense`` counts the parameters that the same layers have as whole matrices.
    """

    layers: int
    parameters: int
    dense: int
    weights: int
    gradients: int
    state: int
    places: int


def account(model: nn.Module) -> Account:
    """The bill of all low-rank layers in ``model``."""
    layers = [module for module in model.modules() if isinstance(module, SparseLowRankLinear)]
    own = [one for layer in layers for one in layer.parameters()]
    size = sum(one.numel() * one.element_size() for one in own)
    return Account(
        layers=len(layers),
        parameters=sum(one.numel() for one in own),
        dense=sum(one.out_features * (one.in_features + (one.bias is not None)) for one in layers),
        weights=size,
        gradients=size,
        state=2 * size,
        places=sum(places.numel() * places.element_size() for layer in layers for places in layer.buffers()),
    )


def merge_sltrain(model: nn.Module) -> int:
    """Fold every low-rank layer into an ordinary linear one, in place: an ordinary model; the number folded.

    ValueError if there is none.
    """
    chosen = [path for path, module in model.named_modules() if isinstance(module, SparseLowRankLinear)]
    if not chosen:
        raise ValueError("this model has no low-rank layer to fold")
    for path in chosen:
        _put(model, path, model.get_submodule(path).to_linear())  # type: ignore[operator]
    inner: Any = model
    kept = dict(getattr(inner.config, operating.KEY, None) or {})
    kept["surgeries"] = [one for one in kept.get("surgeries", []) if one["name"] not in NAMES]
    setattr(inner.config, operating.KEY, kept)
    return len(chosen)


def _loaded_from(model: nn.Module, layers: Mapping[str, nn.Module]) -> str:
    """Where a model around the layers was loaded from; empty for weights drawn from a configuration."""
    for path, module in model.named_modules():
        source = str(getattr(getattr(module, "config", None), "_name_or_path", "") or "")
        if source and any(not path or layer.startswith(f"{path}.") for layer in layers):
            return source
    return ""


def _put(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer.train(model.get_submodule(path).training))


def _named(layers: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, nn.Module | nn.Parameter]:
    owned = {path: dict(layer.named_parameters(recurse=False)) for path, layer in layers.items()}
    return {f"{path}.{name}": own[name] for path, own in owned.items() for name in names if name in own}
