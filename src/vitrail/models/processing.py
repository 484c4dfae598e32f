"""The processor of vitrail's multimodal language model, as transformers saves and loads it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from transformers import ProcessorMixin
from transformers.feature_extraction_utils import BatchFeature

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

    ``image_grid`` is the grid of visual tokens that every picture becomes: ``[rows, cols]``.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        image_token: str = "<image>",
        image_grid: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_token = image_token
        self.image_grid = list(image_grid or [1, 1])
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
        expanded = [one.replace(self.image_token, self.image_token * (rows * cols)) for one in texts]
        inputs = dict(self.tokenizer(expanded, return_tensors=return_tensors, **kwargs))
        if flat:
            inputs.update(self.image_processor(images=flat, return_tensors=return_tensors))
        return BatchFeature(inputs, tensor_type=return_tensors)

    def token_coords(self, width: int, height: int) -> np.ndarray:
        """Frame, row and column of each visual token of a picture: the same grid for every size."""
        rows, cols = self.image_grid
        row, col = np.divmod(np.arange(rows * cols), cols)
        return np.stack([np.zeros_like(row), row, col], axis=1)

    def encoder(self, max_length: int | None = None) -> ChatEncoder:
        """The encoder of chat records for this model."""
        return ChatEncoder(
            self.tokenizer,
            image_token_id=self.image_token_id,
            token_coords=self.token_coords,
            chat_template=cast("str | None", self.chat_template),
            max_length=max_length,
        )

    @property
    def model_input_names(self) -> list[str]:
        """What a model takes."""
        return ["input_ids", "attention_mask", "pixel_values"]


def make_processor(
    tokenizer: Any, image_processor: Any, image_grid: tuple[int, int], image_token: str = "<image>"
) -> VitrailProcessor:
    """A processor for a language model's tokenizer; the image token is added where it is missing.

    The chat template is ChatML with pictures. ValueError if the tokenizer has no ChatML tokens.
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
    )


def _flatten(images: Any) -> list[Any]:
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return [one for image in images for one in _flatten(image)]
    return [images]
