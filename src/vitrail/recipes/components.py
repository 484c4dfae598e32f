"""A component as a recipe names it: ``{name: mlp, grid: 4}``, or ``mlp`` alone.

The name is looked up in the registry; the other fields are checked against the component's frozen ``Config``
while the recipe is read, and its defaults are filled in, so that a resolved recipe says everything.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vitrail import registry
from vitrail.recipes.problems import flatten, inner_error, inner_errors


class Component(BaseModel):
    """A registered component of one seam and its settings; ``config`` is its own typed configuration."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    seam: ClassVar[str]
    name: str

    @model_validator(mode="before")
    @classmethod
    def _check(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, Component):
            value = value.model_dump()
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            return value  # pydantic says what is missing
        name, given = value["name"], {key: inner for key, inner in value.items() if key != "name"}
        if name not in registry.names(cls.seam):
            hint = registry.nearest(name, registry.names(cls.seam))
            raise inner_errors([(("name",), f"no {cls.seam} has this name; {hint}", name)])
        return {"name": name, **cls._fill(name, given)}

    @classmethod
    def _fill(cls, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The settings, checked and completed with the component's defaults."""
        config = config_class(cls.seam, name)
        if config is None:
            if given:
                field = next(iter(given))
                raise inner_error((field,), f"{cls.seam} {name!r} takes no settings; remove this field")
            return {}
        try:
            return config.model_validate(given).model_dump()
        except ValidationError as error:
            raise inner_errors(flatten(error, config, given)) from None

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values, without the name."""
        return dict(self.model_extra or {})

    @property
    def config(self) -> Any:
        """The component's own frozen ``Config``, filled; None where it has none."""
        config = config_class(self.seam, self.name)
        return None if config is None else config.model_validate(self.settings)

    def component(self) -> Any:
        """The component itself, imported."""
        return registry.get(self.seam, self.name)

    def build(self, **parts: Any) -> Any:
        """An instance: the component called with its config, and with already built ``parts`` by keyword."""
        config = self.config
        return self.component()(**parts) if config is None else self.component()(config, **parts)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names = registry.names(cls.seam)
        return {
            "anyOf": [{"type": "string", "enum": names}, *(_json_schema(cls.seam, name) for name in names)]
        }


@cache
def config_class(seam: str, name: str) -> type[BaseModel] | None:
    """The frozen ``Config`` of a registered component, or None if it takes no settings."""
    component = registry.get(seam, name)
    config = getattr(component, "Config", None)
    if config is None and inspect.isclass(component) and issubclass(component, BaseModel):
        return component  # a component that is its own configuration
    return config


def _json_schema(seam: str, name: str) -> dict[str, Any]:
    about = registry.reference(seam, name).summary
    config = config_class(seam, name)
    schema: dict[str, Any] = {} if config is None else config.model_json_schema()
    properties = {"name": {"const": name, "description": about}, **schema.get("properties", {})}
    whole = {**schema, "type": "object", "properties": properties, "additionalProperties": False}
    return {**whole, "title": name, "required": ["name", *schema.get("required", [])]}


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


class Instruction(Component):
    """How a question is put."""

    seam = "instruction"


class Inferencer(Component):
    """How the model is made to answer."""

    seam = "inferencer"


class Metric(Component):
    """How answers become a score."""

    seam = "metric"


__all__ = ["Component", "Connector", "Inferencer", "Instruction", "Metric", "Tower", "config_class"]
