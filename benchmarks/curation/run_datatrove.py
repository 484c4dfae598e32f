"""One run of datatrove over the material; its result as JSON. Runs in an environment with datatrove, not vitrail."""

from __future__ import annotations

import json
import time
from typing import Any

import same_steps
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.extractors.base import BaseExtractor
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter

PATIENCE = 120.0
"""Seconds that a page may take: none is to be lost on a busy machine."""


class Resiliparse(BaseExtractor):
    """Main text by resiliparse, in the sandbox that every extractor has here."""

    name = "resiliparse"

    def __init__(self) -> None:
        super().__init__(timeout=PATIENCE)

    def extract(self, text: str) -> str:
        return same_steps.extractor("resiliparse")(text)


class Quality(BaseFilter):
    """The same rules."""

    name = "quality"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        reason = same_steps.quality(doc.text)
        return (False, reason) if reason else True


class Language(BaseFilter):
    """The same model and decision."""

    name = "language"

    def filter(self, doc: Document) -> bool:
        return same_steps.language(doc.text) in same_steps.LANGUAGES


def _text(doc: Document) -> bytes:
    return doc.text.encode()


def _priority(doc: Document) -> int:
    return 1


def main() -> None:
    """Run and write the result."""
    args = same_steps.arguments().parse_args()
    tasks = len(list(args.material.glob("*.warc.gz")))
    out = {name: str(args.out / name) for name in ("filtered", "signatures", "duplicates", "kept")}
    config = ExactDedupConfig(content_getter=_text, document_priority=_priority)
    settings: dict[str, Any] = {"workers": args.workers, "start_method": "fork"}
    extract = (
        Trafilatura(timeout=PATIENCE, deduplicate=False) if args.extractor == "trafilatura" else Resiliparse()
    )
    start = time.perf_counter()
    first = LocalPipelineExecutor(
        [
            WarcReader(str(args.material), glob_pattern="*.warc.gz"),
            extract,
            Quality(),
            Language(),
            JsonlWriter(out["filtered"], compression=None),
            ExactDedupSignature(out["signatures"], config),
        ],
        tasks=tasks, logging_dir=str(args.out / "logs/1"), **settings,
    )  # fmt: skip
    stats = [first.run()]
    finding = [ExactFindDedups(out["signatures"], out["duplicates"], config)]
    stats.append(
        LocalPipelineExecutor(finding, tasks=1, workers=1, logging_dir=str(args.out / "logs/2")).run()
    )
    last = LocalPipelineExecutor(
        [
            JsonlReader(out["filtered"], compression=None),
            ExactDedupFilter(out["duplicates"], config),
            JsonlWriter(out["kept"], compression=None),
        ],
        tasks=tasks, logging_dir=str(args.out / "logs/3"), **settings,
    )  # fmt: skip
    stats.append(last.run())
    seconds = time.perf_counter() - start
    texts = [
        json.loads(line)["text"]
        for path in sorted((args.out / "kept").glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    steps = [f"{one.name}: {one.time_stats.total:.2f} s" for each in stats for one in each.stats]
    result = {"seconds": seconds, "kept": len(texts), "texts": texts, "profile": "\n".join(steps)}
    (args.out / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
