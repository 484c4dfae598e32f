"""``vitrail data skills RECIPE MIXTURE --steps N``: which source of a mixture helps which, by short runs."""

from __future__ import annotations

import argparse

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, add_threads, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("recipe", help="a shipped recipe's name, a YAML file, or a run folder")
    parser.add_argument("mixture", help="the name of the mixture, on which a stage trains")
    parser.add_argument("--steps", type=positive, required=True, metavar="N", help="of each short run")
    parser.add_argument("--evaluate", nargs="+", metavar="NAME", help="held-out data (default: the sources)")
    parser.add_argument(
        "--pairwise", action="store_true", help="a run for each pair of sources, instead of one for each"
    )
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="repetitions, averaged (1)")
    parser.add_argument(
        "--records", type=positive, default=64, metavar="N", help="read of each held-out source (64)"
    )
    parser.add_argument("--binary", action="store_true", help="1 where a source helps, 0 elsewhere")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run, print the graph, and the rule that uses it."""
    from vitrail.recipes import loading
    from vitrail.recipes.skills import learn_graph

    prepare_libraries(args.threads)
    found = learn_graph(
        loading.load(args.recipe),
        args.mixture,
        steps=args.steps,
        evaluate=args.evaluate,
        method="pairwise" if args.pairwise else "linear",
        seeds=range(args.seeds),
        records=args.records,
        binary=args.binary,
    )
    matrix = [[round(float(value), 4) for value in row] for row in found.matrix]
    if args.json:
        print_json({"train": found.train_skills, "evaluated": found.eval_skills, "graph": matrix})
        return 0
    rows = [
        (name, *(f"{value:.4f}" for value in row))
        for name, row in zip(found.train_skills, matrix, strict=True)
    ]
    columns = ("trained", *found.eval_skills)
    print_table("influence on losses (nats)", columns, rows, right=range(1, len(columns)))
    evaluated = "" if args.evaluate is None else f", evaluate: [{', '.join(args.evaluate)}]"
    print(f"rule: {{name: skill_it, graph: {matrix}{evaluated}, every: 0.1}}")
    return 0
