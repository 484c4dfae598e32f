"""lmms-eval on an exported task through `vitrail serve`, held against vitrail itself: answer by answer, and the score.

    python benchmarks/eval/lmms_eval_answers.py MODEL --benchmark offline_scenes --limit 40 suite=nano-scenes-v1

The model is asked twice with the same questions: here (`run_task`), and by lmms-eval (its model `openai`) at a loopback
address. lmms-eval lives in an environment of its own: `--environment DIR` names one, which is made if it is not there
(`lmms_environment.py`, with the network). Prints JSON; exit code 1 where an answer, a judgement or the score differs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from lmms_environment import python_of

NAME = "served"


@contextmanager
def serving(model: str):
    """`vitrail serve` on a free port; its address."""
    words = [sys.executable, "-m", "vitrail.cli.main", "serve", model, "--name", NAME, "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.startswith("serving "):
                yield line.split(" at ")[1].split()[0]
                return
        raise SystemExit("vitrail serve ended before it served")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def ask_with_lmms_eval(python: Path, address: str, task: str, folder: Path, out: Path) -> Path:
    """Run it; returns the file of samples."""
    settings = f"model={NAME},base_url={address},api_key=none,timeout=300,num_concurrent=4"
    words = [str(python), "-m", "lmms_eval", "--model", "openai", "--model_args", settings]
    words += ["--include_path", str(folder), "--tasks", task, "--batch_size", "1", "--log_samples"]
    words += ["--output_path", str(out)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out / "cache")}
    subprocess.run(words, check=True, env={**os.environ, **offline}, stdout=sys.stderr)
    return next(out.rglob(f"*_samples_{task}.jsonl"))


def compare(here, there, results: dict, samples: Path) -> dict:
    """Both files of answers, row by row, and lmms-eval's own judgement of each answer."""
    from vitrail.evaluation.scores import score

    judged = [json.loads(line)["accuracy"] for line in samples.read_text(encoding="utf-8").splitlines()]
    judgements = {one["vitrail_id"]: (one["prediction"], bool(one["score"])) for one in judged}
    told = {row["id"]: row for row in there.rows}
    differ = [
        {"id": row["id"], "here": row["text"], "there": told.get(row["id"], {}).get("text")}
        for row in here.rows
        if (row["text"], row["correct"]) != tuple(told.get(row["id"], {}).get(k) for k in ("text", "correct"))
    ]
    own, theirs = score(here.path).overall, score(there.path).overall
    return {
        "questions": len(here.rows),
        "distinct_answers": len({row["text"] for row in here.rows}),
        "equal": len(here.rows) - len(differ),
        "judged_alike": sum(
            judgements.get(row["id"]) == (row["prediction"], row["correct"]) for row in here.rows
        ),
        "accuracy_here": own.right / own.n,
        "accuracy_there_read_here": theirs.right / theirs.n,
        "accuracy_as_lmms_eval_says": results["accuracy,none"],
        "unparsed_here": own.unparsed / own.n,
        "unparsed_as_lmms_eval_says": results["unparsed,none"],
        "differ": differ,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--benchmark", default="offline_scenes")
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument(
        "--environment", type=Path, default=Path("runs/benchmark-eval/environments/lmms-eval")
    )
    parser.add_argument("--out", type=Path, default=Path("runs/lmms-eval-answers"), help="must not be there")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    args = parser.parse_args()
    from vitrail import registry
    from vitrail.cli.evaluate_benchmark import scenario_of
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.exchange.lmms_eval import export_task
    from vitrail.evaluation.predictions import import_predictions
    from vitrail.evaluation.run import run_task
    from vitrail.evaluation.task import Task
    from vitrail.models.loading import load

    scenario = {**scenario_of(args.benchmark, args.data, args.settings), "n": args.limit, "circular": False}
    parts = registry.get("benchmark", args.benchmark).parts("letters")
    task = Task.model_validate({"name": args.benchmark, "scenario": scenario, **parts})
    source = task.part("scenario").source()
    out = args.out.resolve()
    out.mkdir(parents=True)
    folder = export_task(task, source, out / "task").folder
    python = python_of(args.environment.absolute())
    with serving(args.model) as address:
        samples = ask_with_lmms_eval(python, address, task.name, folder, out / "lmms-eval")
    results = json.loads(next((out / "lmms-eval").rglob("*_results.json")).read_text())["results"][task.name]
    there = read_answers(import_predictions(task, source, samples, out / "there"))
    here = read_answers(run_task(task, load(args.model), out / "here"))
    found = compare(here, there, results, samples)
    print(json.dumps(found, indent=1, ensure_ascii=False))
    same = found["accuracy_here"] == found["accuracy_there_read_here"] == found["accuracy_as_lmms_eval_says"]
    alike = found["judged_alike"] == found["questions"]
    return 0 if same and alike and not found["differ"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
