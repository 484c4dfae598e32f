"""``vitrail chat MODEL``: a conversation with pictures, on a terminal, through a pipe, or one question."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vitrail.cli.chat_lines import COMMANDS, Command, Say, parse, picture_argument
from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.parsing import (
    add_json,
    add_methods,
    add_threads,
    methods_of,
    natural,
    not_negative,
    positive,
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a run's or a model's folder, or a hub name")
    parser.add_argument("question", nargs="?", help="ask this, print the answer, and leave")
    parser.add_argument("--image", action="append", default=[], metavar="PATH", help="a picture (repeatable)")
    parser.add_argument("--system", metavar="TEXT", help="the system message")
    parser.add_argument("--load", type=Path, metavar="FILE", help="go on with this JSONL's last talk")
    parser.add_argument("--max-new-tokens", type=positive, default=128, metavar="N", help="default 128")
    parser.add_argument(
        "--temperature", type=not_negative, metavar="T", default=0.0, help="0 (default): the likeliest word"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="draws the words when the temperature is above 0"
    )
    add_methods(parser)
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Load the model and talk."""
    with ExitStack() as stack:
        return _talk(args, stack)


def _talk(args: argparse.Namespace, stack: ExitStack) -> int:
    pictures = [picture_argument(path) for path in args.image]
    chatting = Chatting(_conversation(args, stack), pictures)
    if args.question is not None:
        answer = "".join(chatting.answer(args.question, echo=not args.json))
        if args.json:
            print_json({"question": args.question, "images": list(map(str, pictures)), "answer": answer})
        return 0
    if args.json:
        raise ValueError("--json needs a question on the command line")
    if sys.stdin.isatty():
        print(f"Talking to {args.model}. /help lists the commands; a picture's path in a line is a picture.")
        _complete_paths()
        return chatting.loop(_typed_lines(), terminal=True)
    return chatting.loop(sys.stdin, terminal=False)


def _conversation(args: argparse.Namespace, stack: ExitStack) -> Any:
    from vitrail.inference.conversation import Conversation
    from vitrail.inference.generation import GenerationSettings
    from vitrail.inference.methods import using
    from vitrail.models.loading import load
    from vitrail.recipes.assembly import place

    prepare_libraries(args.threads)
    settings = GenerationSettings(
        max_new_tokens=args.max_new_tokens, temperature=args.temperature, seed=args.seed
    )
    bundle = place(load(args.model))
    if bundle.family.kind in ("encoder", "dual encoder"):
        raise ValueError(
            f"{args.model} is {bundle.family.about}, which writes no text; name a language model or a multimodal one"
        )
    bundle = stack.enter_context(using(bundle, methods_of(args)))
    if args.load is not None:
        return Conversation.load(args.load, bundle, settings=settings, overflow="drop_oldest")
    return Conversation(bundle, settings=settings, system=args.system, overflow="drop_oldest")


class Chatting:
    """The loop around a conversation: pictures wait for the next question; errors are told and forgotten."""

    def __init__(self, conversation: Any, pictures: list[Path]) -> None:
        self.conversation = conversation
        self.waiting = list(pictures)

    def loop(self, lines: Iterable[str], terminal: bool) -> int:
        """Answer line by line. Without a terminal the first error ends the loop, with exit code 2."""
        for line in lines:
            if not line.strip():
                continue
            try:
                meant = parse(line)
                if isinstance(meant, Command):
                    if meant.name == "/exit":
                        break
                    self.command(meant)
                else:
                    self.say(meant)
            except (ValueError, OSError) as error:
                if not terminal:
                    raise
                print(error)
            except KeyboardInterrupt:
                if not terminal:
                    raise
                print("\n(stopped; /exit leaves)")
        return 0

    def say(self, said: Say) -> None:
        """Ask, with the pictures that wait and those of the line. Pictures alone wait for a question."""
        for path in said.pictures:
            print(f"(picture: {path})")
        self.waiting += said.pictures
        if said.text:
            for _ in self.answer(said.text, echo=True):
                pass

    def answer(self, text: str, echo: bool) -> Iterator[str]:
        """The answer piece by piece; printed as it comes with ``echo``."""
        pictures, self.waiting = self.waiting, []
        try:
            for piece in self.conversation.say(text, images=pictures):
                if echo:
                    print(piece, end="", flush=True)
                yield piece
        except ValueError:
            self.waiting = pictures  # the question was refused: its pictures are still there
            raise
        finally:
            if echo:
                print(flush=True)
                if self.conversation.dropped:
                    dropped = self.conversation.dropped
                    print(f"(the {dropped} oldest questions no longer fit; /reset begins anew)")

    def command(self, command: Command) -> None:
        """Carry out ``/image``, ``/undo``, ``/save``, ``/reset`` or ``/help``."""
        if command.name == "/image":
            path = picture_argument(command.argument)
            self.waiting.append(path)
            print(f"(picture: {path})")
        elif command.name == "/undo":
            if self.waiting:
                print(f"(took back the picture {self.waiting.pop()})")
            else:
                self.conversation.undo()
                print("(took back the last question)")
        elif command.name == "/save":
            if not command.argument:
                raise ValueError("/save wants a file name, for example /save talk.jsonl")
            self.conversation.save(Path(command.argument).expanduser())
            print(f"(saved to {command.argument})")
        elif command.name == "/reset":
            self.conversation.reset()
            self.waiting = []
            print("(a new conversation)")
        else:
            width = max(map(len, COMMANDS))
            print("\n".join(f"{name:<{width}}  {about}" for name, about in COMMANDS.items()))


def _typed_lines() -> Iterator[str]:
    """What is typed, until Ctrl-D."""
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def _complete_paths() -> None:
    """Tab completes paths, where Python has readline."""
    try:
        import glob
        import readline
    except ImportError:
        return

    def complete(text: str, state: int) -> str | None:
        found = sorted(glob.glob(f"{Path(text).expanduser() if text.startswith('~') else text}*"))
        found = [f"{path}/" if Path(path).is_dir() else path for path in found]
        commands = [f"{name} " for name in COMMANDS if text.startswith("/") and name.startswith(text)]
        return [*commands, *found, None][state]

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n")
    readline.parse_and_bind("tab: complete")
