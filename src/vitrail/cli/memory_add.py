"""``vitrail memory add MEMORY NAME --image FILE --info TEXT``: remember something."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, add_threads


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("memory", type=Path, help="the memory's file; made if it is not there")
    parser.add_argument("name", nargs="?", help="what it is called; <name> in a question finds it")
    parser.add_argument("--image", type=Path, metavar="FILE", help="a picture of it")
    parser.add_argument(
        "--box", type=box, metavar="X1,Y1,X2,Y2", help="the part of the picture that shows it, in pixels"
    )
    parser.add_argument("--info", default="", metavar="TEXT", help="a line about it")
    parser.add_argument("--category", default="", metavar="WORD", help="what kind of thing it is: dog, mug …")
    parser.add_argument("--replace", action="store_true", help="what is remembered under this name goes")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="every concept of a JSON file of RAP's, or every picture of a folder, under its file's name",
    )
    parser.add_argument(
        "--encoder",
        metavar="MODEL",
        help="for a new memory: the folder or hub name of a CLIP-like model (default: minilm, for words alone)",
    )
    add_threads(parser)
    add_json(parser)


def box(text: str) -> tuple[int, int, int, int]:
    """Four whole numbers."""
    try:
        x1, y1, x2, y2 = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no box; write x1,y1,x2,y2 in pixels") from None
    return x1, y1, x2, y2


def run(args: argparse.Namespace) -> int:
    """Read, embed, write, and say what is remembered now."""
    from vitrail.inference.concepts import ENCODER, Concept, ConceptStore, folder_concepts, read_concepts
    from vitrail.storage.memories import MemoryStore

    if (args.name is None) == (args.file is None):
        raise ValueError(
            "name what is to be remembered, or give a file of concepts with --from; one of the two"
        )
    if args.file is not None:
        wrong = next((n for n in ("image", "box", "info", "category") if getattr(args, n)), None)
        if wrong is not None:
            raise ValueError(
                f"--{wrong} is about one concept, and --from brings a file of them; leave one out"
            )
        concepts = folder_concepts(args.file) if args.file.is_dir() else read_concepts(args.file)
    elif args.image is not None:
        concepts = [
            Concept.pictured(args.name, args.image, box=args.box, info=args.info, category=args.category)
        ]
    elif args.box is not None:
        raise ValueError("--box is a part of a picture; give the picture with --image")
    else:
        concepts = [Concept(name=args.name, info=args.info, category=args.category)]
    for concept in concepts:
        concept.opened()
    prepare_libraries(args.threads)
    with MemoryStore(args.memory, writing=True) as store:
        known = store.setting(ENCODER)
        if known is not None and args.encoder not in (None, known):
            raise ValueError(
                f"{args.memory} has the encoder {known}; leave --encoder out, or make a new memory"
            )
        memory = ConceptStore(store, known or args.encoder or "minilm")
        memory.add(*concepts, replace=args.replace)
        told = {
            "memory": str(args.memory),
            "added": [one.name for one in concepts],
            "concepts": len(memory),
            "version": store.version,
            "encoder": store.setting(ENCODER),
        }
    if args.json:
        print_json(told)
    else:
        what = concepts[0].name if len(concepts) == 1 else f"{len(concepts):,} concepts"
        print(f"{args.memory} remembers {what} ({told['concepts']:,} in all)")
    return 0
