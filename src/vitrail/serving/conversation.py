"""OpenAI's messages as a record: pictures come as data URLs, and from nowhere else."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence

from vitrail.data.decoding import decode_rgb
from vitrail.data.readers.problems import shown
from vitrail.data.records import Chat, Content, Image, Message, Text, ToolCall
from vitrail.serving.errors import Refused, printable
from vitrail.serving.requests import Call, ImagePart, SaidMessage
from vitrail.serving.settings import Limits

_DATA = re.compile(r"data:(?:image/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)
_AS_DATA = "send the picture itself as data:image/png;base64,…"


def chat_of(messages: Sequence[SaidMessage], limits: Limits) -> Chat:
    """The chat that a request asks. :class:`Refused` names the message and what is wrong with it."""
    turns, pictures = [], 0
    for number, message in enumerate(messages):
        parts: list[Content] = []
        said = message.content
        for place, part in enumerate(said if isinstance(said, list) else []):
            where = f"messages[{number}].content[{place}]"
            if isinstance(part, ImagePart):
                pictures += 1
                if pictures > limits.images:
                    raise Refused(
                        400, f"{where} is one picture too many; at most {limits.images} go", param=where
                    )
                if message.role != "user":
                    raise Refused(
                        400, f"{where}: only the user shows pictures; move it to a user's turn", param=where
                    )
                parts.append(picture(part.image_url.url, f"{where}.image_url.url", limits))
            else:
                parts.append(Text(text=part.text))
        content = (Text(text=said),) if isinstance(said, str) else tuple(parts)
        content += tuple(_called(call, f"messages[{number}].tool_calls") for call in message.tool_calls or ())
        if not content:
            where = f"messages[{number}].content"
            raise Refused(400, f"{where} is an empty list; give a text or a picture", param=where)
        role = "system" if message.role == "developer" else message.role
        turns.append(Message(role=role, content=content))
    if turns[-1].role not in ("user", "tool"):
        where = f"messages[{len(turns) - 1}].role"
        raise Refused(400, f"{where} is {turns[-1].role!r}; the last turn must be the user's", param=where)
    return Chat(messages=tuple(turns))


def _called(call: Call, where: str) -> ToolCall:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise Refused(400, f"{where}: the arguments of {call.id[:40]!r} are no JSON object", param=where)
    return ToolCall(name=call.function.name, arguments=arguments, id=call.id)


def picture(url: str, where: str, limits: Limits) -> Image:
    """The picture of a data URL, decoded once to see that it can be. :class:`Refused` for any other address."""
    begins = _DATA.match(url)
    if begins is None:
        what = shown(url.partition(",")[0], 40)
        raise Refused(
            400,
            printable(f"{where} is {what}; addresses and paths are not opened here, {_AS_DATA}"),
            param=where,
        )
    try:
        raw = base64.b64decode(url[begins.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{where} is no base64 ({error}); {_AS_DATA}", param=where) from None
    try:
        width, height = decode_rgb(raw, max_pixels=limits.pixels).size
    except ValueError as error:
        raise Refused(400, printable(f"{where}: {error}"), param=where) from None
    return Image(bytes=raw, width=width, height=height)
