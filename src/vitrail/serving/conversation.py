"""OpenAI's messages as a record: pictures come as data URLs, or were fetched from their addresses before."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence

from vitrail.data.decoding import PICTURE_FORMATS, decode_rgb
from vitrail.data.fetching.failures import Failed
from vitrail.data.fetching.pictures import stated
from vitrail.data.readers.problems import shown
from vitrail.data.records import Chat, Content, Image, Message, Text, ToolCall
from vitrail.serving.errors import Refused, printable
from vitrail.serving.fetching import AS_DATA
from vitrail.serving.requests import Call, ImagePart, SaidMessage
from vitrail.serving.settings import Limits

_NONE = f"no picture that is read here ({', '.join(PICTURE_FORMATS)})"
_DATA = re.compile(r"data:(?:image/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)


def pictures_shown(messages: Sequence[SaidMessage], limits: Limits) -> dict[str, str]:
    """The URL of each picture, by where it stands. :class:`Refused` for one too many, or in another's turn."""
    found: dict[str, str] = {}
    for number, message in enumerate(messages):
        said = message.content
        for place, part in enumerate(said if isinstance(said, list) else []):
            if not isinstance(part, ImagePart):
                continue
            where = f"messages[{number}].content[{place}]"
            if len(found) == limits.images:
                raise Refused(
                    400, f"{where} is one picture too many; at most {limits.images} go", param=where
                )
            if message.role != "user":
                raise Refused(
                    400, f"{where}: only the user shows pictures; move it to a user's turn", param=where
                )
            found[f"{where}.image_url.url"] = part.image_url.url
    return found


def chat_of(
    messages: Sequence[SaidMessage], limits: Limits, fetched: Mapping[str, bytes] | None = None
) -> Chat:
    """The chat that a request asks; ``fetched`` as of :func:`picture`.

    :class:`Refused` names the message and what is wrong with it.
    """
    turns = []
    shown_here = pictures_shown(messages, limits)
    for number, message in enumerate(messages):
        parts: list[Content] = []
        said = message.content
        for place, part in enumerate(said if isinstance(said, list) else []):
            if isinstance(part, ImagePart):
                where = f"messages[{number}].content[{place}].image_url.url"
                parts.append(picture(shown_here[where], where, limits, fetched))
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


def picture(url: str, where: str, limits: Limits, fetched: Mapping[str, bytes] | None = None) -> Image:
    """The picture of a data URL, or of an address in ``fetched``, decoded once to see that it can be.

    ``fetched``: what was at the addresses of the request; None where the server fetches none. :class:`Refused` for any
    other URL, and for what is no picture.
    """
    if fetched is not None and url in fetched:
        return _there(fetched[url], where, limits)
    begins = _DATA.match(url)
    if begins is None:
        what = shown(url.partition(",")[0], 40)
        taken = (
            "addresses and paths are not opened here"
            if fetched is None
            else "only http and https addresses are fetched, and no path is opened"
        )
        raise Refused(400, printable(f"{where} is {what}; {taken}, {AS_DATA}"), param=where)
    try:
        raw = base64.b64decode(url[begins.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{where} is no base64 ({error}); {AS_DATA}", param=where) from None
    try:
        width, height = decode_rgb(raw, max_pixels=limits.pixels).size
    except ValueError as error:
        raise Refused(400, printable(f"{where}: {error}"), param=where) from None
    return Image(bytes=raw, width=width, height=height)


def _there(raw: bytes, where: str, limits: Limits) -> Image:
    """What was at an address. If it is no picture, nothing of it is told: the client may not be meant to see it."""
    try:
        stated(raw, limits.pixels)
        width, height = decode_rgb(raw, max_pixels=limits.pixels).size
    except Failed as error:
        many = error.reason == "too many pixels"
        what = f"a picture of more than {limits.pixels:,} pixels" if many else _NONE
    except ValueError:
        what = "a broken picture"
    else:
        return Image(bytes=raw, width=width, height=height)
    message = f"{where}: what is at this address is {what}; name another, or {AS_DATA}"
    raise Refused(400, message, param=where, code="invalid_image_url")
