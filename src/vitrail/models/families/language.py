"""Plain causal language models: text in, text out."""

from __future__ import annotations

from vitrail.models.families.family import Family, cannot

_NO_PICTURES = cannot("the model takes no pictures")

LANGUAGE = Family(
    model_type="",
    about="a causal language model of transformers",
    kind="language",
    begins_with_bos=False,
    custom_token_count=_NO_PICTURES,
    prune=_NO_PICTURES,
)
