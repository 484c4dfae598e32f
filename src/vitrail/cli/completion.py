"""``vitrail completion bash|zsh|tcsh``, through shtab."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script.

    For bash: ``vitrail completion bash > ~/.local/share/bash-completion/completions/vitrail``.
    """
    try:
        import shtab
    except ImportError:
        raise ImportError("completion scripts need the package shtab: pip install shtab") from None
    from vitrail.cli.main import whole_parser

    print(shtab.complete(whole_parser(), shell=args.shell))
    return 0
