"""``vitrail forgetting RUN``: what a run over several datasets kept of the earlier ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("run", type=Path, help="a finished run whose stages have probes on the same data")
    parser.add_argument(
        "--first", type=float, default=0.2, metavar="SHARE", help="of a dataset's steps, for the jump (0.2)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read the probes, and print the losses after each dataset, their mean, forgetting and jump."""
    from vitrail.recipes import loading
    from vitrail.recipes.continual import BRANCH, kept
    from vitrail.storage.runs import RunFolder

    folder = RunFolder(args.run)
    if not folder.exists:
        raise ValueError(f"there is no run in {args.run}; give the folder of a finished one")
    recipe = loading.load(folder.recipe())
    trunk = [stage for stage in recipe.stages if stage.probes is not None and not stage.name.endswith(BRANCH)]
    if not trunk:
        raise ValueError(f"no stage of {args.run} has probes; give its stages probes, and run it")
    probed = trunk[0].probes.data if trunk[0].probes is not None else ()
    datasets = [stage.name for stage in trunk]
    if len(probed) != len(datasets):
        raise ValueError(
            f"the stages {', '.join(datasets)} were probed on {', '.join(probed)}; forgetting needs one held-out "
            "source for each dataset, in its order"
        )
    found = kept(folder, datasets, probed, args.first)
    if args.json:
        print_json({"datasets": datasets, "probed": list(probed), **found})
        return 0
    rows = [
        (name, *(f"{loss:.3f}" for loss in row)) for name, row in zip(datasets, found["matrix"], strict=True)
    ]
    print_table("loss after each dataset", ("after", *probed), rows, right=range(1, len(probed) + 1))
    print(
        f"mean at the end {found['final']:.4f}; forgetting {found['forgetting']:+.4f} (above 0: worse than it was); "
        f"jump at a border {found['jump']:.4f} nats"
    )
    return 0
