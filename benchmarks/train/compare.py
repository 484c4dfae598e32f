"""vitrail, TRL's SFTTrainer and ms-swift on the same model and rows: tokens a second, peak memory, loss at the end.

    python benchmarks/train/compare.py [--size tiny|smollm2] [--lengths spread|fixed] [--rows 256] [--repeats 1]
                                       [--work FOLDER] [--trainers vitrail trl ms-swift]

TRL and ms-swift get an environment each under the work folder (made with uv, once). Everybody trains connector and
language model for one epoch in float32 at the same constant rate, in batches of as many rows; the tower rests. Trainers
run in turns, so that other work on the machine meets all of them. Tokens are those of the rows as the model sees them,
pictures expanded, padding not counted. The loss at the end is measured by one program, on rows that nobody trained on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS = {"trl": ("trl", "pillow", "datasets"), "ms-swift": ("ms-swift", "pillow")}
SCRIPTS = {"trl": "run_trl.py", "ms-swift": "run_swift.py"}


def environment(name: str, work: Path) -> Path:
    """The Python of an environment that has the peer; made where it is not there yet."""
    folder = work / "environments" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", "3.11", str(folder)], check=True)
        command = ["uv", "pip", "install", "--quiet", "--python", str(python), "torch", *PEERS[name]]
        subprocess.run(command, check=True)
        (folder / "ready").write_text("")
    return python


def train(name: str, material: Path, out: Path, work: Path, words: list[str]) -> dict[str, Any]:
    """One epoch by one trainer; its result."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if name.startswith("vitrail"):
        python, script = Path(sys.executable), "run_vitrail.py"
        if name == "vitrail, packed":
            longest = max(json.loads((material / "lengths.json").read_text()))
            words = [*words, "--packing", str(2 * longest)]
        if name == "vitrail, checkpointed":
            words = [*words, "--checkpointing"]
    else:
        python, script = environment(name, work), SCRIPTS[name]
    command = [str(python), str(HERE / script), "--material", str(material), "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads((out / "result.json").read_text()))


def held_loss(folder: Path, material: Path) -> float:
    """Nats a token of the answers of the rows that nobody trained on."""
    import torch

    import vitrail
    from vitrail.data.readers import open_source
    from vitrail.objectives.next_token import NextToken
    from vitrail.recipes.datasets import EncodedRecords

    for path in (material / "model").iterdir():
        if path.suffix in (".json", ".jinja") and not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)
    bundle = vitrail.load(folder)
    records = EncodedRecords(open_source(str(material / "held.vitrail.jsonl")), bundle.encoder)
    objective, total, count = NextToken(), 0.0, 0.0
    collator = bundle.collator()
    with torch.inference_mode():
        for record in records:
            loss = objective(bundle.model.eval(), collator([record]))
            total += float(loss.sums["next_token"])
            count += loss.counts["next_token"]
    return total / count


def histogram(lengths: list[int], bins: int = 8) -> dict[str, int]:
    """How many rows have how many tokens."""
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high + 1 - low) // bins))
    return {
        f"{start}-{min(start + width - 1, high)}": sum(start <= length < start + width for length in lengths)
        for start in range(low, high + 1, width)
    }


def main() -> None:
    """Run everybody in turns; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "smollm2"), default="tiny")
    parser.add_argument("--lengths", choices=("spread", "fixed"), default="spread")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-train"))
    names = ("vitrail", "vitrail, packed", "vitrail, checkpointed", "trl", "ms-swift")
    parser.add_argument("--trainers", nargs="+", choices=names, default=list(names))
    args = parser.parse_args()
    work = args.work.resolve()
    material = work / f"material-{args.size}-{args.lengths}-{args.rows}"
    if not (material / "lengths.json").exists():
        command = [sys.executable, str(HERE / "material.py"), "--size", args.size, "--lengths", args.lengths]
        subprocess.run([*command, "--rows", str(args.rows), "--out", str(material)], check=True)
    lengths = json.loads((material / "lengths.json").read_text())
    words = ["--batch", str(args.batch), "--threads", str(args.threads)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in args.trainers}
    for repeat in range(args.repeats):
        for name in args.trainers:
            print(f"{name}, {repeat + 1} of {args.repeats}", file=sys.stderr, flush=True)
            result = train(name, material, work / "out" / name.replace(", ", "-"), work, words)
            folder = Path(result.get("model") or work / "out" / name / "trained")
            result["held"] = held_loss(folder, material)
            found[name].append(result)
    table = {name: summary(results, sum(lengths)) for name, results in found.items()}
    print(json.dumps({
        "size": args.size, "lengths": args.lengths, "rows": args.rows, "batch": args.batch, "threads": args.threads,
        "tokens": sum(lengths), "histogram": histogram(lengths), "trainers": table,
    }, indent=1))  # fmt: skip


def summary(results: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    """The best of the repeats; the first step, in which everybody warms up, counts as the median one."""
    seconds = []
    for result in results:
        steps = result["seconds"]
        seconds.append(sum(steps[1:]) + statistics.median(steps[1:]))
    return {
        "tokens_a_second": round(tokens / min(seconds)),
        "seconds": [round(one, 2) for one in seconds],
        "peak_mib": round(min(result["peak_bytes"] for result in results) / 2**20),
        "steps": len(results[0]["seconds"]),
        "first_loss": round(results[0]["losses"][0], 4),
        "held_loss": round(results[-1]["held"], 4),
        "versions": results[0]["versions"],
    }


if __name__ == "__main__":
    main()
