"""A curation pipeline as a file: where documents come from, what is done to them, how they are written.

input: {name: warc, files: ["crawl/*.warc.gz"]}
operations:
  - extract
  - {name: language, keep: [eng_Latn, spa_Latn]}
  - {name: near_duplicates, threshold: 0.8}
output: {layout: obelics}
"""

from __future__ import annotations

import glob
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vitrail.curation.operations.operation import Operation
from vitrail.settings.component import Component
from vitrail.settings.faults import NOTHING, flatten
from vitrail.storage.cache import key


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OperationSettings(Component):
    """An operation by name, with its settings."""

    seam: ClassVar[str] = "operation"


class InputSettings(_Settings):
    """Files and how they are read.

    ``files`` are paths and patterns, relative to the pipeline's file; a folder means all that is below it.
    ``partition_files`` and ``partition_bytes`` bound how many small files make one partition. A page larger than
    ``max_page_bytes`` is set aside.
    """

    name: Literal["warc", "html", "records", "videos"]
    files: tuple[str, ...] = Field(min_length=1)
    partition_files: int = Field(default=256, ge=1)
    partition_bytes: int = Field(default=256_000_000, ge=1)
    max_page_bytes: int = Field(default=10_000_000, ge=1)


class OutputSettings(_Settings):
    """``layout``: ``obelics``, ``webmath``, ``moscar`` or ``textbook`` (Parquet), or ``documents`` (JSON lines).
    ``by_language``: a folder for each language, as mOSCAR has.
    """

    layout: Literal["obelics", "webmath", "moscar", "textbook", "documents"] = "obelics"
    by_language: bool = True


class Pipeline(_Settings):
    """Input, operations and output; checked when it is read."""

    input: InputSettings
    operations: tuple[OperationSettings, ...] = Field(min_length=1)
    output: OutputSettings = OutputSettings()

    def build(self) -> list[Operation]:
        """The operations. ImportError names the package that one of them lacks."""
        return [settings.build() for settings in self.operations]

    def names(self) -> list[str]:
        """The operations' names; one that is used again has a number."""
        names: list[str] = []
        for settings in self.operations:
            before = sum(name.split(" ")[0] == settings.name for name in names)
            names.append(f"{settings.name} {before + 1}" if before else settings.name)
        return names

    def as_yaml(self) -> str:
        """The pipeline with every default filled in."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_pipeline(path: Path | str) -> Pipeline:
    """The pipeline of a YAML file. ValueError lists what is wrong with it, field by field."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {str(error).splitlines()[0]}; correct it") from None
    try:
        return Pipeline.model_validate(raw)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, where)) or 'the pipeline'}: {message}"
            + ("" if value is NOTHING or isinstance(value, (dict, list)) else f" (it is {value!r})")
            for where, message, value in flatten(error, Pipeline, raw)
        ]
        raise ValueError(f"{path}: " + "; ".join(lines)) from None


def input_files(settings: InputSettings, base: Path) -> list[Path]:
    """The files, sorted by path, each once. ValueError for a name or pattern that finds none."""
    found: set[Path] = set()
    for name in settings.files:
        here = sorted(glob.glob(str(base / name), recursive=True)) or [str(base / name)]
        files = [inner for one in map(Path, here) for inner in (_below(one) if one.is_dir() else [one])]
        missing = [file for file in files if not file.is_file()]
        if missing or not files:
            raise ValueError(f"input.files: there is no file {base / name}; correct the name or the pattern")
        found.update(files)
    return sorted(found, key=lambda path: path.as_posix())


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@cache
def code_fingerprint() -> str:
    """A hash of the code that makes documents: what other code made is made again."""
    folder = Path(__file__).parent
    files = [folder / "inputs", folder / "operations", folder / "lectures", folder / "fetching"]
    sources = sorted(path for inner in files for path in inner.rglob("*.py"))
    beside = (
        "steps.py", "outputs.py", "distributions.py", "duplicate_pairs.py", "text_classifier.py", "math_text.py",
        "ngram_quality.py",
    )  # fmt: skip
    return key(*(path.read_bytes() for path in [*sources, *(folder / name for name in beside)]))


def identity(settings: OperationSettings, operation: Operation) -> dict[str, Any]:
    """What the results of an operation depend on."""
    return {"name": settings.name, "settings": settings.settings, "depends_on": operation.fingerprint()}
