"""``vitrail``: finds the sub-command, runs it, and turns what goes wrong into an exit code and one sentence.

Exit codes: 0 done; 1 failed, or ``data check`` found bad rows; 2 the command line, a recipe or data is wrong; 130
stopped by Ctrl-C. Nothing here imports torch: ``vitrail --help`` answers in a tenth of a second.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from vitrail.cli.commands import COMMANDS, Command
from vitrail.cli.parsing import Parser, UsageError
from vitrail.registry import nearest

ABOUT = "vitrail trains, measures and compares multimodal language models on your data, at your budget."
EPILOG = """\
exit codes: 0 done, 1 failed (data check: bad rows), 2 wrong command line, recipe or data, 130 stopped by Ctrl-C
--debug (anywhere) shows the traceback of an error. Start with: vitrail quickstart"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    # Small matrices in numpy (sprites) get slower by a pool of spinning threads. torch has threads of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or bool(os.environ.get("VITRAIL_DEBUG"))
    words = [word for word in words if word != "--debug"]
    try:
        return _dispatch(words, COMMANDS, "vitrail", ABOUT)
    except BrokenPipeError:
        # The reader (``| head``) has gone; give Python's own last flush somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        print(f"\nstopped. {stop}".rstrip(), file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def _dispatch(words: list[str], commands: dict[str, Command], prog: str, about: str) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(overview(commands, prog, about))
        return 0 if words else 2
    if prog == "vitrail" and words[0] in ("-V", "--version"):
        words = ["version", "--short"]
    name, rest = words[0], words[1:]
    command = commands.get(name)
    if command is None:
        kind = "option" if name.startswith("-") else "command"
        raise UsageError(
            f"{prog}: there is no {kind} {name!r}; {nearest(name, list(commands))}", f"see {prog} --help"
        )
    if command.children and (not command.module or (rest[:1] and rest[0] in command.children)):
        return _dispatch(rest, command.children, f"{prog} {name}", command.about)
    if not command.together and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        able = " and ".join(f"vitrail {other}" for other, one in COMMANDS.items() if one.together)
        raise UsageError(f"{prog} {name} runs in one process; {able} are what torchrun may start in several")
    arguments, run = command.load()
    parser = Parser(prog=f"{prog} {name}", description=f"{command.about[:1].upper()}{command.about[1:]}.")
    arguments(parser)
    try:
        return run(parser.parse_intermixed_args(rest, argparse.Namespace(words=rest)))
    except SystemExit as leave:  # argparse's --help
        return int(leave.code or 0)


def overview(commands: dict[str, Command], prog: str, about: str) -> str:
    """The help of a command that only has sub-commands."""
    width = max(map(len, commands))
    lines = [
        f"usage: {prog} <command> ...",
        "",
        f"{about[:1].upper()}{about[1:]}".rstrip(".") + ".",
        "",
        "commands:",
    ]
    lines += [f"  {name:<{width}}  {command.about}" for name, command in commands.items()]
    lines += ["", f"{prog} <command> --help explains one of them."]
    return "\n".join([*lines, EPILOG] if prog == "vitrail" else lines)


def whole_parser() -> argparse.ArgumentParser:
    """One parser of all sub-commands, for completion scripts."""
    parser = Parser(prog="vitrail", description=ABOUT)
    _add_children(parser, COMMANDS)
    return parser


def _add_children(parser: argparse.ArgumentParser, commands: dict[str, Command]) -> None:
    children = parser.add_subparsers(metavar="<command>", parser_class=Parser)
    for name, command in commands.items():
        child = children.add_parser(name, help=command.about, description=command.about)
        if command.module:
            command.load()[0](child)
        else:
            _add_children(child, command.children)


def _explain(error: Exception) -> int:
    """One clear sentence on stderr, and the exit code."""
    if isinstance(error, UsageError):
        print(f"{error}\n{error.usage}".rstrip(), file=sys.stderr)
        return 2
    if isinstance(
        error, (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
    ):
        print(f"vitrail: {_sentence(error)}", file=sys.stderr)
        return 2
    if isinstance(error, ImportError):
        print(f"vitrail: {_sentence(error)}", file=sys.stderr)
        return 1
    print(f"vitrail: {type(error).__name__}: {error}\n(--debug shows where)", file=sys.stderr)
    return 1


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return str(error)


if __name__ == "__main__":
    raise SystemExit(main())
