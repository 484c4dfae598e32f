"""``vitrail memory ask MEMORY QUESTION``: what comes to mind, and what a model answers with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, add_threads, natural, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("memory", type=Path, help="the memory's file")
    parser.add_argument("question", nargs="?", default="", help="words; <name> finds what is called so")
    parser.add_argument("--image", type=Path, metavar="FILE", help="a picture to recognise things in")
    parser.add_argument(
        "--k", type=natural, default=3, metavar="N", help="how many concepts (3); all that are named"
    )
    parser.add_argument("--model", help="ask this model too, with what was found in its prompt")
    parser.add_argument(
        "--regions", choices=("whole", "grid"), default="grid", help="looked up in the picture"
    )
    parser.add_argument("--max-new-tokens", type=positive, default=64, metavar="N", help="default 64")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Retrieve, ask if a model is named, and print."""
    if not args.question and args.image is None:
        raise ValueError("ask something: a question, a picture (--image), or both")
    if args.model and not args.question:
        raise ValueError("--model needs a question to answer")
    prepare_libraries(args.threads)
    told: dict[str, Any] = {"memory": str(args.memory), "question": args.question}
    if args.model:
        told |= _answer(args)
    else:
        told["memories"] = _recall(args)
    if args.json:
        print_json(told)
        return 0
    rows = [[one["name"], one["by"], f"{one['distance']:.3f}"] for one in told["memories"]]
    print_table("", ["name", "found by", "distance"], rows, right=[2])
    if args.model:
        print(told["answer"])
    return 0


def _recall(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Names and likeness of the picture; without a picture, the lines that the words are nearest to."""
    from vitrail.data.decoding import decode_rgb
    from vitrail.inference.concepts import ConceptStore
    from vitrail.inference.recall import by_words, retrieve
    from vitrail.models.experts.regions import Grid

    with ConceptStore.open(args.memory) as store:
        picture = decode_rgb(args.image.read_bytes()) if args.image is not None else None
        proposer = Grid() if args.regions == "grid" else None
        found = retrieve(store, picture, args.question, args.k, proposer=proposer)
        if picture is None and len(found) < args.k:
            held = {one.concept.name for one in found}
            more = by_words(store, args.question, args.k + len(held))
            found += [one for one in more if one.concept.name not in held][: args.k - len(found)]
        return [
            {
                "name": one.concept.name,
                "by": one.by,
                "distance": round(one.distance, 6),
                "info": one.concept.info,
            }
            for one in found
        ]


def _answer(args: argparse.Namespace) -> dict[str, Any]:
    from vitrail.inference.answerers import question
    from vitrail.inference.generation import GenerationSettings, generate
    from vitrail.inference.methods import TRACE, using
    from vitrail.models.loading import load
    from vitrail.recipes.assembly import place

    bundle = place(load(args.model))
    images = [] if args.image is None else [{"type": "image", "path": str(args.image.absolute())}]
    chat = question(args.question, images=images)
    settings = {
        "memory": str(args.memory),
        "k": args.k,
        "regions": args.regions,
        "room": args.max_new_tokens,
    }
    with using(bundle, [("rap", settings)]) as remembering:
        prompt = remembering.encoder.encode(chat, add_generation_prompt=True)
        (reply,) = generate(remembering, [chat], GenerationSettings(max_new_tokens=args.max_new_tokens))
    found = prompt.meta.get(TRACE, {}).get("rap", {})
    return {"memories": found.get("memories", []), "model": args.model, "answer": reply.text}
