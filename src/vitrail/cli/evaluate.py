"""``vitrail eval MODEL``: a run's own evaluations again, or a model on a file of questions, or on a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.evaluate_processes import (
    add_processes,
    ask_in_processes,
    follow_parent,
    gathered,
    place_share,
    require_divisible,
)
from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.own_data import run_name
from vitrail.cli.parsing import add_json, add_methods, add_threads, methods_of, part_named, positive

DEFAULTS = {"instruction": "plain", "inferencer": "likelihood", "metric": None}
IN_WORDS: dict[str, Any] = {
    "instruction": {"name": "lettered", "without_options": "ask"},
    "inferencer": "generate",
    "metric": "match",
}
"""How a model at an address is asked: options are listed, and it answers in words."""
OF_ADDRESS = ("key_variable", "max_requests", "max_tokens", "concurrency", "failures_in_a_row")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a run's or a model's folder, or a hub name")
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="questions, JSONL or Parquet (default: the run's own); a benchmark's folder",
    )
    parser.add_argument("--name", help="of the evaluation (default: the file's, or the benchmark's)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where answers go (default: the run's folder)"
    )
    parser.add_argument("--no-blind", action="store_true", help="do not ask again with grey pictures")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="CHANGE",
        help="ask again with questions changed: side-64, gaussian_noise-3, swap_characters-2+fog-1 …",
    )
    parser.add_argument("--instruction", help="how questions are put (default plain)")
    parser.add_argument("--inferencer", help="likelihood (default), generate … or NAME:FIELD=VALUE,…")
    parser.add_argument("--metric", help="default: accuracy for likelihood, match for generate")
    add_methods(parser)
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="default 16")
    parser.add_argument("--quiet", action="store_true", help="print errors and scores alone")
    add_processes(parser)
    parser.add_argument(
        "--desiderata",
        metavar="A,B",
        help="instead: calibration, in_context, instruction_following, hallucination, robustness, or all (ChEF)",
    )
    named = parser.add_argument_group("on a benchmark (vitrail eval list)")
    named.add_argument(
        "--benchmark", metavar="NAME", help="read --data as its official files, and score as it does"
    )
    named.add_argument("--suite", choices=("offline",), help="all benchmarks that need no files")
    named.add_argument("--mode", help="how it is asked: ranking, letters … (default: its official way)")
    named.add_argument("--limit", type=positive, metavar="N", help="the first N questions alone")
    named.add_argument(
        "--circular", action="store_true", help="every question under every rotation of its options"
    )
    named.add_argument(
        "--submission", type=Path, metavar="FILE", help="write the file that its leaderboard takes"
    )
    named.add_argument(
        "settings", nargs="*", metavar="key=value", help="the benchmark's own settings: task=image"
    )
    _add_address(parser)
    add_threads(parser)
    add_json(parser)


def _add_address(parser: argparse.ArgumentParser) -> None:
    """The options of a model at an address."""
    there = parser.add_argument_group("of a model at an address")
    there.add_argument(
        "--address", metavar="URL", help="OpenAI's chat completions, ending in /v1; MODEL is its name there"
    )
    there.add_argument("--key-variable", metavar="NAME", help="the environment variable with the key")
    there.add_argument("--max-requests", type=positive, metavar="N", help="the budget of requests")
    there.add_argument("--max-tokens", type=positive, metavar="N", help="the budget of tokens")
    there.add_argument("--concurrency", type=positive, metavar="N", help="requests at a time (default 4)")
    there.add_argument(
        "--failures-in-a-row",
        type=positive,
        metavar="N",
        help="so many questions without an answer, none answered between them, stop the run (default 8)",
    )
    there.add_argument(
        "--retry-refused",
        action="store_true",
        help="ask those questions again that it refused (too long, too large) or never answered, which are otherwise "
        "set aside for good",
    )


def run(args: argparse.Namespace) -> int:
    """Ask what is not answered yet, and print the scores."""
    _only_with_address(args)
    require_divisible(args)
    if args.share is not None:
        follow_parent()
    elif args.processes > 1:
        _require_task(args)
        ask_in_processes(args, answers_folder(args))
    if args.desiderata is not None:
        return _desiderata(args)
    if args.benchmark is not None or args.suite is not None:
        from vitrail.cli.evaluate_benchmark import on_benchmark, on_suite

        scores = (on_suite if args.suite else on_benchmark)(args, progress_of(args))
    else:
        _only_with_benchmark(args)
        scores = _on_file(args) if args.data is not None else _again(args)
    if args.share is not None:
        return 0
    if args.json:
        print_json(scores)
    else:
        print_all(scores)
    return 0


def _require_task(args: argparse.Namespace) -> None:
    """ValueError for what every process would find wrong with the task."""
    from vitrail.cli.evaluate_benchmark import task_of

    if args.benchmark is not None:
        task_of(args)
    elif args.data is not None:
        _only_with_benchmark(args)
        _file_task(args)


def print_all(scores: dict[str, dict[str, Any]]) -> None:
    """A table an evaluation: official figures where it is a benchmark, kinds of question elsewhere."""
    from vitrail.cli.official_text import print_official
    from vitrail.cli.running import print_scores

    for task, found in scores.items():
        if official_of(found):
            print_official(task, found)
        else:
            print_scores({task: found})


def _desiderata(args: argparse.Namespace) -> int:
    from vitrail.cli.evaluate_benchmark import task_of
    from vitrail.cli.evaluate_desiderata import on_desiderata, print_desiderata

    if args.method:
        raise ValueError("--method does not go with --desiderata; leave one out")
    if args.benchmark is not None:
        task = task_of(args)
        source = task.part("scenario").source()
    elif args.data is not None:
        task, source = _file_task(args)
    else:
        raise ValueError("--desiderata needs questions: give --data FILE, or --benchmark NAME")
    found = on_desiderata(args, task, source, progress_of(args))
    if args.json:
        print_json({task.name: found})
    else:
        print_desiderata(found)
    return 0


def official_of(conditions: dict[str, Any]) -> bool:
    """Whether the scores of an evaluation are those of a benchmark's protocol."""
    return any(one.get("official") for one in conditions.values())


