"""The components that loops name beside themselves."""

from __future__ import annotations

from typing import Any

from vitrail import registry
from vitrail.settings.component import Component
from vitrail.settings.faults import inner_errors


class Loop(Component):
    """What a recipe repeats."""

    seam = "loop"


class Writer(Component):
    """Who writes new examples from wrong answers."""

    seam = "writer"


class Splitter(Component):
    """How answers are taken apart into yes/no questions."""

    seam = "splitter"


class Labeller(Component):
    """Who says whether a claim about a picture holds."""

    seam = "labeller"


class Grader(Component):
    """Whether an answer in words is right: a metric that takes a text."""

    seam = "metric"

    @classmethod
    def _fill(cls, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if registry.get("metric", name).takes != "text":
            fitting = [one for one in registry.names("metric") if registry.get("metric", one).takes == "text"]
            message = f"this metric reads no answers in words; take {', '.join(fitting)}"
            raise inner_errors([(("name",), message, name)])
        return super()._fill(name, given)
