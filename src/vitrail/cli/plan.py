"""``vitrail plan RECIPE``: parameters, tokens, operations, memory and time, before anything runs."""

from __future__ import annotations

import argparse
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import count, duration, octets, print_json, print_table
from vitrail.cli.own_data import add_own_data, find_recipe
from vitrail.cli.parsing import add_json, add_overrides, add_threads

STAGE_COLUMNS = (
    "stage",
    "objective",
    "data",
    "records",
    "tokens each",
    "budget",
    "records a step",
    "operations a step",
    "memory",
    "time",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("recipe", nargs="?", help="a shipped recipe's name, a YAML file, or a run folder")
    add_overrides(parser)
    add_own_data(parser)
    parser.add_argument("--no-speed", action="store_true", help="do not time this machine; leave times out")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Plan the recipe and print the plan."""
    from vitrail.recipes.plan import plan

    recipe, _ = find_recipe(args)
    prepare_libraries(args.threads)
    planned = plan(recipe, measure_speed=not args.no_speed)
    if args.json:
        print_json(planned.as_json())
    else:
        print_plan(planned)
        print_loop(recipe, planned)
    return 0


def print_loop(recipe: Any, plan: Any) -> None:
    """What a recipe's loop repeats and asks for, if it has one."""
    from vitrail.recipes.looping import forecast

    if recipe.loop is None:
        return
    told = forecast(recipe, plan)
    rows = [
        (one["what"], "–" if one["times"] is None else f"{one['times']:,}", one["whom"])
        for one in told["asked"]
    ]
    print()
    print_table(f"loop: {recipe.loop.name}", ("a round at the most", "times", "by"), rows, right=(1,))
    time = "" if told["seconds"] is None else f", about {_time(told['seconds'])} of training in all"
    once = f"{', '.join(told['once'])} once, then " if told["once"] else ""
    print(f"{once}{told['rounds']} rounds of {', '.join(told['repeated'])}{time}")


def print_plan(plan: Any) -> None:
    """The plan as tables (parts and what trains in them, stages, evaluations), and mixtures as trees."""
    stages = plan.stages
    columns = ("part", "kind", "parameters", *(f"trained by {stage.name}" for stage in stages))
    rows = [
        (
            part["part"],
            part["kind"],
            count(part["parameters"]),
            *(_trained(stage.trained.get(part["part"], 0)) for stage in stages),
        )
        for part in plan.parts
    ]
    sums = [_trained(sum(stage.trained.values())) for stage in stages]
    rows.append(("all", "", count(plan.parameters), *sums))
    print_table(f"{plan.recipe}: model", columns, rows, right=range(2, len(columns)))
    if "tokens_an_image" in plan.anatomy:
        print(f"A picture costs {plan.anatomy['tokens_an_image']} tokens in the language model.\n")
    if stages:
        print_table(
            "stages",
            STAGE_COLUMNS,
            [_stage(stage) for stage in stages],
            right=range(3, 10),
        )
        _print_memory(stages)
    for tree in plan.mixtures:
        print(f"{tree}\n")
    if plan.evaluation:
        print_table(
            "evaluation",
            ("task", "data", "questions", "conditions", "time"),
            [
                (one.name, one.data, f"{one.questions:,}", ", ".join(one.conditions), _time(one.seconds))
                for one in plan.evaluation
            ],
            right=(2, 4),
        )
    total = f", about {_time(plan.seconds)}" if plan.seconds is not None else ""
    speed = (
        f" (matrix products run at {count(plan.flops_a_second)}FLOP/s here)" if plan.flops_a_second else ""
    )
    print(f"in all: {octets(plan.peak_bytes)} of memory at the most{total}{speed}")


def _print_memory(stages: Any) -> None:
    """What each stage's memory holds, and for which record."""
    kinds = list(stages[0].memory)
    rows = [
        (
            stage.name,
            *(octets(stage.memory[kind]) for kind in kinds),
            f"{stage.lengths.longest:.0f} tokens a record",
        )
        for stage in stages
    ]
    print_table("memory at the most", ("stage", *kinds, "with"), rows, right=range(1, len(kinds) + 1))


def _trained(number: int) -> str:
    return count(number) if number else "frozen"


def _stage(stage: Any) -> tuple[str, ...]:
    return (
        stage.name,
        stage.objective,
        stage.data,
        f"{stage.records:,}",
        f"{stage.lengths.tokens:.0f}",
        stage.budget,
        str(stage.batch_size),
        f"{count(stage.flops_a_step)}FLOP",
        octets(sum(stage.memory.values())),
        _time(stage.seconds),
    )


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)
