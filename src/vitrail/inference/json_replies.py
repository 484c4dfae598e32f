"""The one JSON object in what a language model wrote: fenced, padded with words, or bare."""

from __future__ import annotations

import json
from typing import Any


def json_object(text: str) -> dict[str, Any] | None:
    """The object in ``text``; None where there is none, or where there are several that differ.

    Objects inside an object belong to it. What is no JSON (single quotes, a trailing comma) is none.
    """
    decoder, found, place = json.JSONDecoder(), [], text.find("{")
    while place >= 0:
        end = place + 1
        try:
            value, end = decoder.raw_decode(text, place)
            found.append(value)
        except (ValueError, RecursionError):
            pass
        place = text.find("{", end)
    if not found or any(one != found[0] for one in found[1:]):
        return None
    return dict(found[0])
