"""One run of vitrail over the material; its result as JSON. `--steps own`: vitrail's own operations instead."""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import time
from typing import Any

import same_steps

from vitrail.curation.pipeline import Pipeline
from vitrail.curation.running import run


def pipeline(steps: str, extractor: str) -> Pipeline:
    """The steps as a pipeline."""
    keep = {"name": "language", "keep": list(same_steps.LANGUAGES)}
    same: list[Any] = [{"name": "same_extract", "extractor": extractor}, "same_quality", keep]
    own: list[Any] = ["extract", "text_rules", keep, "document_length"]
    return Pipeline.model_validate({
        "input": {"name": "warc", "files": ["*.warc.gz"]},
        "operations": [*(same if steps == "same" else own), "exact_duplicates"],
        "output": {"layout": "documents", "by_language": False},
    })  # fmt: skip


def main() -> None:
    """Run and write the result."""
    parser = same_steps.arguments()
    parser.add_argument("--engine", default="cores")
    parser.add_argument("--steps", choices=("same", "own"), default="same")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    engine = "process" if args.profile else args.engine
    start = time.perf_counter()
    profile = cProfile.Profile()
    if args.profile:
        profile.enable()
    ran = run(
        pipeline(args.steps, args.extractor), args.out / "corpus", base=args.material,
        engine=engine, workers=args.workers,
    )  # fmt: skip
    profile.disable()
    seconds = time.perf_counter() - start
    texts = [
        "\n".join(part["text"] for part in json.loads(line)["content"] if part["type"] == "text")
        for path in ran.files
        for line in path.read_text("utf-8").splitlines()
    ]
    result = {"seconds": seconds, "kept": len(texts), "texts": texts}
    if args.profile:
        written = io.StringIO()
        pstats.Stats(profile, stream=written).sort_stats("tottime").print_stats(18)
        result["profile"] = written.getvalue()
    (args.out / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
