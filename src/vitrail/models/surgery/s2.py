"""S² in a ready model: its tower sees several sizes of each picture, its connector takes wider tokens.

Shi et al. (arXiv 2403.13043), as applied to LLaVA-1.5 there; the equation is in :mod:`vitrail.models.towers.scales`.
A picture costs as many tokens as before, so the language model and the image planner stay. The tower keeps its modules
and weights; only its forward runs once a tile. The connector's first layer ``W`` grows from ``C`` to ``S · C`` inputs:
``[W | 0 …]`` at the start (the model then answers as before, where the first scale sees the picture as before), or
drawn anew, as in the paper, which trains the connector from nothing.

Pictures reach the tower at the largest size through :meth:`S2.image_processor`; the processor that is saved with the
model keeps the native size, by which families plan. At the native size (a processor of transformers alone, or
``picture: native``, which models need that cut pictures into tiles) pictures are enlarged inside the tower.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vitrail.data.image_plans.plan import ImagePlan, Tile
from vitrail.models.surgery.surgery import Surgery
from vitrail.models.towers.s2 import S2Tower, ScalesConfig
from vitrail.models.towers.scales import enlarged, multiscale_forward, resized, sizes_of, tiles_a_side
from vitrail.models.towers.tower import Tower


class S2(Surgery):
    """Several scales for the tower of our own model, or of a model of LLaVA's class: a tower of a fixed square size in
    front of a connector that begins with a linear layer (LLaVA-1.5, LLaVA-NeXT, LLaVA-OneVision, PaliGemma).
    """

    class Config(ScalesConfig):
        """See :class:`~vitrail.models.towers.s2.ScalesConfig`; the first scale is 1, so that a picture costs what it
        did. ``start``: the connector's first layer is ``extended`` by zeros, or the connector is ``fresh`` (of a ready
        model its first layer, of ours the whole); ``auto``: extended where the connector begins with a linear layer.
        """

        start: Literal["auto", "extended", "fresh"] = "auto"

    def check(self, model: nn.Module) -> None:
        """ValueError for a model without a square native size, or with a connector that cannot be widened."""
        if self.config.scales[0] != 1:
            raise ValueError(
                f"s2: scales begins with {self.config.scales[0]:g}; the first is 1, so that a picture costs as many "
                "tokens as before"
            )
        own = isinstance(getattr(model, "tower", None), Tower)
        if _is_operated(model):
            raise ValueError("s2: this model's tower sees several scales already")
        if own:
            self._check_own(model)
        else:
            place = _place(model)
            tiles_a_side(sizes_of(self.config.scales, place.native), place.native)
            if self.config.picture == "largest" and getattr(model.config, "image_grid_pinpoints", None):
                raise ValueError(
                    "s2: this model cuts pictures into tiles by their size, and would cut larger ones otherwise; use "
                    "picture: native, which enlarges each tile inside the tower"
                )

    def _check_own(self, model: Any) -> None:
        S2Tower.around(model.tower, model.config.tower["name"], **self._scales())
        if self.config.start == "extended" and _first_linear(model.connector, model.tower.width) is None:
            raise ValueError(
                f"s2: start is 'extended', but {type(model.connector).__name__} does not begin with a linear layer "
                "(a norm over wider tokens is another norm); use start: fresh"
            )

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Change a model with weights; the record is empty, the settings say everything."""
        return self._operate(model, keep=self.config.start != "fresh")

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The same modules, without looking at values."""
        self._operate(model, keep=False)

    def _operate(self, model: Any, keep: bool) -> dict[str, Any]:
        if isinstance(getattr(model, "tower", None), Tower):
            self._operate_own(model, keep)
            return {}
        place = _place(model)
        sizes = sizes_of(self.config.scales, place.native)
        place.tower._multiscale = {
            "sizes": sizes,
            "max_split_size": place.native,
            "chunked": self.config.chunked,
            "antialias": self.config.antialias,
        }
        # Hooks could not run the tower several times; a forward of the instance's own leaves its modules' names alone.
        place.tower.forward = types.MethodType(_multiscale_forward, place.tower)
        setattr(place.holder, place.name, _widened(place.linear, place.width, place.layers, len(sizes), keep))
        return {}

    def _operate_own(self, model: Any, keep: bool) -> None:
        from vitrail.models.vlm import build_connector

        before, old = model.tower, model.connector
        parameter = next(old.parameters())
        training = before.training
        model.tower = S2Tower.around(before, model.config.tower["name"], **self._scales()).train(training)
        hidden_size = model.config.get_text_config().hidden_size
        connector = build_connector(model.config.connector, model.tower.width, hidden_size)
        connector = connector.to(device=parameter.device, dtype=parameter.dtype).train(old.training)
        found = _first_linear(old, before.width)
        if keep and found is not None:
            holder, name = found
            state = {key: value for key, value in old.state_dict().items() if key != f"{name}.weight"}
            connector.load_state_dict(state, strict=False)
            wide = _widened(getattr(holder, name), before.width, 1, len(self.config.scales), keep=True)
            setattr(connector, name, wide)
        model.connector = connector

    def _scales(self) -> dict[str, Any]:
        return self.config.model_dump(exclude={"start"})

    def planner(self, planner: Any, record: dict[str, Any]) -> Any:
        """The same tokens; a plan's tiles are those of every scale, from which a tower's cost is estimated."""
        return _EveryScale(planner, self.config.scales)

    def image_processor(self, processor: Any, record: dict[str, Any]) -> Any:
        """The image processor through which pictures reach the changed model: ``processor`` at the largest size."""
        return enlarged(processor, max(self.config.scales)) if self.config.picture == "largest" else processor


@dataclass(frozen=True)
class _EveryScale:
    """An image planner whose tiles are seen at each of ``scales``, cut to their own size."""

    inner: Any
    scales: tuple[float, ...]

    def __call__(self, width: int, height: int) -> ImagePlan:
        plan: ImagePlan = self.inner(width, height)
        tiles = [part for tile in plan.tiles for scale in self.scales for part in _cut(tile, scale)]
        return replace(plan, tiles=tuple(tiles))


def _cut(tile: Tile, scale: float) -> list[Tile]:
    """A tile at ``scale`` times its size, in pieces of at most its size."""
    n = math.ceil(scale)
    left, top, right, bottom = tile.box
    size = (int(tile.size[0] * scale) // n, int(tile.size[1] * scale) // n)
    wide, high = (right - left) / n, (bottom - top) / n
    return [
        Tile((left + col * wide, top + row * high, left + (col + 1) * wide, top + (row + 1) * high), size)
        for row in range(n)
        for col in range(n)
    ]


@dataclass(frozen=True)
class _Place:
    """Where a model of LLaVA's class is changed."""

    tower: Any
    native: int
    width: int
    layers: int
    holder: nn.Module
    name: str

    @property
    def linear(self) -> nn.Linear:
        return getattr(self.holder, self.name)


