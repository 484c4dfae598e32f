"""What a recipe's stage takes from the stages before it, leaves for those behind it, and measures on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import continuing
from vitrail.recipes.mixing import MixedRecords

if TYPE_CHECKING:
    from vitrail.recipes.schema import Recipe
    from vitrail.storage.runs import RunFolder
    from vitrail.training.stages import StageConfig


@dataclass(frozen=True)
class GoingOn:
    """``trunk``: the folder of the stage that it continues. ``keeps_state``: another one continues it. ``companions``:
    its probes, and what changes its mixture.
    """

    trunk: Path | None = None
    keeps_state: bool = False
    companions: list[Any] = field(default_factory=list)

    @classmethod
    def of(
        cls, recipe: Recipe, stage: StageConfig, run: RunFolder, bundle: Any, encoded: Callable[[str], Any]
    ) -> GoingOn:
        """For a stage of a run; ``encoded`` gives the records of a data source by name."""
        folder = run.stage(stage.name)
        done = (folder / "done.json").exists()
        return cls(
            trunk=None if stage.continues is None else run.stage(stage.continues),
            keeps_state=stage.name in continuing.trunks(recipe.stages),
            companions=[] if done else _companions(stage, folder, bundle, encoded),
        )


def _companions(stage: StageConfig, folder: Path, bundle: Any, encoded: Callable[[str], Any]) -> list[Any]:
    from vitrail.training.following import Follower
    from vitrail.training.probing import ProbeLog, Prober

    collator = bundle.collator("right")
    found: list[Any] = []
    if stage.probes is not None:
        sources = {name: encoded(name) for name in stage.probes.data}
        prober = Prober(sources, collator, records=stage.probes.records, batch_size=stage.probes.batch_size)
        found.append(ProbeLog(stage.probes, prober, folder))
    records = encoded(stage.data)
    if isinstance(records, MixedRecords) and records.mixing.rule.follows:
        rule = records.mixing.rule
        sources = {name: encoded(name) for name in rule.evaluated(list(records.mixing.names))}
        prober = Prober(sources, collator, records=rule.config.records)
        found.append(Follower(records.mixing, prober, folder))
    return found
