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

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.recipes.components import Tower

if TYPE_CHECKING:
    from vitrail.models.pairs import DualBundle, EncodedPair, PairEncoder


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


class PairRecords:
    """The pairs of a source, encoded once; the interface of :class:`~vitrail.recipes.datasets.EncodedRecords`.

    A record that is no pair is an error that names it, or, with ``on_error="set_aside"``, left out and counted.
    """

    def __init__(
        self,
        source: Any,
        encoder: PairEncoder,
        on_error: Literal["raise", "set_aside"] = "raise",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.source = source
        self.set_aside: dict[int, str] = {}
        self._pairs: list[EncodedPair] = []
        for number in range(len(source)):
            try:
                self._pairs.append(encoder.encode(source[number], root=source.root))
            except (ValueError, OSError) as error:
                if on_error == "raise":
                    raise ValueError(f"record {number} of {source.name}: {error}") from None
                self.set_aside[number] = str(error)
            if progress is not None:
                progress(number + 1, len(source))
        if len(self._pairs) < 2:
            reason = next(iter(self.set_aside.values()), "it is nearly empty")
            raise ValueError(f"{source.name} has fewer than two pairs to contrast ({reason})")

    @property
    def lengths(self) -> list[int]:
        """Tokens of the texts."""
        return [pair.length for pair in self._pairs]

    @property
    def counts(self) -> dict[str, int]:
        """What became of the source's records."""
        return {"used": len(self), "set_aside": len(self.set_aside)}

    @property
    def fingerprint(self) -> str:
        """Of the records that are used."""
        from vitrail.storage.cache import key

        return key("pairs", self.source.fingerprint, sorted(self.set_aside))

    def sentence(self) -> str:
        """What was set aside and one reason; empty if nothing was."""
        if not self.set_aside:
            return ""
        number, reason = next(iter(self.set_aside.items()))
        return f"{len(self.set_aside):,} set aside (record {number}: {reason})"

    def pictures(self) -> list[Any]:
        """Every picture with its root folder, in order."""
        return [(pair.images[0], pair.root) for pair in self._pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[EncodedPair]:
        return iter(self._pairs)

    def __getitem__(self, index: int) -> EncodedPair:
        return self._pairs[index]