def _place(model: Any) -> _Place:
    """ValueError if the model is not of LLaVA's class, with the reason."""
    from vitrail.models.families.table import family_of

    family = family_of(model.config)
    if family.tower is None or not family.takes_pictures:
        raise ValueError(f"s2: {family.about or family.model_type} has no vision tower")
    vision = model.config.vision_config
    tower = model.get_submodule(family.tower)
    given = getattr(vision, "image_size", None)
    side = given[0] if isinstance(given, (list, tuple)) and len(set(given)) == 1 else given
    if not isinstance(side, int):
        raise ValueError(
            f"s2: {family.about} reads pictures at their own resolution; it has no square native size "
            f"(vision_config.image_size: {given}) to cut larger ones into"
        )
    extra = [
        name for name in inspect.signature(tower.forward).parameters if name.startswith("patch_attention")
    ]
    if extra:
        raise ValueError(
            f"s2: the tower of {family.about} takes a mask of patches ({extra[0]}) with its pictures, which tiles do "
            "not have"
        )
    chosen = getattr(model.config, "vision_feature_layer", None)
    layers = len(chosen) if isinstance(chosen, (list, tuple)) else 1
    connector = model.get_submodule(family.connector[0])
    found = _first_linear(connector, vision.hidden_size * layers)
    if found is None:
        raise ValueError(
            f"s2: the connector of {family.about} ({type(connector).__name__}) does not begin with a linear layer over "
            f"the tower's {vision.hidden_size} channels, which S² widens"
        )
    return _Place(tower, side, vision.hidden_size, layers, *found)


