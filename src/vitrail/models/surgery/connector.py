"""The surgery *connector*: any registered connector in the place of a ready model's own.

It is fresh, drawn with the surgery's seed, and sees the tower's tokens as they reached the old one: those of LLaVA's
tower without the class token, the patches of Qwen2.5-VL before they are merged, SmolVLM's before its pixel shuffle. The
number of tokens a picture costs follows (:meth:`ReplaceConnector.planner`), and so do positions on three axes: the new
grid counts in rows and columns as the old one did, and tokens around it count as text.

transformers' own processors count placeholders by their own configuration and know nothing of it; our encoder does.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import field_validator
from torch import Tensor, nn

from vitrail import registry
from vitrail.models.connectors.connector import Connector
from vitrail.models.families.connecting import Entrance, entrance_of
from vitrail.models.families.family import Family
from vitrail.models.families.table import family_of
from vitrail.models.features import Features, grid_coords
from vitrail.models.surgery import operating
from vitrail.models.surgery.connector_plan import ReconnectedPlanner
from vitrail.models.surgery.surgery import Surgery
from vitrail.models.towers.tower import ComponentConfig


class ReplaceConnector(Surgery):
    """Put a fresh connector between tower and language model."""

    class Config(ComponentConfig):
        """``connector``: ``{"name": …, **settings}`` as in a recipe's ``model.connector``."""

        connector: dict[str, Any]

        @field_validator("connector")
        @classmethod
        def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
            given = dict(value)
            if "name" not in given:
                raise ValueError(f"connector needs a name, one of {', '.join(registry.names('connector'))}")
            registry.get("connector", given.pop("name")).Config(**given)
            return value

    def check(self, model: nn.Module) -> None:
        """ValueError where no other connector can stand, with the reason, and if one was replaced before."""
        config: Any = model.config
        if any(isinstance(surgery, ReplaceConnector) for _, surgery, _ in operating.done(config)):
            raise ValueError(
                "the connector of this model was replaced before; begin with the model that it was made of"
            )
        if _own(model):
            return
        entrance, family = entrance_of(config), family_of(config)
        if entrance.keeps_grid and not self._keeps_grid(entrance, config):
            raise ValueError(
                f"{family.model_type!r} needs a connector that keeps the grid as it is: {entrance.keeps_grid}"
            )
        drawn = self._outline(entrance.width(config))
        if entrance.native and _texts(drawn, entrance.scale(config)):
            raise ValueError(
                f"connector.cell_words cannot stand in {family.model_type!r}, whose positions have rows and columns: "
                "a text between the tokens of a picture has none; leave it out"
            )
        if not entrance.native and config.model_type == "llava":
            _refuse_class_token(config)

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Draw the connector, put it in place, and begin from the word embeddings where it wants to."""
        inner: Any = model
        old = next(_place(inner, family_of(inner.config)).parameters())
        record = self._record(inner)
        connector = self._put(inner, record)
        connector.to(device=old.device, dtype=old.dtype)
        words = inner.get_input_embeddings()
        if words.weight.device.type != "meta":
            connector.reset_like(words)
        if _own(inner):
            inner.config.connector = dict(self.config.connector)
        return record

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """The same modules. Our own model builds them from its configuration."""
        if not _own(model):
            self._put(model, record)

    def planner(self, planner: Any, record: dict[str, Any]) -> Any:
        """Counts the new connector's tokens in the place of the old one's."""
        return ReconnectedPlanner(
            planner, self._outline(record["width"]), record["scale"], tuple(record["grid"] or ()) or None
        )

    def _record(self, model: Any) -> dict[str, Any]:
        if _own(model):
            rows, cols = model.tower.grid(0, 0)
            return {"width": model.tower.width, "scale": 1, "grid": [rows, cols]}
        entrance = entrance_of(model.config)
        return {"width": entrance.width(model.config), "scale": entrance.scale(model.config), "grid": None}

    def _put(self, model: Any, record: dict[str, Any]) -> Connector:
        connector = self._built(record["width"], model.config.get_text_config().hidden_size)
        if _own(model):
            model.connector = connector
            return connector
        native = entrance_of(model.config).native
        path = family_of(model.config).connector[0]
        parent, _, name = path.rpartition(".")
        holder = Merged(connector, record["scale"]) if native else Placed(connector)
        setattr(model.get_submodule(parent), name, holder)
        if native:
            kind: Any = type(model.model)
            model.model.__class__ = _native_class(kind)
        return connector

    def _built(self, width: int, hidden: int) -> Connector:
        given = dict(self.config.connector)
        kind = registry.get("connector", given.pop("name"))
        return kind(kind.Config(**given), tower_width=width, hidden_size=hidden)

    def _outline(self, width: int) -> Connector:
        with torch.device("meta"):
            return self._built(width, 8)  # grids do not depend on widths

    def _keeps_grid(self, entrance: Entrance, config: Any) -> bool:
        drawn = self._outline(entrance.width(config))
        grids = [(5, 7), (8, 8)]
        try:
            same = all(drawn.grid(*grid) == grid for grid in grids)
        except ValueError:
            return False
        return same and drawn.around == (0, 0) and not drawn.cell_texts(8, 8)


class Placed(nn.Module):
    """A connector of ours where a family calls its own with ``(items, count, dim)``."""

    def __init__(self, connector: Connector) -> None:
        super().__init__()
        self.connector = connector

    def forward(self, tokens: Float[Tensor, "items count dim"]) -> Float[Tensor, "items out hidden"]:
        """Each item's tokens of a square grid. ValueError if they are none."""
        side = math.isqrt(tokens.shape[1])
        if side**2 != tokens.shape[1]:
            raise ValueError(
                f"{tokens.shape[1]} tower tokens are no square grid; a connector needs to know their places"
            )
        found, _ = self.connector(Features.from_grid(tokens, side, side))
        return found.reshape(len(tokens), -1, found.shape[-1])


