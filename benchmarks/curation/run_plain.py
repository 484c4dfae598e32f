"""The same steps in one loop, each timed: what they cost without anybody's engine, and what must come out."""

from __future__ import annotations

import json
import time

import same_steps

from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs import INPUT, read_documents
from vitrail.curation.pipeline import InputSettings


def main() -> None:
    """Run and write the result."""
    args = same_steps.arguments().parse_args()
    extract = same_steps.extractor(args.extractor)
    spent = dict.fromkeys(("reading", "extractor", "quality", "language"), 0.0)
    texts: dict[str, None] = {}
    settings = InputSettings(name="warc", files=("*",))
    files = sorted(args.material.glob("*.warc.gz"))
    start = last = time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        spent[name] += now - last
        last = now

    for document in read_documents(settings, files, args.material, OperationCounts(INPUT)):
        lap("reading")
        text = extract(document.content[0].text)
        lap("extractor")
        reason = same_steps.quality(text) if text else "no text"
        lap("quality")
        if not reason and same_steps.language(text) in same_steps.LANGUAGES:
            texts.setdefault(text)
        lap("language")
    told = "\n".join(f"{name}: {seconds:.2f} s" for name, seconds in spent.items())
    result = {
        "seconds": time.process_time() - start,
        "kept": len(texts),
        "texts": list(texts),
        "profile": told,
    }
    (args.out / "result.json").write_text(json.dumps({**result, "spent": spent}))


if __name__ == "__main__":
    main()
