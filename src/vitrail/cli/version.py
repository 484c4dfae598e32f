"""``vitrail version``."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

from vitrail import __version__
from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "numpy", "pydantic")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("--short", action="store_true", help="the version number alone")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print versions, read from the packages' metadata: nothing is imported for it."""
    versions = {"vitrail": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    if args.short:
        print(__version__)
    elif args.json:
        print_json(versions)
    else:
        print("\n".join(f"{name} {version}" for name, version in versions.items()))
    return 0
