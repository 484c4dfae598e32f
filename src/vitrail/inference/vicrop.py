"""ViCrop: the model looks again at a crop that its own attention chose, with no training.

Zhang et al. 2025, "MLLMs Know Where to Look: Training-free Perception of Small Visual Details with Multimodal LLMs"
(arXiv 2502.17422). The question's map over the picture (:mod:`vitrail.inference.importance`) gives a box
(:mod:`vitrail.inference.cropping`), and the crop stands behind the picture in the prompt that is answered.

The map is read off the view that shows the whole picture (LLaVA-1.5's only one, an overview or thumbnail elsewhere), of
the chat's last picture. A chat without pictures stays as it is.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from PIL import Image as PILImage
from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.image_plans.plan import ImagePlan, ImagePlanner, plans_of
from vitrail.data.records import Chat, Image, Text
from vitrail.inference import importance
from vitrail.inference.cropping import Box, select_crop, tile_boxes, tile_map
from vitrail.inference.inputs import model_inputs
from vitrail.inference.methods import InferenceMethod, Rewritten
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

NATIVE_BASE = 224
"""Base of models that see a picture at its own resolution, as published for Qwen2.5-VL."""


class ViCrop(InferenceMethod):
    """See the module."""

    changes: ClassVar[str] = "the pictures of the prompt"

    class Config(BaseModel):
        """How the crop is chosen.

        ``map``: ``relative`` attention, ``gradient`` of attention, or ``pixels``' gradient. To compare with: ``random``
        puts a box of the relative map's size anywhere, and ``given`` takes the box that the data names (``meta.box``,
        or the thing that a scene's question is about). ``layer``: of the decoder, ``mean`` over all but the last, or
        null for the one at 0.45 of the depth. ``base``: pixels of the smallest crop (default: the side that the model
        sees; 224 at native resolution). ``general``: the request that maps are relative to. ``tile``: pictures larger
        than this many pixels are looked at in tiles (published for V*: 1024); null for never.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        map: Literal["relative", "gradient", "pixels", "random", "given"] = "relative"
        layer: int | Literal["mean"] | None = None
        base: int | None = Field(default=None, ge=1)
        general: str = Field(default="Write a general description of the image.", min_length=1)
        tile: int | None = Field(default=None, ge=1)

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def rewrite(self, bundle: Bundle, chat: Chat, root: Path | None) -> Rewritten:
        """The chat with a crop behind its last picture; the trace has its ``box`` in pixels.

        ValueError for a model or picture that gives no map.
        """
        if not chat.images:
            return Rewritten(chat)
        picture = chat.images[-1].open(root)
        box = self._box(bundle, chat, picture, root)
        return Rewritten(with_crop(chat, as_part(picture.crop(box))), {"box": list(box)})

    def require_live(self, bundle: Bundle) -> None:
        """ValueError for a model without pictures, or for the crop that the data names."""
        _require_pictures(bundle)
        if self.config.map == "given":
            raise ValueError(
                "map is 'given', which takes the box from a record's meta.box, and a question that is asked live has "
                "none; use relative or gradient"
            )

    def told(self, chat: Chat, trace: Mapping[str, Any]) -> dict[str, Any]:
        """The box, in pixels of the picture ``picture`` (from 0) of the chat's, whose ``size`` is told."""
        if "box" not in trace:
            return {}
        shown = chat.images[-1]
        size = (shown.width, shown.height) if shown.width and shown.height else shown.open().size
        return {"picture": len(chat.images) - 1, "size": list(size), "box": list(trace["box"])}

    def map(self, bundle: Bundle, chat: Chat, root: Path | None = None) -> np.ndarray:
        """Importance ``(rows, cols)`` over the chat's last picture, or over the part of it that the model sees."""
        return self._map(bundle, chat, chat.images[-1].open(root), root)

    def _box(self, bundle: Bundle, chat: Chat, picture: PILImage.Image, root: Path | None) -> Box:
        if self.config.map == "given":
            return given_box(chat, picture.size)
        left, top, size = 0, 0, picture.size
        if self._tiles(picture):
            found = tile_map(picture, lambda one: self._map(bundle, chat, one, root), self.config.tile or 1)
        else:
            found = self._map(bundle, chat, picture, root)
            plan = plans(bundle, chat, picture.size, root)[-1]
            left, top, size = _seen_part(plan.tiles[whole_view(plan)].box, picture.size)
        x1, y1, x2, y2 = select_crop(found, size, self.config.base or base_of(bundle, picture.size))
        wide, high = picture.size
        box = (max(left + x1, 0), max(top + y1, 0), min(left + x2, wide), min(top + y2, high))
        return _elsewhere(box, picture, chat) if self.config.map == "random" else box

    def _tiles(self, picture: PILImage.Image) -> bool:
        if self.config.tile is None:
            return False
        rows = tile_boxes(picture.size, self.config.tile)
        return len(rows) * len(rows[0]) > 1

    def _map(self, bundle: Bundle, chat: Chat, picture: PILImage.Image, root: Path | None) -> np.ndarray:
        """The map of ``picture`` in the place of the chat's last one."""
        chat = with_last_picture(chat, as_part(picture))

        def read(look: Callable[[View], np.ndarray], general: bool = False) -> np.ndarray:
            asked = with_question(chat, self.config.general) if general else chat
            return look(View.of(bundle, asked, picture.size, root))

        kind, layer = self.config.map, self.config.layer
        if kind == "gradient":
            return read(
                lambda view: importance.gradient_attention(bundle.model, view.inputs, view.span, layer)
            )
        if kind == "pixels":

            def look(view: View) -> np.ndarray:
                return importance.pixel_gradient(bundle.model, view.inputs, view.number)

            ratio = importance.relative(read(look), read(look, general=True))
            view = View.of(bundle, chat, picture.size, root)
            left, top, (wide, high) = _seen_part(view.box, picture.size)
            seen = picture.crop((left, top, left + wide, top + high))
            return importance.pooled(
                ratio * importance.edges(seen, *ratio.shape), view.span.rows, view.span.cols
            )

        def attention(view: View) -> np.ndarray:
            return importance.answer_to_image_attention(bundle.model, view.inputs, view.span, layer)

        return importance.relative(read(attention), read(attention, general=True))


