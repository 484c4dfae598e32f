"""The four kinds of record, over one set of content types.

A record is what a source yields and what a file holds a row of. Media are typed parts of the content, never
markers in a text: the string ``"<image>"`` in a :class:`Text` is text. A picture is a path (relative to the
file it was read from) or its encoded bytes; it is decoded where it is used.

Field names follow Hugging Face chat messages (``role``, ``content``, ``type``).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image as PILImage
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from vitrail.data.decoding import decode_rgb

Role = Literal["system", "user", "assistant", "tool"]


def _from_base64(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Raw = bytes  # inside a class with a field called "bytes" the plain name means the field

EncodedBytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda raw: base64.b64encode(raw).decode("ascii"), when_used="json"),
]


class Frozen(BaseModel):
    """Immutable, and refuses fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Frozen):
    """A piece of text."""

    type: Literal["text"] = "text"
    text: str


class Media(Frozen):
    """What pictures, videos and sounds share: exactly one of ``path``, ``bytes`` or ``url``."""

    path: str | None = None
    bytes: EncodedBytes | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Media:
        given = [name for name in ("path", "bytes", "url") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of 'path', 'bytes' (base64 in JSON) or 'url'; got {given or 'none'}"
            )
        return self

    def read(self, root: Path | None = None) -> Raw:
        """The encoded bytes; a relative ``path`` is looked up under ``root``. ValueError for a ``url``."""
        if self.bytes is not None:
            return self.bytes
        if self.path is None:
            raise ValueError(f"{self.type} at {self.url!r} is an address, and addresses are not fetched here")  # type: ignore[attr-defined]
        return (Path(root or ".") / self.path).read_bytes()


class Image(Media):
    """A picture. ``width`` and ``height`` in pixels, where known before decoding."""

    type: Literal["image"] = "image"
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)

    def open(self, root: Path | None = None) -> PILImage.Image:
        """Decode to RGB, turned as its EXIF says. ValueError if it cannot be decoded or is far too large."""
        return decode_rgb(self.read(root))


class Video(Media):
    """A video file, or its frames as pictures. ``fps`` is frames per second."""

    type: Literal["video"] = "video"
    frames: tuple[Image, ...] | None = None
    fps: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_origin(self) -> Video:
        given = [name for name in ("path", "bytes", "url", "frames") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of 'path', 'bytes', 'url' or 'frames'; got {given or 'none'}")
        return self


class Audio(Media):
    """A sound. ``sampling_rate`` in Hz."""

    type: Literal["audio"] = "audio"
    sampling_rate: int | None = Field(default=None, gt=0)


class Points(Frozen):
    """Points ``(x, y)`` in pixels of the picture number ``image`` of the record."""

    type: Literal["points"] = "points"
    points: tuple[tuple[float, float], ...]
    image: int = 0
    label: str | None = None


class Region(Frozen):
    """A region of the picture number ``image`` of the record, in pixels, in one of six shapes.

    ``box`` x1 y1 x2 y2; ``rotated`` centre x, centre y, width, height, degrees counter-clockwise; ``quad`` four
    corners; ``mask`` run-length encoding as COCO's (``{"size": [rows, cols], "counts": ...}``); ``box3d`` centre,
    size (metres), yaw pitch roll (radians); ``track`` a box for each frame index.
    """

    type: Literal["region"] = "region"
    image: int = 0
    label: str | None = None
    box: tuple[float, float, float, float] | None = None
    rotated: tuple[float, float, float, float, float] | None = None
    quad: tuple[float, float, float, float, float, float, float, float] | None = None
    mask: dict[str, Any] | None = None
    box3d: tuple[float, float, float, float, float, float, float, float, float] | None = None
    track: dict[int, tuple[float, float, float, float]] | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Region:
        shapes = ("box", "rotated", "quad", "mask", "box3d", "track")
        given = [name for name in shapes if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(shapes)}; got {given or 'none'}")
        return self


class Span(Frozen):
    """Characters ``start`` (included) to ``end`` (excluded) of the record's text, with a label."""

    type: Literal["span"] = "span"
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    label: str | None = None


class ToolCall(Frozen):
    """A call of the tool ``name``."""

    type: Literal["tool_call"] = "tool_call"
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    id: str | None = None


class Action(Frozen):
    """An action in a world: a discrete choice, or a vector of numbers."""

    type: Literal["action"] = "action"
    value: int | str | tuple[float, ...]


Content = Annotated[
    Text | Image | Video | Audio | Points | Region | Span | ToolCall | Action, Field(discriminator="type")
]


def _as_parts(value: Any) -> Any:
    return ({"type": "text", "text": value},) if isinstance(value, str) else value


Parts = Annotated[tuple[Content, ...], BeforeValidator(_as_parts)]
"""Typed content; a plain string is taken as one text."""


class Message(Frozen):
    """One turn. ``weight`` multiplies the loss of an assistant turn; 0 leaves it out of training."""

    role: Role
    content: Parts
    weight: float = Field(default=1.0, ge=0)

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, Text))


class Choices(Frozen):
    """The options of a multiple-choice question that the last user turn asks, and the right one's index."""

    options: tuple[Parts, ...] = Field(min_length=2)
    answer: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _answer_exists(self) -> Choices:
        if self.answer is not None and self.answer >= len(self.options):
            raise ValueError(
                f"answer is {self.answer}, but there are {len(self.options)} options (counted from 0)"
            )
        return self


class Record(Frozen):
    """What all kinds share: an identifier, and free ``meta`` that no method depends on silently."""

    id: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)


class Chat(Record):
    """A conversation. ``rejected`` is an answer that is worse than the last turn (preference data)."""

    kind: Literal["chat"] = "chat"
    messages: tuple[Message, ...] = Field(min_length=1)
    rejected: tuple[Message, ...] | None = None
    choices: Choices | None = None

    @property
    def images(self) -> list[Image]:
        """The pictures of the messages, in order of appearance."""
        return [part for message in self.messages for part in message.content if isinstance(part, Image)]


class Document(Record):
    """Interleaved text and media."""

    kind: Literal["document"] = "document"
    content: Parts = Field(min_length=1)

    @property
    def images(self) -> list[Image]:
        """The pictures, in order of appearance."""
        return [part for part in self.content if isinstance(part, Image)]


class Group(Record):
    """Items and their ``relation``: ``"pair"``, ``"triplet"``, ``"translation"``, ``"before_after"`` …"""

    kind: Literal["group"] = "group"
    relation: str
    items: tuple[Parts, ...] = Field(min_length=1)


class Step(Frozen):
    """One step of an episode: what was seen, what was done, what it earned."""

    observation: Parts
    action: Action | None = None
    reward: float | None = None


class Episode(Record):
    """Observations, actions and rewards towards ``goal``."""

    kind: Literal["episode"] = "episode"
    goal: Parts | None = None
    steps: tuple[Step, ...] = Field(min_length=1)


AnyRecord = Annotated[Chat | Document | Group | Episode, Field(discriminator="kind")]
