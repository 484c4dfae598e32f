"""A skills graph learnt from short runs of a recipe, for the rule ``skill_it`` (arXiv 2307.14430).

The sources of a mixture are the training skills. Each short run is the recipe's own stage on some of them, from the
model as the stages before it leave it; losses are measured on held-out data of each skill.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.mixtures.skill_graph import SkillGraph
from vitrail.recipes.loading import load, plain
from vitrail.registry import nearest

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe

MIXTURE = "skills-of-a-short-run"


def learn_graph(
    recipe: Recipe,
    mixture: str,
    *,
    steps: int,
    evaluate: Sequence[str] | None = None,
    method: Literal["linear", "pairwise"] = "linear",
    seeds: Sequence[int] = (0,),
    records: int = 64,
    binary: bool = False,
    device: str = "auto",
) -> SkillGraph:
    """The graph of the sources of ``data.<mixture>``, by runs of ``steps`` of the stage that trains on it.

    ``evaluate``: held-out data, by default the sources themselves; ``records`` of each are read. ``linear`` makes a run
    a skill, ``pairwise`` one a pair (and then ``evaluate`` are the sources' own held-out data, in their order).
    ValueError for a mixture that no stage trains on.
    """
    data: Any = recipe.data.get(mixture)
    stages = [place for place, stage in enumerate(recipe.stages) if stage.data == mixture]
    if data is None or data.kind != "mixture" or not stages:
        names = [name for name, one in recipe.data.items() if one.kind == "mixture"]
        raise ValueError(f"no stage trains on a mixture called {mixture!r}; {nearest(mixture, names)}")
    skills, ends = list(data.sources), list(evaluate or data.sources)
    unknown = next((name for name in ends if name not in recipe.data), None)
    if unknown is not None:
        raise ValueError(f"'data' has no source called {unknown!r}; {nearest(unknown, sorted(recipe.data))}")
    own = method == "pairwise"
    if own and len(ends) != len(skills):
        raise ValueError(
            "method 'pairwise' needs held-out data for each source, in their order; or use 'linear'"
        )

    def train(shares: Mapping[str, float], length: int, seed: int) -> Any:
        return _trained(recipe, stages[0], shares, length, seed, device)

    def losses(bundle: Any) -> dict[str, float]:
        found = _losses(recipe, ends, bundle, records)
        return dict(zip(skills, found.values(), strict=True)) if own else found

    return SkillGraph.learn(
        train,
        losses,
        skills,
        skills if own else ends,
        method=method,
        steps=steps,
        seeds=seeds,
        binary=binary,
    )


def _trained(
    recipe: Recipe, place: int, shares: Mapping[str, float], steps: int, seed: int, device: str
) -> Any:
    """The model after the stages before ``place``, and ``steps`` of that stage on sources in ``shares``."""
    from vitrail.recipes.training_run import trained_model
    from vitrail.storage.runs import RunFolder
    from vitrail.training.progress import QuietProgress

    known = plain(recipe)
    known["data"][MIXTURE] = {"kind": "mixture", "sources": dict(shares)}
    stage = {**known["stages"][place], "data": MIXTURE, "max_steps": max(steps, 1), "probes": None}
    stage |= {"epochs": None, "max_minutes": None, "warmup": min(stage["warmup"], 0.1)}
    stages = [*known["stages"][:place], *([stage] if steps else [])]
    short = load({**known, "seed": recipe.seed + seed, "stages": stages, "evaluation": []})
    with (
        tempfile.TemporaryDirectory() as folder,
        RunFolder(Path(folder) / "run").writing({}, lambda stored: stored) as run,
    ):
        return trained_model(short, run, QuietProgress(), device)


def _losses(recipe: Recipe, names: Sequence[str], bundle: Any, records: int) -> dict[str, float]:
    from vitrail.data.sources import take
    from vitrail.recipes.datasets import EncodedRecords
    from vitrail.recipes.sources import open_data
    from vitrail.training.probing import Prober

    rows: dict[str, Any] = {}
    for name in names:
        source = open_data(recipe, name, "conversations")
        rows[name] = EncodedRecords(take(source, min(records, len(source))), bundle.encoder)
    device = next(bundle.model.parameters()).device

    def placed(batch: dict[str, Any]) -> dict[str, Any]:
        return {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}

    found = Prober(rows, bundle.collator("right"), records=records, prepare=placed).measure(bundle.model)
    return {name: one["loss"] for name, one in found.items()}
