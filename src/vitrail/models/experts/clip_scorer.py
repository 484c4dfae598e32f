"""A CLIP-like scorer: how alike a picture and a text are, to a frozen dual encoder.

Works on vitrail's dual encoder and on any CLIP or SigLIP of transformers. Scores are cosines of the two embeddings, as
CLIPScore uses them (Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", arXiv
2104.08718) before its factor of 2.5. They do not depend on the batch, except for the last digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitrail.models.families.table import family_of
from vitrail.models.frozen import weights_fingerprint
from vitrail.models.pairs import takes_mask, text_limit
from vitrail.models.tokenising import written_whole
from vitrail.models.towers.tower import ComponentConfig
from vitrail.storage.cache import key


class ClipScorer:
    """Embeddings and scores of pictures and texts, in batches, without gradients.

    ``model`` has ``get_image_features`` and ``get_text_features`` as transformers' ``CLIPModel`` has; ``processor`` has
    ``image_processor`` and ``tokenizer``. Pictures are Pillow's, texts plain. A text that is too long is cut, as CLIP
    itself cuts it. ValueError for a model that is no dual encoder.
    """

    class Config(ComponentConfig):
        """``path``: folder, run or hub name of a dual encoder; ``batch_size``: items in a forward; ``max_length``: the
        most tokens of a text (default: what the model takes); ``device``: where it runs.
        """

        path: str
        batch_size: int = 32
        max_length: int | None = None
        device: str = "cpu"

    def __init__(
        self, model: Any, processor: Any, *, batch_size: int = 32, max_length: int | None = None
    ) -> None:
        kind = family_of(model.config).kind
        if kind != "dual encoder":
            raise ValueError(
                f"{model.config.model_type!r} is a model of kind {kind!r}; scoring needs a dual encoder"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        self.model, self.processor, self.batch_size = model, processor, batch_size
        self.masked = takes_mask(model, processor.tokenizer)
        limit = text_limit(model, processor.tokenizer)
        self.max_length = min(max_length or limit, limit)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, batch_size: int = 32, **options: Any) -> ClipScorer:
        """The scorer of a dual encoder's folder, a run that trained one, or a hub name; ``options`` as those of
        :func:`vitrail.models.dual_loading.load_dual_encoder`.
        """
        from vitrail.models.dual_loading import load_dual_encoder

        bundle = load_dual_encoder(path, **options)
        return cls(
            bundle.model, bundle.processor, batch_size=batch_size, max_length=options.get("max_length")
        )

    @classmethod
    def from_config(cls, config: Config) -> ClipScorer:
        """The scorer that settings name."""
        found = cls.from_pretrained(config.path, batch_size=config.batch_size, max_length=config.max_length)
        found.model.to(config.device)
        return found

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that a score depends on: weights, tokenizer, image processor, length of texts."""
        tokenizer, images = self.processor.tokenizer, self.processor.image_processor
        words = written_whole(tokenizer)
        pixels = str(sorted(images.to_dict().items()))
        return key(
            "clip-scorer", weights_fingerprint(self.model), words, pixels, self.max_length, self.masked
        )

    @property
    def dim(self) -> int:
        """Width of the embeddings; known once something was embedded for models whose configuration has none."""
        config = self.model.config
        width = getattr(config, "projection_dim", None)
        return int(width if width is not None else config.text_config.projection_size)

    def embed_images(self, images: Sequence[Any]) -> Float[np.ndarray, "images dim"]:
        """Unit vectors of decoded pictures (Pillow), float32."""

        def embed(some: Sequence[Any]) -> Tensor:
            pixels = self.processor.image_processor(images=list(some), return_tensors="pt")["pixel_values"]
            parameter = self._parameter
            return _pooled(self.model.get_image_features(pixels.to(parameter.device, parameter.dtype)))

        return self._embedded(images, embed)

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Unit vectors of texts, float32. ValueError for a single text instead of several."""
        if isinstance(texts, str):
            raise ValueError(f"give a list of texts, not the text {texts[:40]!r}")

        def embed(some: Sequence[str]) -> Tensor:
            words = text_inputs(self.model, self.processor.tokenizer, some, self.max_length)
            inputs = {name: value.to(self._parameter.device) for name, value in words.items()}
            return _pooled(self.model.get_text_features(**inputs))

        return self._embedded(texts, embed)

    def score_pairs(self, images: Sequence[Any], texts: Sequence[str]) -> Float[np.ndarray, "pairs"]:
        """The cosine of each picture with its text. ValueError for different numbers of them."""
        if len(images) != len(texts):
            raise ValueError(
                f"{len(images)} pictures and {len(texts)} texts are no pairs; give one text a picture"
            )
        seen, read = self.embed_images(images), self.embed_texts(texts)
        return (seen.astype(np.float64) * read.astype(np.float64)).sum(-1)

    def scores(self, images: Sequence[Any], texts: Sequence[str]) -> Float[np.ndarray, "images texts"]:
        """The cosine of every picture with every text."""
        return self.embed_images(images).astype(np.float64) @ self.embed_texts(texts).astype(np.float64).T

    @property
    def _parameter(self) -> Tensor:
        return next(self.model.parameters())

    def _embedded(self, items: Sequence[Any], embed: Callable[[Sequence[Any]], Tensor]) -> np.ndarray:
        found = []
        with _evaluating(self.model), torch.inference_mode():
            for start in range(0, len(items), self.batch_size):
                vectors = embed(items[start : start + self.batch_size])
                found.append(F.normalize(vectors.float(), dim=-1).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, self.dim), dtype=np.float32)


def text_inputs(
    model: Any, tokenizer: Any, texts: Sequence[str], max_length: int | None = None
) -> dict[str, Tensor]:
    """``input_ids`` and, where the model takes one, ``attention_mask``: padded and cut as the model was trained."""
    masked = takes_mask(model, tokenizer)
    words = tokenizer(
        list(texts),
        padding=True if masked else "max_length",
        truncation=True,
        max_length=max_length or text_limit(model, tokenizer),
        return_tensors="pt",
    )
    return {name: words[name] for name in ("input_ids", "attention_mask") if masked or name == "input_ids"}


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _pooled(output: Any) -> Tensor:
    """Older releases of transformers give the embeddings themselves."""
    return output if isinstance(output, Tensor) else output.pooler_output
