"""Load a dual encoder by path or hub name: ours, a CLIP, a SigLIP, with what feeds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vitrail.models  # noqa: F401  (registers the Auto classes)
from vitrail.models.families.table import family_of
from vitrail.models.folders import ProcessorParts, first_line
from vitrail.models.loading import from_safetensors, load_config, model_source
from vitrail.models.pairs import DualBundle


def load_dual_encoder(
    path: str | Path, *, max_length: int | None = None, dtype: Any = None, **options: Any
) -> DualBundle:
    """Load ``path`` (a model's folder, a run's, or a hub name) in evaluation mode.

    ``max_length``: the most tokens of a text (default: what the model takes); ``dtype`` of the weights; ``options`` go
    to ``from_pretrained``. Weights come from safetensors only, and no remote code runs. ValueError if it is no dual
    encoder, or if weights are missing or left over.
    """
    from transformers import AutoModel

    source = model_source(path)
    config = load_config(source)
    family = family_of(config)
    if family.kind != "dual encoder":
        raise ValueError(
            f"{source} is {family.about or config.model_type}, and no dual encoder; name a CLIP, a SigLIP, or a run "
            "that trained one"
        )
    if dtype is not None:
        options["dtype"] = dtype
    model = from_safetensors(AutoModel, source, config, **options)
    return DualBundle.of(model.eval(), _processor(source), name=str(path), max_length=max_length)


def _processor(source: str) -> Any:
    """The whole processor where it can be built here, else its two halves."""
    from transformers import AutoProcessor, AutoTokenizer

    # Not from the top: there transformers 5.17 asks for torchvision.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        whole = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    except Exception:  # a package that is missing shows as ImportError, AttributeError, ValueError or OSError
        whole = None
    if hasattr(whole, "tokenizer") and hasattr(whole, "image_processor"):
        return whole
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        images = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # tokenizers raises Exception itself for a file that it cannot read
        raise ValueError(
            f"{source} has no tokenizer or image processor that can be read: {first_line(error)}"
        ) from None
    return ProcessorParts(tokenizer, images)
