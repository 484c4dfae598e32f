"""Hidden states of a language model's layers, those of pictures and those of the text behind them apart.

Layers count as transformers returns them: 0 is what enters the first decoder layer, ``l`` what leaves layer ``l``; the
last one has passed the final norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitrail.analysis.frechet import RunningMoments
from vitrail.inference.inputs import evaluating, forward_parameters, model_inputs
from vitrail.models.bundle import Bundle
from vitrail.models.encoding import Encoded
from vitrail.models.layout import Layout
from vitrail.models.logits import unwrapped

States = tuple[Float[Tensor, "total dim"], Float[Tensor, "others dim"]]
"""Hidden states of visual tokens, and of text tokens."""


def vision_mask(layout: Layout) -> Bool[Tensor, "batch tokens"]:
    """The tokens of pictures and videos."""
    return layout.visual


def text_mask(layout: Layout) -> Bool[Tensor, "batch tokens"]:
    """The tokens behind each row's last picture; what stands in front of it (a system prompt) is left out.

    ValueError for a row without pictures.
    """
    visual = layout.visual
    if not bool(visual.any(-1).all()):
        row = int((~visual.any(-1)).nonzero()[0, 0])
        raise ValueError(f"row {row} of the batch has no visual token; give records with a picture")
    place = torch.arange(visual.shape[1], device=visual.device)
    last = (visual * place).amax(-1, keepdim=True)
    return layout.present & (place > last)


@dataclass(frozen=True)
class StateCollector:
    """Runs a model over encoded records, ``batch_size`` at a time, and hands on the hidden states of some layers."""

    bundle: Bundle
    batch_size: int = 4

    def num_layers(self) -> int:
        """Decoder layers."""
        inner: Any = unwrapped(self.bundle.model)
        return len(inner.get_decoder().layers)

    def states(self, records: Sequence[Encoded], layers: Sequence[int]) -> Iterator[Mapping[int, States]]:
        """For each batch, the float32 states of ``layers``, rows and tokens in order. ValueError for a layer that the
        model does not return.
        """
        model, collate = self.bundle.model, self.bundle.collator()
        options: dict[str, Any] = {"output_hidden_states": True, "use_cache": False}
        if "logits_to_keep" in forward_parameters(model):
            options["logits_to_keep"] = 1  # nobody reads them
        for start in range(0, len(records), self.batch_size):
            batch = collate(records[start : start + self.batch_size])
            layout: Layout = batch["layout"].to(self.bundle.device)
            vision, text = vision_mask(layout), text_mask(layout)
            with evaluating(model):
                output = model(**model_inputs(model, batch), **options)
                yield _picked(output, layers, vision, text)


def _picked(output: Any, layers: Sequence[int], vision: Tensor, text: Tensor) -> dict[int, States]:
    hidden = getattr(output, "hidden_states", None)
    if not hidden:
        raise ValueError(f"{type(output).__name__} has no hidden states: the model does not return them")
    found = {}
    for layer in layers:
        if not 0 <= layer < len(hidden):
            raise ValueError(
                f"layer {layer} is not returned; the model has the layers 0 to {len(hidden) - 1}"
            )
        state = hidden[layer].float()
        if state.shape[:2] != vision.shape:
            raise ValueError(
                f"layer {layer} has {tuple(state.shape[:2])} rows and tokens, the batch {tuple(vision.shape)}: tokens "
                "were dropped on the way, and which are visual is not known any more"
            )
        found[layer] = (state[vision], state[text])
    return found


def collect_hidden_states(
    collector: StateCollector, records: Sequence[Encoded], layers: Sequence[int]
) -> dict[int, States]:
    """All states of ``layers`` (on the CPU): layer → visual and text states, records in order."""
    parts: dict[int, list[States]] = {layer: [] for layer in layers}
    for batch in collector.states(records, layers):
        for layer, (vision, text) in batch.items():
            parts[layer].append((vision.cpu(), text.cpu()))
    return {
        layer: (torch.cat([vision for vision, _ in found]), torch.cat([text for _, text in found]))
        for layer, found in parts.items()
    }


def collect_moments(
    collector: StateCollector, records: Sequence[Encoded], layers: Sequence[int]
) -> dict[int, tuple[RunningMoments, RunningMoments]]:
    """Their means, covariances and mean lengths in one run, without keeping a state."""
    sums: dict[int, tuple[RunningMoments, RunningMoments]] = {}
    for batch in collector.states(records, layers):
        for layer, (vision, text) in batch.items():
            dim = vision.shape[-1]
            into = sums.setdefault(layer, (RunningMoments(dim), RunningMoments(dim)))
            into[0].add(vision)
            into[1].add(text)
    return sums