@dataclass(frozen=True)
class View:
    """A prompt as the model gets it, and the view in it that shows the whole of the last picture.

    ``number`` is that view's among all of the prompt's; ``box`` the part of the picture that it shows, in fractions.
    """

    inputs: dict[str, Any]
    span: importance.ImageSpan
    number: int
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, bundle: Bundle, chat: Chat, size: tuple[int, int], root: Path | None = None) -> View:
        """ValueError where the tokens of that view are no grid."""
        encoded = bundle.encoder.encode(chat, add_generation_prompt=True, root=root)
        *before, plan = plans(bundle, chat, size, root)
        frame = whole_view(plan)
        mine = (
            (encoded.item == len(before)) & (encoded.frame == frame) & (encoded.row >= 0) & (encoded.col >= 0)
        )
        places = np.flatnonzero(mine)
        if not len(places):
            raise ValueError("the prompt shows no grid of the whole picture, so there is no map of it")
        order = np.lexsort((encoded.col[places], encoded.row[places]))
        rows, cols = int(encoded.row[places].max()) + 1, int(encoded.col[places].max()) + 1
        span = importance.ImageSpan(places[order], rows, cols)
        inputs = model_inputs(bundle.model, bundle.collator()([encoded]))
        number = sum(len(one.tiles) for one in before) + frame
        return cls(inputs, span, number, plan.tiles[frame].box)


def plans(bundle: Bundle, chat: Chat, size: tuple[int, int], root: Path | None) -> list[ImagePlan]:
    """The plans of a chat's pictures, the last of which has ``size``. ValueError for a model that takes none."""
    planner = _require_pictures(bundle)
    before = [
        (one.width, one.height) if one.width and one.height else one.open(root).size
        for one in chat.images[:-1]
    ]
    return plans_of(planner, [*before, size])


def _require_pictures(bundle: Bundle) -> ImagePlanner:
    if bundle.encoder.planner is None:
        raise ValueError(f"{bundle.name} takes no pictures, so there is nothing to crop")
    return bundle.encoder.planner


def whole_view(plan: ImagePlan) -> int:
    """Which tile of a plan shows most of the picture."""
    areas = [(one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) for one in plan.tiles]
    return int(np.argmax(areas))


