"""The seam *surgery*: a change inside a model that is saved with it and made again when it is loaded.

A surgery has two entrances, because a loaded checkpoint and an empty model need different things. :meth:`Surgery.fresh`
runs on a model with real weights and may look at them; what it found (ranks, kept indices, seeds) it returns as a
record of plain JSON. :meth:`Surgery.rebuild` runs on a model without weights (on the meta device), before its own are
loaded, and has the record alone to go by. Afterwards both have the same modules under the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

from torch import nn

from vitrail.models.towers.tower import ComponentConfig

Breakable = Literal["beams", "cache", "checkpointing", "compile", "multi_axis_positions", "packing"]
"""What a surgery may make impossible: beam search, a cache of keys and values, gradient checkpointing, torch.compile,
positions of three axes, several records in one row."""


class Surgery:
    """What every surgery offers.

    ``breaks`` names what a model cannot do any more after it; ``config`` is its own frozen configuration. A surgery
    holds no state beside these: whatever it adds lies in the model.
    """

    Config: ClassVar[type[ComponentConfig]]
    breaks: ClassVar[frozenset[Breakable]] = frozenset()

    def __init__(self, config: Any) -> None:
        self.config = config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = set(cls.breaks) - set(get_args(Breakable))
        assert not unknown, f"{cls.__name__}.breaks names {unknown}"

    def check(self, model: nn.Module) -> None:
        """ValueError if the model is not of a kind that this can change, or was changed so already."""

    def fresh(self, model: nn.Module) -> dict[str, Any]:
        """Change a model that has its weights, in place; the record that :meth:`rebuild` needs, as plain JSON."""
        raise NotImplementedError

    def outline(self, model: nn.Module) -> dict[str, Any]:
        """Give a model on the meta device the shapes that :meth:`fresh` would, for plans; by default :meth:`fresh`.

        For those that look at weights: the shapes of whatever choice they would make, and a record of it.
        """
        return self.fresh(model)

    def rebuild(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Make the same modules in a model whose weights are still to come (they may be on the meta device)."""
        raise NotImplementedError

    def after_load(self, model: nn.Module, record: dict[str, Any]) -> None:
        """Fill what is not saved, such as non-persistent buffers, when the weights are there."""

    def parts(self, model: nn.Module, record: dict[str, Any]) -> dict[str, nn.Module]:
        """What it added, by name, for stages to train: ``router`` becomes the part ``<surgery>.router``."""
        return {}

    def batch_inputs(self, records: Sequence[Any], record: dict[str, Any]) -> dict[str, Any]:
        """More inputs of the changed model from a batch of encoded records, such as what their ``meta`` says."""
        return {}

    def fed_inputs(self, records: Sequence[Any], record: dict[str, Any], bundle: Any) -> dict[str, Any]:
        """The same for inputs that the bundle's encoder and pictures are needed for, such as records read apart."""
        return {}

    def image_processor(self, processor: Any, record: dict[str, Any]) -> Any:
        """The image processor through which pictures reach the changed model; the saved one stays as it is."""
        return processor

    def planner(self, planner: Any, record: dict[str, Any]) -> Any:
        """The image planner of the changed model, where it changes what a picture costs in tokens."""
        return planner
