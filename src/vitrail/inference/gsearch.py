"""G-Search and P-Sigmoid at inference: visual tokens leave the sequence and the cache, layer by layer.

Zhao et al. 2024, "Accelerating Multimodal Large Language Models by Searching Optimal Vision Token Reduction" (arXiv
2412.00556). The rule is :mod:`vitrail.models.rules.gsearch`; schedules are made by hand, or found by
:mod:`vitrail.inference.keep_search`. Which tokens stay depends on the prompt, how many on the schedule alone.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.inference.keep_schedule import KeepSchedule, Shape, p_sigmoid, staged
from vitrail.inference.methods import InferenceMethod
from vitrail.models.rules.gsearch import checked_rates, keep_scheduled
from vitrail.models.rules.rule import Rule

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


class Sigmoid(BaseModel):
    """A falling sigmoid whose height meets a budget, for prompts of so many visual and other tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: float = Field(gt=0, le=1)
    visual: int = Field(ge=1)
    other: int = Field(ge=0)
    steepness: float = Field(default=10.0, ge=0)
    midpoint: float = Field(default=0.5, ge=0, le=1)


class GSearch(InferenceMethod):
    """See the module."""

    changes: ClassVar[str] = "the visual tokens that layers keep"

    class Config(BaseModel):
        """The schedule, as one of four: ``schedule`` (a JSON file that a search wrote), ``rates`` (the share that each
        layer keeps), ``cuts`` (layer: share from there on), or ``sigmoid``. ``ranking``: by the attention of the words
        behind the pictures, of the ``last`` token, of words in the ``first_layer``, or ``random``.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        schedule: str | None = None
        rates: tuple[float, ...] | None = None
        cuts: dict[int, float] | None = None
        sigmoid: Sigmoid | None = None
        ranking: Literal["text", "last", "first_layer", "random"] = "text"

        @model_validator(mode="after")
        def _one_schedule(self) -> GSearch.Config:
            given = [
                name for name in ("schedule", "rates", "cuts", "sigmoid") if getattr(self, name) is not None
            ]
            if len(given) != 1:
                raise ValueError(
                    f"give one of schedule, rates, cuts and sigmoid; got {' and '.join(given) or 'none'}"
                )
            if self.rates is not None:
                checked_rates(self.rates)
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def _from_file(self) -> KeepSchedule:
        return KeepSchedule.load(str(self.config.schedule))

    def require_live(self, bundle: Bundle) -> None:
        """ValueError for a model without pictures, or a schedule of another depth."""
        if bundle.encoder.planner is None:
            raise ValueError(f"{bundle.name} takes no pictures, so no visual token can leave")
        self.keep_schedule(bundle)

    def rule(self, bundle: Bundle) -> Rule | None:
        """The rule for this model; None where the schedule keeps everything. ValueError where it cannot hold."""
        return keep_scheduled(self.keep_schedule(bundle).rates, self.config.ranking)

    def keep_schedule(self, bundle: Bundle) -> KeepSchedule:
        """The schedule for this model. ValueError for one of another depth."""
        config, depth = self.config, bundle.model.config.get_text_config().num_hidden_layers
        if config.schedule is not None:
            found = self._from_file
        elif config.rates is not None:
            found = KeepSchedule(config.rates)
        elif config.cuts is not None:
            found = staged(depth, config.cuts)
        else:
            assert config.sigmoid is not None
            curve = config.sigmoid
            shape = Shape.of(bundle.model.config, curve.visual, curve.other)
            found = p_sigmoid(curve.steepness, curve.midpoint, curve.budget, shape)
        found.require_depth(depth)
        return found
