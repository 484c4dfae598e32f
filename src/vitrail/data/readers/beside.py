"""The media that a row carries beside its turns (``images``, ``videos``, ``audios``), and where they go.

Typed parts without an origin take the next medium of their kind. Where turns are plain strings, a marker such as
``<image>`` in a **user's** turn is the place of a medium if the markers there are as many as the media; a marker in
anybody else's turn is text, always. Media that nothing asks for stand before the first user turn's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from vitrail.data.readers.content import MEDIA, Row, medium
from vitrail.data.readers.problems import FieldError

COLUMNS = {
    "image": "image",
    "images": "image",
    "video": "video",
    "videos": "video",
    "audio": "audio",
    "audios": "audio",
}
"""Columns of media and their kind. A column of one kind a row, singular or plural."""

MARKER = re.compile("<(image|video|audio)>")


def markers(turns: Any) -> dict[str, int]:
    """How many markers of each kind the texts of the user's turns hold (string contents only)."""
    counts = dict.fromkeys(MEDIA, 0)
    for turn in turns:
        if isinstance(turn, dict) and turn.get("role") == "user" and isinstance(turn.get("content"), str):
            for kind in MARKER.findall(turn["content"]):
                counts[kind] += 1
    return counts


class Beside:
    """The media columns of a row, handed out in order."""

    def __init__(self, row: Row, columns: dict[str, str] | None = None):
        self.given: dict[str, list[tuple[str, Any]]] = {}
        for column, kind in (COLUMNS if columns is None else columns).items():
            values = row.get(column)
            if values is None:
                continue
            if self.given.get(kind):
                raise FieldError(column, f"the row has {column!r} and another column of its kind; keep one")
            values = values if isinstance(values, list) else [values]
            self.given[kind] = [
                (f"{column}[{n}]", value) for n, value in enumerate(values) if value is not None
            ]
        self._left: dict[str, Iterator[tuple[str, Any]]] = {
            kind: iter(items) for kind, items in self.given.items()
        }
        self._asked: dict[str, int] = dict.fromkeys(self.given, 0)

    def count(self, kind: str) -> int:
        """How many media of ``kind`` the row has."""
        return len(self.given.get(kind, ()))

    def take(self, kind: str, path: str) -> Row:
        """The next medium of ``kind``, for the part at ``path``."""
        self._asked[kind] = self._asked.get(kind, 0) + 1
        try:
            column, value = next(self._left[kind])
        except (KeyError, StopIteration):
            raise FieldError(
                path,
                f"this {kind} has no path or bytes, and the row's {kind}s ({self.count(kind)} of them) are used up",
            ) from None
        return medium(kind, value, column)

    def place_marked(
        self, turns: list[Row], path: str, always: Sequence[str] = (), newline: bool = False
    ) -> None:
        """Split the users' string contents at the markers of the media that the row has.

        ``always`` names the kinds whose markers mean media in this format even where the row has none (then the
        row is refused). With ``newline`` one line break between a marker and the text beside it belongs to the
        marker. :class:`FieldError` when markers and media differ in number.
        """
        found = markers(turns)
        kinds = []
        for kind in MEDIA:
            count, there = found[kind], self.count(kind)
            if count and (there or kind in always) and count != there:
                raise FieldError(
                    path,
                    f"the user's turns hold {count} times '<{kind}>', and the row has {there} {kind}s; make them "
                    f"equal, or take the marker out where it is only text",
                )
            if count and there:
                kinds.append(kind)
        if not kinds:
            return
        pattern = re.compile(f"<({'|'.join(kinds)})>")
        for n, turn in enumerate(turns):
            if turn.get("role") == "user" and isinstance(turn.get("content"), str):
                turn["content"] = self._split(turn["content"], pattern, f"{path}[{n}]", newline)

    def _split(self, text: str, pattern: re.Pattern[str], path: str, newline: bool) -> Any:
        pieces = pattern.split(text)
        if len(pieces) == 1:
            return text
        out: list[Row] = []
        for index, piece in enumerate(pieces):
            if index % 2:
                out.append(self.take(piece, path))
                continue
            if newline:
                piece = piece.removeprefix("\n") if index else piece
                piece = piece.removesuffix("\n") if index < len(pieces) - 1 else piece
            if piece:
                out.append({"type": "text", "text": piece})
        return out

    def place_rest(self, turns: Any, path: str) -> None:
        """Put media that nothing asked for before the first user turn's text, and see that none is left over."""
        for kind, items in self.given.items():
            if self._asked[kind] and self._asked[kind] != len(items):
                raise FieldError(
                    items[-1][0],
                    f"the messages ask for {self._asked[kind]} of the row's {len(items)} {kind}s",
                )
        unasked = [kind for kind, items in self.given.items() if items and not self._asked[kind]]
        if not unasked:
            return
        users = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
        if not users:
            raise FieldError(self.given[unasked[0]][0][0], "there is no user turn that could show it")
        for turn in users:
            for kind in unasked:
                if f"<{kind}>" in str(turn.get("content")):
                    raise FieldError(
                        path,
                        f"'<{kind}>' in a text part is text; write the place of the {kind} as a part "
                        f'{{"type": "{kind}"}} of a list content',
                    )
        shown_first = [medium(kind, value, column) for kind in unasked for column, value in self.given[kind]]
        content = users[0].get("content")
        text = [{"type": "text", "text": content}] if isinstance(content, str) else content
        users[0]["content"] = shown_first + text if isinstance(text, list) else content


def joined(
    parts: Sequence[Row], path: str, newline: bool = False, marked: bool = True
) -> tuple[str, list[Row]]:
    """The reverse: parts as one text with a marker for each medium, and the media in order.

    :class:`FieldError` for a part that is neither text nor a medium, for a medium where ``marked`` is false, and
    for a text that holds a marker of its own where ``marked`` is true.
    """
    text, media = "", []
    for n, part in enumerate(parts):
        here = f"{path}[{n}]"
        if part["type"] == "text":
            own = MARKER.search(part["text"]) if marked else None
            if own:
                raise FieldError(here, f"the text holds {own[0]!r}, which this format reads as a place")
            piece = part["text"]
        elif part["type"] in MEDIA and marked:
            media.append(part)
            piece = f"<{part['type']}>"
        elif part["type"] in MEDIA:
            raise FieldError(here, f"{part['type']}s stand in the user's turns alone in this format")
        else:
            raise FieldError(here, f"a {part['type']} part has no place in this format")
        if (newline and n and parts[n - 1]["type"] != "text") or (newline and n and part["type"] != "text"):
            text += "\n"
        text += piece
    return text, media
