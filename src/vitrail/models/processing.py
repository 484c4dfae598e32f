"""The processor of vitrail's multimodal language model, as transformers saves and loads it."""

from __future__ import annotations

from typing import Any, cast

from transformers import ProcessorMixin
from transformers.feature_extraction_utils import BatchFeature

from vitrail.data.image_plans.fixed import Fixed
from vitrail.models.encoding import ChatEncoder

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ image_token }}\n{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML with one placeholder for each picture; ``image_token`` is filled in when a processor is made."""


class VitrailProcessor(ProcessorMixin):
    """Pictures and text → model inputs, with the placeholder of each picture expanded to its visual tokens.

    ``image_grid`` is the grid of visual tokens that every picture becomes: ``[rows, cols]``; ``cell_texts`` holds a
    text in front of each of them, or nothing; ``image_around`` how many tokens stand in front of the grid and behind.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        image_token: str = "<image>",
        image_grid: list[int] | None = None,
        cell_texts: list[str] | None = None,
        image_around: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_token = image_token
        self.image_grid = list(image_grid or [1, 1])
        self.cell_texts = list(cell_texts or [])
        self.image_around = list(image_around or [0, 0])
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """``input_ids``, ``attention_mask`` and, with pictures, ``pixel_values``.

        ``text`` holds one ``image_token`` a picture, in order. ValueError if they do not match. Other arguments go to
        the tokenizer. A literal placeholder in a user's text counts here, as in every processor of transformers;
        :meth:`encoder` keeps texts and media apart.
        """
        if text is None:
            raise ValueError("give text; pictures alone are not a prompt")
        texts = [text] if isinstance(text, str) else list(text)
        flat = _flatten(images)
        placeholders = sum(one.count(self.image_token) for one in texts)
        if placeholders != len(flat):
            raise ValueError(f"{placeholders} {self.image_token!r} in the text for {len(flat)} pictures")
        rows, cols = self.image_grid
        cells = self.cell_texts or [""] * (rows * cols)
        before, behind = (self.image_token * count for count in self.image_around)
        picture = before + "".join(text + self.image_token for text in cells) + behind
        expanded = [one.replace(self.image_token, picture) for one in texts]
        inputs = dict(self.tokenizer(expanded, return_tensors=return_tensors, **kwargs))
        if flat:
            inputs.update(self.image_processor(images=flat, return_tensors=return_tensors))
        return BatchFeature(inputs, tensor_type=return_tensors)

    def planner(self, size: tuple[int, int] = (0, 0)) -> Fixed:
        """The plan of every picture; ``size`` is what the tower sees, in pixels."""
        rows, cols = self.image_grid
        before, behind = self.image_around
        return Fixed(rows, cols, size, cell_texts=tuple(self.cell_texts), around=(before, behind))

    def encoder(self, max_length: int | None = None) -> ChatEncoder:
        """The encoder of chat records for this model."""
        return ChatEncoder(
            self.tokenizer,
            image_token_id=self.image_token_id,
            planner=self.planner(),
            chat_template=cast("str | None", self.chat_template),
            max_length=max_length,
        )

    @property
    def model_input_names(self) -> list[str]:
        """What a model takes."""
        return ["input_ids", "attention_mask", "pixel_values"]


def make_processor(
    tokenizer: Any,
    image_processor: Any,
    image_grid: tuple[int, int],
    image_token: str = "<image>",
    cell_texts: tuple[str, ...] = (),
    around: tuple[int, int] = (0, 0),
) -> VitrailProcessor:
    """A processor for a language model's tokenizer; the image token is added where it is missing.

    ``cell_texts`` are the texts in front of a picture's tokens, or nothing; ``around`` how many tokens stand in front
    of its grid and behind it. The chat template is ChatML with pictures.
    ValueError if the tokenizer has no ChatML tokens.
    """
    for token in ("<|im_start|>", "<|im_end|>"):
        if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
            raise ValueError(
                f"the tokenizer has no {token!r}; pass a chat_template of its own to VitrailProcessor"
            )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [image_token]}, replace_extra_special_tokens=False
    )
    return VitrailProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE.replace("{{ image_token }}", image_token),
        image_token=image_token,
        image_grid=list(image_grid),
        cell_texts=list(cell_texts),
        image_around=list(around),
    )


def _flatten(images: Any) -> list[Any]:
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return [one for image in images for one in _flatten(image)]
    return [images]
