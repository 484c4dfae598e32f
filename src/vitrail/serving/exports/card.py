"""What stands beside an exported model: a model card, a record for programs, and the licence files of its sources."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vitrail.storage.atomic import write_json, write_text
from vitrail.storage.environment import describe

RECORD = "vitrail_export.json"
_TASK = {
    "multimodal": "image-text-to-text",
    "language": "text-generation",
    "encoder": "fill-mask",
    "dual encoder": "zero-shot-image-classification",
}
_LICENCES = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*")


@dataclass(frozen=True)
class Told:
    """What a card says: ``sources`` are folders, runs or hub names; ``kind`` a family's; ``how`` full sentences."""

    to: str
    sources: Sequence[str]
    kind: str
    dtype: str
    library: str
    use: str
    how: Sequence[str] = ()
    checks: dict[str, Any] = field(default_factory=dict)


def write_card(folder: Path, told: Told) -> None:
    """``README.md`` with the hub's fields, ``vitrail_export.json``, and licence files of the sources."""
    licences = {source: found for source in told.sources if (found := licence_of(source))}
    _copy_licences(folder, told.sources)
    front: dict[str, Any] = {"base_model": list(told.sources)}
    if told.to == "merged" and len(told.sources) > 1:
        front["base_model_relation"] = "merge"
    front |= {"library_name": told.library, "pipeline_tag": _TASK[told.kind], "tags": ["vitrail"]}
    if len(set(licences.values())) == 1 and len(licences) == len(told.sources):
        front["license"] = next(iter(licences.values()))
    environment = describe()
    record = {
        "to": told.to,
        "sources": [provenance_of(source) for source in told.sources],
        "dtype": told.dtype,
        "how": list(told.how),
        "checks": told.checks,
        "packages": environment["packages"],
        "commit": environment["commit"],
    }
    write_json(folder / RECORD, record)
    write_text(folder / "README.md", _text(front, told, record, licences))


def _text(front: dict[str, Any], told: Told, record: dict[str, Any], licences: dict[str, str]) -> str:
    name = Path(told.sources[0]).resolve().name if Path(told.sources[0]).exists() else told.sources[0]
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).strip(),
        "---",
        "",
        f"# {name}, exported ({told.to})",
        "",
    ]
    lines += ["## Where it comes from", ""]
    for one in record["sources"]:
        more = [f"{key} {value}" for key, value in one.items() if key != "source" and value]
        lines.append(f"- {one['source']}" + (f" ({', '.join(more)})" if more else ""))
    lines += ["", *(f"{sentence}" for sentence in told.how)] if told.how else []
    lines += [
        "",
        f"Weights: {told.dtype}. Written with `vitrail export --to {told.to}`, {_versions(record)}.",
        "",
    ]
    lines += ["## How to use it", "", told.use, "", "## What was checked", ""]
    lines += [f"- {what}: {value}" for what, value in told.checks.items()] or ["Nothing (`--no-verify`)."]
    lines += ["", "## Licence", ""]
    lines += [f"- {source}: {licences.get(source, 'its card names no licence')}" for source in told.sources]
    lines += [
        "",
        "The weights are a work derived from these; their terms apply, and those of the data behind them.",
        "",
    ]
    return "\n".join(lines)


def _versions(record: dict[str, Any]) -> str:
    known = record["packages"]
    return ", ".join(
        f"{name} {known[name]}" for name in ("vitrail", "transformers", "torch", "peft") if name in known
    )


def licence_of(source: str) -> str:
    """The licence that the card of a folder names; empty where there is none."""
    for place in _places(source):
        card = place / "README.md"
        if card.is_file():
            parts = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
            if len(parts) == 3 and not parts[0].strip():
                try:
                    front = yaml.safe_load(parts[1])
                except yaml.YAMLError:
                    continue
                found = front.get("license") if isinstance(front, dict) else None
                if isinstance(found, str):
                    return found
    return ""


def provenance_of(source: str) -> dict[str, Any]:
    """What is known of a source: the recipe, commit and fingerprint of a run; what was added to weights."""
    told: dict[str, Any] = {"source": source}
    place = Path(source)
    if (place / "recipe.yaml").is_file():
        recipe = yaml.safe_load((place / "recipe.yaml").read_text(encoding="utf-8")) or {}
        told |= {"recipe": recipe.get("name"), "seed": recipe.get("seed")}
        if (place / "environment.json").is_file():
            begun = json.loads((place / "environment.json").read_text(encoding="utf-8"))
            told |= {"commit": begun.get("commit"), "environment": begun.get("fingerprint")}
    return told


def _places(source: str) -> list[Path]:
    place = Path(source)
    return [one for one in (place, place / "model") if one.is_dir()]


def _copy_licences(folder: Path, sources: Sequence[str]) -> None:
    for source in sources:
        for place in _places(source):
            for pattern in _LICENCES:
                for file in sorted(place.glob(pattern)):
                    target = folder / file.name
                    if target.exists() and target.read_bytes() != file.read_bytes():
                        target = folder / f"{file.name}.{place.resolve().name}"
                    if file.is_file() and not target.exists():
                        shutil.copyfile(file, target)
