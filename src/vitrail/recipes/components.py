"""The components that a recipe names, beside those of a stage and of a task."""

from __future__ import annotations

import inspect
from typing import Any

from vitrail import registry
from vitrail.settings.component import Component
from vitrail.settings.faults import inner_errors


class Tower(Component):
    """A vision tower.

    ``weights`` names pretrained ones: a folder or hub name, read by ``from_pretrained``.
    """

    seam = "tower"

    @classmethod
    def _fill(cls, name: str, given: dict[str, Any]) -> dict[str, Any]:
        weights = given.pop("weights", None)
        if weights is None:
            return super()._fill(name, given)
        loader = getattr(registry.get(cls.seam, name), "from_pretrained", None)
        if loader is None:
            message = (
                f"tower {name!r} does not read pretrained weights; remove this field, or use model.testbed"
            )
            raise inner_errors([(("weights",), message, weights)])
        known = [key for key in inspect.signature(loader).parameters if key not in ("path", "options")]
        wrong = [key for key in given if key not in known]
        if wrong:
            hint = registry.nearest(wrong[0], known)
            raise inner_errors(
                [((wrong[0],), f"beside 'weights' there is no such field; {hint}", given[wrong[0]])]
            )
        return {"weights": weights, **given}

    @property
    def weights(self) -> str | None:
        """Where pretrained weights come from, or None for random ones."""
        return self.settings.get("weights")


class Connector(Component):
    """What stands between towers and language model."""

    seam = "connector"


class Surgery(Component):
    """A change inside the model, made once when it is built and saved with it."""

    seam = "surgery"


class MixtureRule(Component):
    """Which share each source of a mixture has."""

    seam = "mixture"


class Instruction(Component):
    """How a question is put."""

    seam = "instruction"


class Inferencer(Component):
    """How the model is made to answer."""

    seam = "inferencer"


class InferenceMethod(Component):
    """What is done differently when the model answers; its weights stay."""

    seam = "inference"


class Metric(Component):
    """How answers become a score."""

    seam = "metric"
