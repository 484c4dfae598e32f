"""A component is named the same way everywhere, and what is wrong with it is said the same way."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vitrail import registry
from vitrail.evaluation.task import Task
from vitrail.settings.component import Component, config_class, filled
from vitrail.settings.faults import NOTHING, flatten
from vitrail.training.stages import ObjectiveConfig


class Pane:
    """A component with settings."""

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        width: int = Field(default=3, ge=1)
        colour: str = "red"

    def __init__(self, config, *, frame=None):
        self.config, self.frame = config, frame


class Lead:
    """A component without settings."""


class Itself(BaseModel):
    """A component that is its own configuration."""

    depth: int = 2


@pytest.fixture(autouse=True)
def window(monkeypatch):
    """A seam of this test's own."""
    found = {"pane": Pane, "lead": Lead, "itself": Itself}
    monkeypatch.setattr(registry, "names", lambda seam: sorted(found))
    monkeypatch.setattr(registry, "get", lambda seam, name: found[name])
    monkeypatch.setattr(registry, "reference", lambda seam, name: registry.Reference(seam, name, "", "about"))
    config_class.cache_clear()
    yield
    config_class.cache_clear()


class Window(Component):
    seam = "window"


class House(BaseModel):
    front: Window
    sides: tuple[Window, ...] = ()


def faults(value):
    with pytest.raises(ValidationError) as caught:
        House.model_validate(value)
    return flatten(caught.value, House, value)


def test_a_name_alone_has_the_defaults():
    pane = Window.model_validate("pane")
    assert pane.model_dump() == {"name": "pane", "width": 3, "colour": "red"}
    assert Window.model_validate(pane) == pane == Window.model_validate(pane.model_dump())
    built = Window.model_validate({"name": "pane", "width": 5}).build(frame="oak")
    assert (built.config.width, built.config.colour, built.frame) == (5, "red", "oak")


def test_components_without_settings_and_those_that_are_settings():
    assert Window.model_validate("lead").config is None
    assert isinstance(Window.model_validate("lead").build(), Lead)
    assert Window.model_validate({"name": "itself", "depth": 3}).config == Itself(depth=3)


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"front": "pain"}, ("front", "name"), "no window has this name; did you mean 'pane'?"),
        ({"front": {"name": "pane", "wdth": 1}}, ("front", "wdth"), "no such field; did you mean 'width'?"),
        ({"front": {"name": "pane", "width": 0}}, ("front", "width"), "must be greater than or equal to 1"),
        (
            {"front": {"name": "lead", "width": 1}},
            ("front", "width"),
            "'lead' takes no settings; remove this",
        ),
        ({"front": {"width": 1}}, ("front", "name"), "this field is required"),
        ({"front": "pane", "sides": ["lead", "x"]}, ("sides", 1, "name"), "no window has this name"),
    ],
)
def test_faults_say_where_and_what_to_do(value, path, message):
    found = faults(value)
    assert [fault[0] for fault in found] == [path]
    assert message in found[0][1]


def test_every_fault_is_found():
    value = {"front": {"name": "pane", "width": "wide", "colour": 3}, "sides": ["pain"]}
    assert {fault[0]: fault[2] for fault in faults(value)} == {
        ("front", "width"): "wide",
        ("front", "colour"): 3,
        ("sides", 0, "name"): "pain",
    }
    assert faults({})[0] == (("front",), "this field is required", NOTHING)


def test_the_schema_lists_names_and_their_fields():
    schema = Window.model_json_schema()
    names, *components = schema["anyOf"]
    assert names == {"type": "string", "enum": ["itself", "lead", "pane"]}
    pane = components[-1]
    assert set(pane["properties"]) == {"name", "width", "colour"} and pane["additionalProperties"] is False


def test_stages_and_tasks_check_as_recipes_do(monkeypatch):
    for check in (
        lambda value: ObjectiveConfig.model_validate(value),
        lambda value: Task.model_validate({"name": "t", "scenario": value, "instruction": "pane"}),
    ):
        for value, said in (
            ("pain", r"no \w+ has this name; did you mean 'pane'\?"),
            ({"name": "pane", "wdth": 1}, "wdth: there is no such field; did you mean 'width'?"),
            ({"name": "pane", "width": 0}, "width: must be greater than or equal to 1"),
        ):
            with pytest.raises(ValidationError, match=said.replace("?", r"\?").replace(r"\\?", r"\?")):
                check(value)
    assert filled("window", "pane", {"width": 2}) == {"width": 2, "colour": "red"}
