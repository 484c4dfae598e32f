"""A component as settings name it: ``{name: mlp, grid: 4}``, or ``mlp`` alone.

The name is looked up in the registry; the other fields are checked against the component's frozen ``Config`` while the
settings are read, and its defaults are filled in, so that what was read says everything.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vitrail import registry
from vitrail.settings.faults import flatten, inner_error, inner_errors


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
        require_known(cls.seam, name)
        return {"name": name, **cls._fill(name, given)}

    @classmethod
    def _fill(cls, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The settings, checked and completed with the component's defaults."""
        return filled(cls.seam, name, given)

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


def require_known(seam: str, name: str) -> None:
    """A fault of the field ``name`` if no component of the seam is called so."""
    known = registry.names(seam)
    if name not in known:
        raise inner_errors([(("name",), f"no {seam} has this name; {registry.nearest(name, known)}", name)])


def filled(seam: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a component, checked against its ``Config`` and completed with its defaults.

    To be called by a pydantic validator: it raises faults whose paths begin at the component's own fields.
    """
    config = config_class(seam, name)
    if config is None:
        if given:
            field = next(iter(given))
            raise inner_error((field,), f"{seam} {name!r} takes no settings; remove this field")
        return {}
    try:
        return config.model_validate(given).model_dump()
    except ValidationError as error:
        raise inner_errors(flatten(error, config, given)) from None


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
    schema: dict[str, Any] = {} if config is None else _in_place(config.model_json_schema())
    properties = {"name": {"const": name, "description": about}, **schema.get("properties", {})}
    whole = {**schema, "type": "object", "properties": properties, "additionalProperties": False}
    return {**whole, "title": name, "required": ["name", *schema.get("required", [])]}


def _in_place(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose definitions stand where they are used, so that it may stand inside another one.

    pydantic looks for every reference in the outermost schema. Definitions that use themselves are not supported.
    """
    definitions = schema.pop("$defs", {})

    def put(node: Any) -> Any:
        if isinstance(node, list):
            return [put(one) for one in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        rest = {key: put(value) for key, value in node.items() if key != "$ref" or name not in definitions}
        return {**put(definitions[name]), **rest} if name in definitions else rest

    return put(schema)
