"""argparse with errors that say which word was meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from vitrail.registry import nearest


class UsageError(ValueError):
    """A command line that cannot be understood; ``usage`` is the right form."""

    def __init__(self, message: str, usage: str = "") -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """Raises :class:`UsageError`, with the nearest option, instead of leaving the process."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _Formatter, **options})

    def error(self, message: str) -> NoReturn:
        """Raise; argparse's own message in our words."""
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown and unknown[1].startswith("-"):
            options = [
                name for action in self._actions for name in action.option_strings if name.startswith("--")
            ]
            message = f"there is no option {unknown[1]}; {nearest(unknown[1], options)}"
        elif unknown:
            message = f"{unknown[1]!r} is one word too many"
        raise UsageError(f"{self.prog}: {message}", self.format_usage().strip())


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The trailing ``key=value`` words."""
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="change a field: seed=1 stages.0.max_steps=20"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """``--run`` and ``--resume``."""
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder (default: runs/<name>)")
    parser.add_argument(
        "--resume",
        choices=("auto", "never"),
        default="auto",
        help="auto (default): go on where the run stopped; never: refuse a folder that holds a run",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_methods(parser: argparse.ArgumentParser) -> None:
    """``--method``."""
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME[:FIELD=VALUE,…]",
        help="a method of inference, such as vicrop or vicrop:map=gradient (repeatable)",
    )


def methods_of(args: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """The methods named on the command line with their settings, checked. ValueError for a wrong one."""
    return methods_named(args.method)


def methods_named(texts: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Methods as words name them, with their settings, checked. ValueError for a wrong one."""
    if not texts:
        return []
    from vitrail.inference.methods import parse
    from vitrail.settings.component import filled, require_known

    named = [parse(text) for text in texts]
    for name, _ in named:
        require_known("inference", name)
    return [(name, filled("inference", name, settings)) for name, settings in named]


def part_named(text: str) -> str | dict[str, Any]:
    """A part of a task as a word names it: ``name``, or ``name:field=value,…``. ValueError if malformed."""
    if ":" not in text:
        return text
    from vitrail.inference.methods import parse

    name, settings = parse(text)
    return {"name": name, **settings}


def add_threads(parser: argparse.ArgumentParser) -> None:
    """``--threads``."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads for torch (default: torch's own choice)"
    )


def positive(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r"\d+", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def natural(text: str) -> int:
    """A whole number of 0 or more."""
    if not re.fullmatch(r"\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def not_negative(text: str) -> float:
    """A number of 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number