def progress_of(args: argparse.Namespace) -> Any:
    """What tells how far it is; prepares the libraries."""
    from vitrail.training.progress import make_progress

    prepare_libraries(args.threads)
    return make_progress("none" if args.quiet or args.json else "auto")


def _only_with_benchmark(args: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("mode", "limit", "circular", "submission") if getattr(args, name)]
    given += args.settings
    if given:
        raise ValueError(f"{given[0]} goes with --benchmark NAME; vitrail eval list shows the names")


def _only_with_address(args: argparse.Namespace) -> None:
    given = [f"--{name.replace('_', '-')}" for name in (*OF_ADDRESS, "retry_refused") if getattr(args, name)]
    if given and args.address is None:
        raise ValueError(f"{given[0]} goes with --address URL")
    if args.address is not None and args.desiderata is not None:
        raise ValueError("--desiderata reads probabilities off a model here; leave it out with --address")


def _again(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The run's own evaluations; what is answered is not asked again."""
    from vitrail.recipes.loading import load
    from vitrail.recipes.run import run as run_recipe

    if not (Path(args.model) / "recipe.yaml").is_file():
        raise ValueError(f"{args.model} is no run, so it has no questions of its own; give --data FILE")
    for option in ("out", "name", "metric", "method", "no_blind", "also", "instruction", "inferencer"):
        if getattr(args, option):
            name = option.replace("_", "-")
            raise ValueError(f"--{name} goes with --data; a run's own evaluations are set in its recipe")
    return run_recipe(load(args.model), Path(args.model), progress=progress_of(args)).scores


def _on_file(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    return ask(args, *_file_task(args), progress_of(args))


def _file_task(args: argparse.Namespace) -> tuple[Any, Any]:
    """The task that a file is asked as, and its questions. ValueError where none can be used."""
    from vitrail.data.readers import open_source
    from vitrail.data.sources import set_aside_of
    from vitrail.evaluation.task import Task

    source = open_source(args.data, on_error="set_aside")
    if not len(source):
        rows = set_aside_of(source).rows
        raise ValueError(
            f"{args.data} holds no record that can be used ({rows[0] if rows else 'it is empty'})"
        )
    defaults = DEFAULTS if args.address is None else IN_WORDS
    given = {name: getattr(args, name) for name in defaults}
    parts: dict[str, Any] = {
        name: part_named(given[name]) if given[name] else default for name, default in defaults.items()
    }
    words = (given["inferencer"] or parts["inferencer"]).partition(":")[0] == "generate"
    parts["metric"] = parts["metric"] or ("match" if words else "accuracy")
    place = str(Path(args.data).absolute()) if Path(args.data).exists() else args.data
    # A report looks there for the pictures; what was asked is in the fingerprint of the source.
    parts["scenario"] = {"name": "file", "path": place}
    return Task(name=args.name or run_name(args.data), **parts), source


def answers_folder(args: argparse.Namespace) -> Path:
    """Where answers go."""
    return args.out or (Path(args.model) if Path(args.model).is_dir() else Path()) / "evaluation"


def ask(args: argparse.Namespace, task: Any, source: Any, progress: Any) -> dict[str, dict[str, Any]]:
    """Ask a model every question of a source, as it is and blinded; the scores by task and condition."""
    from vitrail.evaluation.scores import score
    from vitrail.evaluation.transforms import transform

    for name in args.also:
        transform(name)
    folder, found = answers_folder(args), {}
    for condition in (*(("trained",) if args.no_blind else ("trained", "blind")), *args.also):
        if args.processes > 1 and args.share is None:
            path = gathered(folder, task.name, condition)
        else:
            path = _ask(args, task, source, condition, progress)
        found[condition] = score(path).as_json() if args.share is None else {}
    progress.note(f"answers: {Path(folder) / task.name}")
    return {task.name: found}


def _ask(args: argparse.Namespace, task: Any, source: Any, condition: str, progress: Any) -> Path:
    from vitrail.evaluation.processes import Share
    from vitrail.evaluation.run import run_task
    from vitrail.recipes.evaluation_run import now_and_then

    progress.note(f"{task.name}, {condition}: {len(source):,} questions")

    def tell(done: int, total: int) -> None:
        progress.note(f"{task.name}, {condition}: {done:,} of {total:,}")

    return run_task(
        task,
        model_of(args),
        answers_folder(args),
        condition,
        source=source,
        progress=now_and_then(tell),
        batch_size=args.batch_size,
        methods=methods_of(args),
        retry_refused=args.retry_refused,
        share=None if args.share is None else Share(*args.share),
    )


def model_of(args: argparse.Namespace) -> Any:
    """The model, loaded once a command."""
    if getattr(args, "bundle", None) is None and args.address is not None:
        args.bundle = _remote(args)
    if getattr(args, "bundle", None) is None:
        from vitrail.models.loading import load

        args.bundle = place_share(load(args.model), args.share)
    return args.bundle


def _remote(args: argparse.Namespace) -> Any:
    """The model at the address."""
    from vitrail.evaluation.remote import RemoteModel
    from vitrail.inference.remote import RemoteAnswerer, RemoteSettings

    given = {name: getattr(args, name) for name in OF_ADDRESS if getattr(args, name)}
    settings = RemoteSettings(base_url=args.address, model=args.model, **given)
    ledger = answers_folder(args) / "spent.jsonl" if args.max_requests or args.max_tokens else None
    return RemoteModel(RemoteAnswerer(settings, ledger=ledger))
