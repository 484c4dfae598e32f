"""vitrail and lmms-eval on the same LLaVA and the same questions: how fast, and whether the answers are equal.

    python benchmarks/eval/compare.py [--size tiny|smollm2] [--pictures 32] [--questions 4] [--modes generate ranking]
                                      [--batch 16] [--repeats 1] [--work FOLDER] [--python FILE]

Both answer in words (``generate``: letters, greedy, 8 tokens at most) and rank options (``ranking``), several questions
a picture as benchmarks have them, in float32 on as many threads. lmms-eval's ``llava_hf`` asks one question at a time
and takes no larger batch; vitrail asks ``--batch`` at once. Each runs in a process of its own, in turns, so that other
work on the machine meets both; loading the model is not counted. lmms-eval gets an environment under the work folder
(``lmms_environment.py``, once), or is run by ``--python``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lmms_environment import python_of

HERE = Path(__file__).resolve().parent


def ask(python: Path, script: str, material: Path, out: Path, words: list[str]) -> dict[str, Any]:
    """One run; ``seconds`` and ``answers``."""
    out.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(HERE / script), "--material", str(material), "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads((out / "result.json").read_text()))


def main() -> None:
    """Run both in turns; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "smollm2"), default="tiny")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument(
        "--modes", nargs="+", choices=("generate", "ranking"), default=["generate", "ranking"]
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-eval"))
    parser.add_argument("--python", type=Path, help="of an environment that has lmms-eval already")
    args = parser.parse_args()
    work = args.work.resolve()
    material = work / f"material-{args.size}-{args.pictures}x{args.questions}"
    if not (material / "rows.json").exists():
        words = ["--size", args.size, "--pictures", str(args.pictures), "--questions", str(args.questions)]
        subprocess.run(
            [sys.executable, str(HERE / "material.py"), *words, "--out", str(material)], check=True
        )
    peer = args.python or python_of(work / "environments" / "lmms-eval")
    table: dict[str, Any] = {}
    for mode in args.modes:
        found: dict[str, list[dict[str, Any]]] = {"vitrail": [], "lmms-eval": []}
        words = ["--mode", mode, "--threads", str(args.threads)]
        for repeat in range(args.repeats):
            print(f"{mode}, {repeat + 1} of {args.repeats}", file=sys.stderr, flush=True)
            ours = [*words, "--batch", str(args.batch)]
            out = work / "out"
            found["vitrail"].append(
                ask(Path(sys.executable), "run_vitrail.py", material, out / f"vitrail-{mode}", ours)
            )
            found["lmms-eval"].append(ask(peer, "run_lmms.py", material, out / f"lmms-{mode}", words))
        table[mode] = summary(found)
    rows = args.pictures * args.questions
    print(
        json.dumps(
            {"size": args.size, "rows": rows, "batch": args.batch, "threads": args.threads, **table}, indent=1
        )
    )


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The best of the repeats in processor time and on the clock, their ratio, and how many answers are equal."""
    best = {
        name: {kind: min(run[kind] for run in runs) for kind in ("seconds", "processor_seconds")}
        for name, runs in found.items()
    }
    mine, theirs = found["vitrail"][0]["answers"], found["lmms-eval"][0]["answers"]
    return {
        **{name: {kind: round(value, 3) for kind, value in times.items()} for name, times in best.items()},
        "times as fast (clock)": round(best["lmms-eval"]["seconds"] / best["vitrail"]["seconds"], 2),
        "times as fast (processor)": round(
            best["lmms-eval"]["processor_seconds"] / best["vitrail"]["processor_seconds"], 2
        ),
        "equal answers": f"{sum(a == b for a, b in zip(mine, theirs, strict=True))} of {len(mine)}",
        "versions": {name: runs[0]["versions"] for name, runs in found.items()},
    }


if __name__ == "__main__":
    main()
