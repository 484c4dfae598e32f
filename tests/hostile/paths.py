"""Pictures under unusual names, and paths that must not be followed."""

from __future__ import annotations

import os
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.case import Case, lines, noise, row, saved


def named(name: str) -> Case:
    """A whole picture under an unusual name."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(saved(noise(), "PNG"))
        return lines(folder, row(name))

    return Case(f"a picture called {name[:30]!r}", make, "good", pixels=noise())


def at(path: Any, words: str, prepare: Callable[[Path], None] = lambda folder: None) -> Case:
    """A row whose picture's path must be refused."""

    def make(folder: Path) -> Path:
        (folder / "rows").mkdir()
        (folder / "outside.png").write_bytes(saved(noise(), "PNG"))
        prepare(folder / "rows")
        return lines(folder / "rows", row(path))

    return Case(f"a picture at {str(path)[:40]!r}", make, "bad", words)


def paths() -> list[Case]:
    nfc, nfd = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")
    good = [
        "a b.png",
        "ü.png",
        nfc,
        nfd,
        "\u202egnp.exe",
        "שלום.png",
        "🦊.png",
        "n" * 251 + ".png",
        "%2e%2e.png",
    ]
    good += ["a\nb.png", "'\".png", "-rf.png", "~.png", "CON.png", "é" * 125 + ".png"]

    def link(name: str, target: str) -> Callable[[Path], None]:
        return lambda folder: (folder / name).symlink_to(target)

    def other_form(folder: Path) -> None:
        (folder / nfd).write_bytes(saved(noise(), "PNG"))

    def listening(folder: Path) -> None:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path may have 107 bytes
        try:
            socket.socket(socket.AF_UNIX).bind("s.png")
        finally:
            os.chdir(here)

    def sparse(folder: Path) -> None:
        with open(folder / "big.png", "wb") as file:
            file.truncate(1 << 40)

    bad = [
        at("none.png", "does not exist"),
        at("none/none.png", "does not exist"),
        at("", "outside the file's folder"),
        at(".", "outside the file's folder"),
        at("../outside.png", "outside the file's folder"),
        at("x/../../outside.png", "outside the file's folder"),
        at("/etc/passwd", "outside the file's folder"),
        at("file:///etc/passwd", "outside the file's folder"),
        at("C:\\pictures\\a.png", "does not exist"),
        at("a\0.png", "null byte"),
        at("n" * 300, "cannot be followed|does not exist"),
        at("x/" * 3000 + "a.png", "cannot be followed|does not exist"),
        at("rows.jsonl/a.png", "does not exist"),
        at("out.png", "outside the file's folder", link("out.png", "../outside.png")),
        at("far/passwd", "outside the file's folder", link("far", "/etc")),
        at("loop.png", "cannot be followed|outside", link("loop.png", "loop.png")),
        at("zero.png", "outside|device", link("zero.png", "/dev/zero")),
        at("pipe.png", "a named pipe", lambda folder: os.mkfifo(folder / "pipe.png")),
        at("s.png", "a socket", listening),
        at("inner", "a folder", lambda folder: (folder / "inner").mkdir()),
        at("big.png", "bytes, more than", sparse),
        at(nfc, "Unicode's NFD form", other_form),
        at("https://x.org/a.png", "is not fetched"),
        at("\ud800.png", "surrogate"),
    ]
    return [named(name) for name in good] + bad
