"""What stands beside weights made by arithmetic: a record in the configuration, a model card, and the right files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitrail.models.weights.checkpoint import Checkpoint
from vitrail.models.weights.difference import AnyDifference
from vitrail.models.weights.tokens import tokens_of

RECORD = "vitrail_weights"
"""The entry of a configuration that says what was added; transformers keeps it."""
TUNED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""Files that the tuned side decides: chat template, special tokens, generation settings."""
_LEFT = ("config.json", "README.md", "delta.json")


def record_of(base: Checkpoint, differences: Sequence[AnyDifference]) -> dict[str, Any]:
    """The base and every difference that was added to it, also before."""
    earlier = getattr(base.config, RECORD, None) or {}
    added = [*earlier.get("added", ()), *(one.told() for one in differences)]
    return {"base": earlier.get("base", base.source), "added": added}


def takes_files(base: Checkpoint, differences: Sequence[AnyDifference]) -> AnyDifference | None:
    """The difference whose tuned side gives tokenizer and chat template: the first that is added whole, and that knows
    every token of the base; None for none.
    """
    for one in differences:
        if one.into or one.scale <= 0:
            continue
        known, own = tokens_of(one.folder), tokens_of(base.folder)
        if own is None or known is None or own.keys() <= known.keys():
            return one
    return None


def copy_files(source: Path, folder: Path, tuned: Path | None = None) -> None:
    """Everything in ``source`` but weights, configuration and card; files of :data:`TUNED` from ``tuned``."""
    for place, names in ((source, None), (tuned, TUNED)):
        if place is None:
            continue
        for file in sorted(place.iterdir()):
            wanted = file.name not in _LEFT if names is None else file.name in names
            weights = file.name.endswith((".safetensors", ".safetensors.index.json", ".bin", ".pt", ".gguf"))
            if file.is_file() and wanted and not weights and not file.name.endswith(".py"):
                shutil.copyfile(file, folder / file.name)


def write_card(folder: Path, base: Checkpoint, differences: Sequence[AnyDifference]) -> None:
    """``README.md``: the hub's fields ``base_model`` and ``base_model_relation``, and the sum in words."""
    told = [one.told() for one in differences]
    sources = dict.fromkeys([base.source, *(one[side] for one in told for side in ("plus", "minus"))])
    lines = ["---", "base_model:", *(f"  - {json.dumps(source)}" for source in sources)]
    lines += ["base_model_relation: merge", "library_name: transformers", "---", ""]
    lines += [f"# {Path(base.source).name} with weights added", "", "Weights were added, in float64:", ""]
    lines += [f"- {base.source}"]
    lines += [f"- {one['scale']:+g} × ({one['plus']} − {one['minus']})" for one in told]
    lines += ["", "Instruction residuals: arXiv 2410.10739. Made with vitrail weights add.", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
