"""``vitrail data stats FILE``."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("file", help="JSONL or Parquet")
    parser.add_argument(
        "--diversity",
        type=int,
        metavar="N",
        help="how different the texts of N records are: Vendi score of their meanings, distinct n-grams",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print counts of records, turns, pictures, choices, and lengths of texts."""
    from vitrail.data.readers import open_source

    source = open_source(args.file, on_error="set_aside")
    counts = count(source)
    if args.diversity is not None:
        counts["diversity"] = diversity(source, args.diversity)
    if args.json:
        print_json({"file": args.file, **counts})
        return 0
    rows = [(name, f"{value:,}") for name, value in counts.items() if isinstance(value, int)]
    for group in ("kinds", "roles"):
        rows += [(f"{group[:-1]} {name}", f"{number:,}") for name, number in counts[group].items()]
    spread = counts["answer_characters"]
    rows += [(f"characters of an answer, {name}", f"{number:,}") for name, number in spread.items()]
    for name, value in counts.get("diversity", {}).items():
        rows.append((name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.3f}"))
    print_table(args.file, ("", "count"), rows, right=(1,))
    return 0


def diversity(source: Any, n: int) -> dict[str, Any]:
    """How different the texts of ``n`` records, spread over a source, are. ValueError for fewer than two."""
    from vitrail.analysis.diversity import distinct_ngram_ratio, vendi_score
    from vitrail.papers.meaning import encode

    count = min(n, len(source))
    found = (text_of(source[place * len(source) // count]) for place in range(count))
    texts = [text for text in found if text.strip()]
    if len(texts) < 2:
        raise ValueError(
            f"--diversity needs two records with text; {len(texts)} of {count} looked at have any"
        )
    grams = {f"distinct_{size}-grams": distinct_ngram_ratio(texts, size) for size in (1, 2, 3, 4)}
    return {"texts_compared": len(texts), "vendi_score": vendi_score(encode(texts)), **grams}


def text_of(record: Any) -> str:
    """What a record teaches: a document's text, else what the assistant says."""
    from vitrail.data.records import Text

    if record.kind == "document":
        return " ".join(part.text for part in record.content if isinstance(part, Text))
    return " ".join(one.text for one in getattr(record, "messages", ()) if one.role == "assistant")


def count(source: Any) -> dict[str, Any]:
    """The counts of a source, read once."""
    from vitrail.data.media import media_of
    from vitrail.data.sources import set_aside_of

    kinds: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    media, with_choices, lengths = 0, 0, []
    for record in source:
        kinds[record.kind] += 1
        media += sum(1 for _ in media_of(record))
        with_choices += getattr(record, "choices", None) is not None
        for message in getattr(record, "messages", ()):
            roles[message.role] += 1
            if message.role == "assistant":
                lengths.append(len(message.text))
    lengths.sort()
    middle = len(lengths) // 2
    spread = {"least": lengths[0], "median": lengths[middle], "most": lengths[-1]} if lengths else {}
    aside = set_aside_of(source)
    return {
        "records": len(source),
        "set_aside": len(aside.rows),
        "pictures_and_other_media": media,
        "multiple_choice": with_choices,
        "kinds": dict(sorted(kinds.items())),
        "roles": dict(sorted(roles.items())),
        "answer_characters": spread,
    }