class Merged(nn.Module):
    """In the place of a patch merger: blocks of patches side by side, as they come, for the connector behind it."""

    def __init__(self, connector: Connector, side: int) -> None:
        super().__init__()
        self.connector = connector
        self.side = side

    def forward(self, tokens: Float[Tensor, "total dim"]) -> Float[Tensor, "blocks wide"]:
        """``side × side`` patches a row."""
        return tokens.reshape(-1, self.side**2 * tokens.shape[-1])


@functools.cache
def _native_class(base: Any) -> Any:
    """``base`` (the inner model of Qwen2-VL or Qwen2.5-VL), with a connector of ours behind its tower.

    A class and not a changed instance, so that copies of a model are whole.
    """
    rope = inspect.signature(base.get_rope_index)

    class Native(base):
        def get_image_features(self, pixel_values: Tensor, image_grid_thw: Any = None, **kwargs: Any) -> Any:
            kwargs["return_dict"] = True
            output = super().get_image_features(pixel_values, image_grid_thw, **kwargs)
            shapes = [(rows, cols) for _, rows, cols in image_grid_thw.tolist()]
            merger = self.visual.merger
            tokens, counts = merger.connector(unmerged(list(output.pooler_output), shapes, merger.side))
            output.pooler_output = tokens.split(counts.tolist())
            return output

        def get_video_features(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError(
                "videos are not known to a replaced connector; give pictures, or the model as it was"
            )

        @functools.wraps(base.get_rope_index)
        def get_rope_index(self, *args: Any, **kwargs: Any) -> Any:
            given = rope.bind(self, *args, **kwargs)
            grids, types = (given.arguments.get(name) for name in ("image_grid_thw", "mm_token_type_ids"))
            if grids is not None and types is not None:
                merger = self.visual.merger
                shapes = [merger.connector.grid(rows, cols) for _, rows, cols in grids.tolist()]
                seen = [[1, rows * merger.side, cols * merger.side] for rows, cols in shapes]
                given.arguments["image_grid_thw"] = torch.tensor(seen, device=grids.device)
                given.arguments["mm_token_type_ids"] = _inside(types, shapes, merger.connector.around)
            return base.get_rope_index(*given.args, **given.kwargs)

    Native.__name__, Native.__qualname__, Native.__module__ = (
        base.__name__,
        base.__qualname__,
        base.__module__,
    )
    return Native


def unmerged(blocks: list[Tensor], shapes: list[tuple[int, int]], side: int) -> Features:
    """Patches in raster order, from each picture's merged blocks ``(count, side² · dim)`` and grid of patches."""
    grids = [
        one.reshape(rows // side, cols // side, side, side, -1).transpose(1, 2).reshape(rows * cols, -1)
        for one, (rows, cols) in zip(blocks, shapes, strict=True)
    ]
    device = grids[0].device
    lengths = torch.tensor([len(grid) for grid in grids], device=device)
    return Features(
        torch.cat(grids), lengths, torch.cat([grid_coords(*shape, device=device) for shape in shapes])
    )


def _inside(types: Tensor, shapes: list[tuple[int, int]], around: tuple[int, int]) -> Tensor:
    """Token types with those of text at what stands around each picture's grid."""
    if around == (0, 0):
        return types
    types = types.clone()
    picture = iter(shapes)
    for row in types:
        places = (row == 1).nonzero()[:, 0].tolist()
        at = 0
        while at < len(places):
            rows, cols = next(picture)
            end = at + sum(around) + rows * cols
            row[places[at : at + around[0]]] = 0
            row[places[end - around[1] : end]] = 0
            at = end
    return types


def _own(model: Any) -> bool:
    return isinstance(getattr(model, "connector", None), Connector) and hasattr(model, "tower")


def _place(model: Any, family: Family) -> nn.Module:
    return model.get_submodule(family.connector[0])


def _texts(connector: Connector, side: int) -> tuple[str, ...]:
    return connector.cell_texts(4 * side, 4 * side)


def _refuse_class_token(config: Any) -> None:
    """A class token has no place in a grid."""
    kept = config.vision_feature_select_strategy == "full"
    if kept and config.vision_config.model_type == "clip_vision_model":
        raise ValueError(
            "vision_feature_select_strategy is 'full', which keeps the tower's class token; a connector that works on "
            "the grid needs 'default'"
        )
