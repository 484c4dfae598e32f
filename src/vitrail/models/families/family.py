"""The seam *family*: what has to be told about a kind of model, so that everything here works with it.

Nothing outside this folder branches on a model's name. A family of somebody else's is told in a few lines, in any
package or script, and registered under its ``config.model_type`` before the model is loaded::

    # my_package.py
    from dataclasses import replace
    from vitrail import registry
    from vitrail.models.families.llava import LLAVA

    MINE = replace(LLAVA, model_type="my_llava", about="LLaVA with my projector", connector=("model.bridge",))
    registry.register("family", "my_llava", "my_package:MINE", "LLaVA with my projector")

A package that is installed does the same with an entry point of the group ``vitrail.components`` that is named
``family.my_llava``. The model's classes must be known to transformers (``AutoConfig.register`` and
``AutoModelForImageTextToText.register``, in the same package).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from vitrail.data.image_plans.plan import ImagePlanner
from vitrail.models.layout import Layout, Modality, Speaker

Kind = Literal["multimodal", "language", "encoder", "dual encoder"]
Positions = Literal["one axis", "one axis from 1", "three axes"]


@dataclass(frozen=True)
class Ability:
    """Whether a family can do something; ``reason`` is half a sentence that says why not, or under which condition."""

    can: bool = True
    reason: str = ""

    def __bool__(self) -> bool:
        return self.can


def cannot(reason: str) -> Ability:
    """An ability that is missing."""
    return Ability(False, reason)


@dataclass(frozen=True)
class PixelRules:
    """How several pictures become one batch of the model's vision arguments.

    ``arguments``: what the model takes of the image processor's output. ``options``: what the image processor is asked
    with, whatever its own settings; ``defaults``: with what where its own setting is null. ``by_record``: pictures are
    handed over record by record (a list of lists), because the model's arguments, or what becomes of a picture, depend
    on that.
    """

    arguments: tuple[str, ...] = ("pixel_values",)
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    by_record: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """What vitrail knows about the models of one ``config.model_type``.

    Paths are dotted, from the model that ``from_pretrained`` gives.

    Args:
        model_type: ``config.model_type``.
        about: one line for listings.
        kind: a multimodal language model, a plain one, a text encoder, or a dual encoder.
        tower: path of the vision tower.
        blocks: path of the list of its blocks.
        connector: paths of everything between tower and language model (parameters of their own, too).
        places: further parts, by name: paths, of which those that a model has make up the part. What a decoder
            consists of is asked from the model.
        positions: how tokens are counted: on one axis from 0 or from 1, or on time, height and width.
        planner: ``(processor, configuration)`` → image planner; the processor has ``image_processor`` and
            ``tokenizer``. ValueError if it does not fit the configuration.
        stand_ins: ``(processor, configuration)`` → the texts of which the chat template writes one for each picture.
            The spans of the picture's plan replace it.
        chat_template: for processors and tokenizers that have none.
        begins_with_bos: the processor of transformers puts the tokenizer's begin token in front of a rendered chat that
            does not have it.
        pixels: how pictures become a batch.
        further: layout of a batch → further inputs of the model, such as token types.
        image_processor: ``"<model>.<class>"`` of transformers' image processor on Pillow, which reads the folder's
            settings where the processor that it names cannot be built (most ask for torchvision).
        custom_token_count: whether a picture may be given another number of visual tokens (through
            ``mm_encoder_outputs``).
        pack: whether several records may share a row.
        prune: whether visual tokens may be dropped between layers.
        interleave: whether pictures may stand among the text of a document that is learnt.
    """

    model_type: str
    about: str = ""
    kind: Kind = "multimodal"
    tower: str | None = None
    blocks: str | None = None
    connector: tuple[str, ...] = ()
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    positions: Positions = "one axis"
    planner: Callable[[Any, Any], ImagePlanner] | None = None
    stand_ins: Callable[[Any, Any], tuple[str, ...]] = lambda processor, config: own_image_token(
        processor, config
    )
    chat_template: str | None = None
    begins_with_bos: bool = True
    pixels: PixelRules = field(default_factory=PixelRules)
    further: Callable[[Layout], dict[str, Tensor]] | None = None
    image_processor: str | None = None
    custom_token_count: Ability = Ability()
    pack: Ability = Ability()
    prune: Ability = Ability()
    interleave: Ability = Ability()

    @property
    def takes_pictures(self) -> bool:
        """Whether records with pictures can be encoded."""
        return self.planner is not None


def own_image_token(processor: Any, config: Any) -> tuple[str, ...]:
    """The token whose id the configuration names as ``image_token_id``."""
    return (str(processor.tokenizer.convert_ids_to_tokens(config.image_token_id)),)


def side_of(size: Any, where: str) -> int:
    """One side in pixels of a square size as transformers writes them: a number, a pair, or a mapping.

    ``where`` names the setting for the ValueError about a size that is no square.
    """
    if isinstance(size, int):
        return size
    if isinstance(size, (list, tuple)):
        sides = set(size)
    else:
        given = size if isinstance(size, Mapping) else vars(size)
        sides = {value for value in given.values() if value}
    if len(sides) != 1:
        raise ValueError(f"{where} is {size}; this family needs a square")
    return int(sides.pop())


def require_same(what: str, processor: Any, model: Any) -> None:
    """ValueError where a setting of the image processor is not that of the model's configuration."""
    if processor != model:
        raise ValueError(
            f"{what}: the image processor has {processor}, the model's configuration {model}; they must be the same"
        )


def square_side(size: Any, config: Any, what: str = "size") -> int:
    """The side in pixels that image processor and tower share.

    ``size`` is the image processor's setting ``what``. ValueError where one of them is no square, or they differ.
    """
    side = side_of(size, f"the image processor's {what}")
    require_same(what, side, side_of(config.vision_config.image_size, "vision_config.image_size"))
    return side


def modality_types(layout: Layout) -> dict[str, Tensor]:
    """``mm_token_type_ids`` of the Qwen families: 0 text, 1 picture, 2 video."""
    types = (layout.modality == Modality.IMAGE).int() + 2 * (layout.modality == Modality.VIDEO).int()
    return {"mm_token_type_ids": types}


def picture_types(layout: Layout) -> dict[str, Tensor]:
    """``token_type_ids`` of Gemma 3: 1 at pictures, whose tokens see each other."""
    return {"token_type_ids": layout.visual.long()}


def prefix_types(layout: Layout) -> dict[str, Tensor]:
    """``token_type_ids`` of PaliGemma: 0 in the prefix, whose tokens see each other, 1 from the first answer on."""
    answered = (layout.speaker == Speaker.ASSISTANT).long().cumsum(-1) > 0
    return {"token_type_ids": answered.long()}