def base_of(bundle: Bundle, size: tuple[int, int]) -> int:
    """The side, in pixels, at which the model sees a picture; 224 for one that sees it at its own resolution."""
    planner = bundle.encoder.planner
    assert planner is not None
    plans = [planner(width, height) for width, height in (size, (2 * size[0], 2 * size[1]))]
    sides = {min(plan.tiles[whole_view(plan)].size) for plan in plans}
    side = sides.pop()
    return side if not sides and side > 0 else NATIVE_BASE


def with_crop(chat: Chat, crop: Image) -> Chat:
    """The chat with ``crop`` right behind its last picture."""
    return _at_last_picture(chat, lambda picture: (picture, crop))


def with_last_picture(chat: Chat, picture: Image) -> Chat:
    """The chat with another last picture."""
    return _at_last_picture(chat, lambda _: (picture,))


def with_question(chat: Chat, text: str) -> Chat:
    """The chat whose last turn asks ``text``, with the pictures that it has."""
    last = chat.messages[-1]
    content = (*(part for part in last.content if not isinstance(part, Text)), Text(text=text))
    return chat.model_copy(
        update={"messages": (*chat.messages[:-1], last.model_copy(update={"content": content}))}
    )


def _at_last_picture(chat: Chat, change: Callable[[Image], tuple[Image, ...]]) -> Chat:
    messages = list(chat.messages)
    for place in reversed(range(len(messages))):
        content = list(messages[place].content)
        there = [index for index, part in enumerate(content) if isinstance(part, Image)]
        if there:
            content[there[-1] : there[-1] + 1] = change(content[there[-1]])  # type: ignore[arg-type]
            messages[place] = messages[place].model_copy(update={"content": tuple(content)})
            return chat.model_copy(update={"messages": tuple(messages)})
    raise ValueError("the chat has no picture")


def as_part(picture: PILImage.Image) -> Image:
    """A decoded picture as a part of a chat."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=picture.width, height=picture.height)


def given_box(chat: Chat, size: tuple[int, int]) -> Box:
    """The box of what is asked about, as the data names it. ValueError where it names none, or none in the picture."""
    meta = chat.meta
    box = meta.get("box")
    if box is None and meta.get("about") and "objects" in meta.get("scene", {}):
        box = meta["scene"]["objects"][meta["about"][0]]["box"]
    if box is None:
        raise ValueError(
            "map is 'given', but this record has no meta.box; give left, top, right, bottom in pixels"
        )
    left, top, right, bottom = (int(edge) for edge in box)
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise ValueError(f"meta.box {list(box)} does not lie in a picture of {size[0]} × {size[1]} pixels")
    return (left, top, right, bottom)


def _seen_part(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[int, int, tuple[int, int]]:
    """Left, top and size, in pixels of the picture, of what a view shows (some of it may be padding)."""
    (left, top, right, bottom), (width, height) = box, size
    x, y = round(left * width), round(top * height)
    return x, y, (max(round(right * width) - x, 1), max(round(bottom * height) - y, 1))


def _elsewhere(box: Box, picture: PILImage.Image, chat: Chat) -> Box:
    """A box of the same size anywhere in the picture, drawn by what is asked about what."""
    wide, high = box[2] - box[0], box[3] - box[1]
    texts = [part.text for message in chat.messages for part in message.content if isinstance(part, Text)]
    draw = random.Random(key("vicrop", picture.tobytes(), *texts))
    left, top = draw.randint(0, picture.width - wide), draw.randint(0, picture.height - high)
    return (left, top, left + wide, top + high)


@dataclass(frozen=True)
class Looked:
    """What :func:`look_again` found."""

    answer: str
    cropped_answer: str
    box: Box | None
    map: np.ndarray | None


def look_again(
    bundle: Bundle, chat: Chat, config: ViCrop.Config | None = None, *, root: Path | None = None
) -> Looked:
    """The model's answer, its answer with the crop, the crop's box and the map (None where the map is not read)."""
    from vitrail.inference.generation import GenerationSettings, generate

    method = ViCrop(config)
    done = method.rewrite(bundle, chat, root)
    settings = GenerationSettings(max_new_tokens=20)
    first, second = (generate(bundle, [one], settings, root=root)[0].text for one in (chat, done.chat))
    reads = bool(chat.images) and method.config.map not in ("random", "given") and method.config.tile is None
    found = method.map(bundle, chat, root) if reads else None
    return Looked(first, second, tuple(done.trace["box"]) if done.trace else None, found)