def _first_linear(connector: nn.Module, width: int) -> tuple[nn.Module, str] | None:
    """The module that holds the connector's first layer, and its name, if that is linear over ``width`` channels."""
    for name, module in connector.named_modules():
        if isinstance(module, nn.Linear):
            holder, _, own = name.rpartition(".")
            return (connector.get_submodule(holder), own) if module.in_features == width else None
        if not list(module.children()) and list(module.parameters()):
            return None  # something that learns stands in front: a norm, a convolution
    return None


def _widened(linear: nn.Linear, width: int, layers: int, scales: int, keep: bool) -> nn.Linear:
    """A linear layer over ``scales`` times as many channels of each of ``layers`` hidden states.

    With ``keep`` the first scale's columns are the old ones and the others are zero.
    """
    weight = linear.weight
    wide = nn.Linear(
        scales * width * layers,
        linear.out_features,
        bias=linear.bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    if keep:
        with torch.no_grad():
            columns = wide.weight.view(linear.out_features, layers, scales, width)
            columns.zero_()
            columns[:, :, 0] = weight.view(linear.out_features, layers, width)
            if linear.bias is not None:
                wide.bias.copy_(linear.bias)
    for new, old in zip(wide.parameters(), linear.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return wide


def _is_operated(model: Any) -> bool:
    tower = getattr(model, "tower", None)
    if isinstance(tower, Tower):
        return isinstance(tower, S2Tower)
    from vitrail.models.surgery import operating

    return any(name == "s2" for name, _, _ in operating.done(model.config))


def _multiscale_forward(self: Any, pixel_values: Tensor, *args: Any, **kwargs: Any) -> Any:
    """In place of a vision model's forward: its output, every feature of it over several scales.

    Hidden states that transformers did not record stay None; a pooled vector is averaged over tiles.
    """
    kwargs["return_dict"] = True
    own = partial(type(self).forward, self)
    settings = self._multiscale
    # The first scale is 1: one tile, which tells how many tokens stand in front of the grid.
    runs = [own(resized(pixel_values, settings["sizes"][0], settings["antialias"]), *args, **kwargs)]
    prefix = runs[0].last_hidden_state.shape[1] - (self.config.image_size // self.config.patch_size) ** 2
    waiting = list(runs)

    def joined(encode: Callable[[Tensor], Tensor]) -> Tensor:
        return multiscale_forward(encode, pixel_values, num_prefix_tokens=prefix, **settings)

    def encode(tiles: Tensor) -> Tensor:
        run = waiting.pop() if waiting else own(tiles, *args, **kwargs)
        if run is not runs[0]:
            runs.append(run)
        return run.last_hidden_state

    def again(pick: Callable[[Any], Tensor]) -> Tensor:
        """Another feature of the runs that were made."""
        made = iter(runs)
        return joined(lambda tiles: pick(next(made)))

    output: dict[str, Any] = {"last_hidden_state": joined(encode)}
    hidden = runs[0].get("hidden_states")
    if hidden is not None:
        output["hidden_states"] = tuple(
            None if state is None else again(partial(_hidden_state, index))
            for index, state in enumerate(hidden)
        )
    if runs[0].get("pooler_output") is not None:
        counts = [
            n * n * len(pixel_values) for n in tiles_a_side(settings["sizes"], settings["max_split_size"])
        ]
        pooled = torch.cat([run.pooler_output for run in runs]).split(counts)
        output["pooler_output"] = torch.cat(
            [one.reshape(-1, len(pixel_values), one.shape[-1]).mean(0) for one in pooled], dim=-1
        )
    return type(runs[0])(**output)


def _hidden_state(index: int, run: Any) -> Tensor:
    return run.hidden_states[index]
