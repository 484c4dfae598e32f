"""``vitrail data classifier POSITIVES NEGATIVES OUT``: a classifier of texts, for the operation ``text_class``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, add_threads, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("positives", help="texts of the class that is wanted, in any format that is read")
    parser.add_argument("negatives", help="texts of all else")
    parser.add_argument("out", type=Path, help="the new folder")
    parser.add_argument("--normalise", choices=("math", "none"), default="math", help="of the texts (math)")
    parser.add_argument("--ngrams", type=positive, default=2, help="up to so many words together (2)")
    parser.add_argument(
        "--scored-by",
        metavar="MODEL",
        help="a model scores the positives from 0 to 10: folder, run or hub name",
    )
    parser.add_argument(
        "--threshold", type=int, default=6, help="the score from which they are positives (6)"
    )
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read both sides, score where asked, fit, save, and say what was learnt."""
    from vitrail.curation.text_classifier import TextClassifier

    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    prepare_libraries(args.threads)
    positives, negatives = _texts(args.positives), _texts(args.negatives)
    how = {"normalise": args.normalise, "ngrams": args.ngrams}
    told: dict[str, object] = {
        "folder": str(args.out),
        "positives": len(positives),
        "negatives": len(negatives),
    }
    if args.scored_by is not None:
        from vitrail.curation.score_labels import LLMScoreLabeller, bootstrap_classifier
        from vitrail.inference.answerers import ModelAnswerer

        labeller = LLMScoreLabeller(ModelAnswerer(args.scored_by))
        made, labels = bootstrap_classifier(
            positives, labeller, negatives, pos_threshold=args.threshold, **how
        )
        told |= {"unscored": labels.unscored, "scores": list(labels.scores)}
    else:
        made = TextClassifier.fit(positives, negatives, **how)
    made.save(args.out)
    if args.json:
        print_json(told)
    else:
        unscored = f"; {told['unscored']} of the positives have no score" if "unscored" in told else ""
        print(
            f"{args.out}: learnt from {len(positives):,} positives and {len(negatives):,} negatives{unscored}"
        )
    return 0


def _texts(path: str) -> list[str]:
    """What a file's records say; records without a word are left out."""
    from vitrail.data.readers import open_source
    from vitrail.recipes.subsets import said

    return [text for record in open_source(path) if (text := said(record)).strip()]
