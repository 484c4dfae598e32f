"""A task: scenario × instruction × inferencer × metric.

The decomposition is that of ChEF (Chen et al. 2023, "ChEF: A Comprehensive Evaluation Framework for
Standardized Assessment of Multimodal Large Language Models"), whose word for a task is *recipe*.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python

from vitrail import registry
from vitrail.settings.component import filled, require_known


def _part(seam: str) -> BeforeValidator:
    """A component as ``"name"`` or ``{"name": …, **settings}``: looked up, its settings checked and filled
    in.
    """

    return BeforeValidator(lambda value: None if value is None else part_settings(seam, value))


def part_settings(seam: str, value: Any) -> dict[str, Any]:
    """A component as its name and all its settings, checked. ValueError for what names none."""
    given = {"name": value} if isinstance(value, str) else dict(value)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"give the {seam} as its name, or with a field 'name'; got {value!r}")
    require_known(seam, name)
    return {"name": name, **to_jsonable_python(filled(seam, name, given))}


def built(seam: str, settings: Mapping[str, Any]) -> Any:
    """The component that settings name."""
    given = {key: value for key, value in settings.items() if key != "name"}
    component = registry.get(seam, settings["name"])
    return component(component.Config.model_validate(given))


class Settings(BaseModel):
    """What the settings of every part have in common: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(Settings):
    """What is asked, how it is put, how the model is made to answer, and what counts as right.

    Each part is the name of a registered component, or a mapping of that name and its settings. ``scenario``
    is None where :func:`~vitrail.evaluation.run.run_task` is handed a source of records.
    """

    seams: ClassVar[tuple[str, ...]] = ("scenario", "instruction", "inferencer", "metric")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    scenario: Annotated[dict[str, Any] | None, _part("scenario")] = None
    instruction: Annotated[dict[str, Any], _part("instruction")] = Field("plain", validate_default=True)  # type: ignore[assignment]
    inferencer: Annotated[dict[str, Any], _part("inferencer")] = Field("likelihood", validate_default=True)  # type: ignore[assignment]
    metric: Annotated[dict[str, Any], _part("metric")] = Field("accuracy", validate_default=True)  # type: ignore[assignment]

    @model_validator(mode="after")
    def _goes_together(self) -> Task:
        gives = registry.get("inferencer", self.inferencer["name"]).gives
        takes = registry.get("metric", self.metric["name"]).takes
        if gives != takes:
            fitting = [
                name for name in registry.names("metric") if registry.get("metric", name).takes == gives
            ]
            raise ValueError(
                f"metric {self.metric['name']!r} needs a {takes}, but inferencer {self.inferencer['name']!r} "
                f"gives a {gives}; use metric {' or '.join(map(repr, fitting))}"
            )
        return self

    def part(self, seam: str) -> Any:
        """The built component of a seam. ValueError for a scenario that is not set."""
        settings = getattr(self, seam)
        if settings is None:
            raise ValueError(
                f"task {self.name!r} has no {seam}; set it, or hand a source of records to run_task"
            )
        return built(seam, settings)

    @classmethod
    def read(cls, path: Path | str) -> Task:
        """A task from a YAML file (ChEF's recipe). ValueError naming the file for what is none."""
        import yaml

        try:
            given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{path} is no file of a task: {' '.join(str(error).split())}") from None
        if not isinstance(given, dict):
            raise ValueError(
                f"{path} is no file of a task; it must hold name, scenario, instruction, inferencer, metric"
            )
        return cls.model_validate(given)

    def write(self, path: Path | str) -> None:
        """Write the task as YAML, every setting filled in; :meth:`read` gives an equal one."""
        import yaml

        from vitrail.storage.atomic import write_text

        write_text(
            Path(path), yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        )
