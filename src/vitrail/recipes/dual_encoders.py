"""``model.dual_encoder`` of a recipe: what a dual encoder is made of, building it, and its records.

::

    model:
      dual_encoder: {projection_dim: 256}          # EfficientNet-Lite0 + all-MiniLM-L6-v2
    model:
      dual_encoder:
        tower: {name: huggingface, weights: openai/clip-vit-base-patch32}
        text: sentence-transformers/all-MiniLM-L6-v2
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.recipes.components import Tower
from vitrail.recipes.encoded_list import EncodedList

if TYPE_CHECKING:
    from vitrail.models.pairs import DualBundle, EncodedPair


class DualEncoder(BaseModel):
    """A tower and a text encoder in one space, trained by contrast.

    ``parts``: ``house`` (EfficientNet-Lite0 and all-MiniLM-L6-v2 with their weights, fetched once), ``nano`` (tiny,
    random) or ``nano_pretrained`` (tiny, with a trained tower). ``tower`` and ``text`` (folder or hub name) put others
    into the house's place. ``projection_dim``: width of the shared space. The poolings are those of
    :class:`vitrail.models.dual_configuration.VitrailDualEncoderConfig`. ``bias``: the first bias of the logits, which
    the sigmoid loss needs (SigLIP's is −10); None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: Literal["house", "nano", "nano_pretrained"] = "house"
    tower: Tower | None = None
    text: str | None = Field(default=None, min_length=1)
    projection_dim: int = Field(default=256, ge=8)
    vision_pooling: Literal["attention", "mean", "own"] = "attention"
    text_pooling: Literal["mean", "first", "own"] = "mean"
    bias: float | None = None

    @model_validator(mode="after")
    def _one_way(self) -> DualEncoder:
        given = [name for name in ("tower", "text") if getattr(self, name) is not None]
        if self.parts != "house" and given:
            raise ValueError(f"parts {self.parts!r} brings its own {given[0]}; remove one of the two")
        return self

    def settings(self) -> dict[str, Any]:
        """Fields of the model's configuration."""
        return {
            "projection_dim": self.projection_dim,
            "vision_pooling": self.vision_pooling,
            "text_pooling": self.text_pooling,
            "logit_bias_init_value": self.bias,
        }


def build(config: DualEncoder, seed: int = 0, cache: Path | None = None) -> DualBundle:
    """The model with its parts' weights; projections are drawn with ``seed``."""
    import torch

    from vitrail.models.testbeds import dual
    from vitrail.recipes.assembly import build_tower

    if config.parts != "house":
        return getattr(dual, config.parts)(seed, **config.settings())
    options: dict[str, Any] = {}
    if config.tower is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            options = {"tower": build_tower(config.tower), "tower_name": config.tower.name}
    return dual.build(text=config.text, seed=seed, cache=cache, **options, **config.settings())


class PairRecords(EncodedList["EncodedPair"]):
    """The pairs of a source. ``lengths`` are tokens of the texts."""

    what, fewest = "pairs", 2
    lacking = "fewer than two pairs to contrast"

    def _encode(self, record: Any) -> EncodedPair:
        pair: EncodedPair = self.encoder.encode(record, root=self.source.root)
        return pair

    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order."""
        return [(pair.images[0], pair.root) for pair in self]
