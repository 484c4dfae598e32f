"""The key-value cache under both of its names: transformers 5.24 renamed ``past_key_values`` to ``cache``.

The name is asked for, never derived from a version: of a model's own ``forward`` for the argument, of the library's
output class for the result. A model that takes ``**kwargs`` swallows a wrong name without a word, and then generates
as if each token were the first.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from inspect import signature
from typing import Any

from torch import nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from vitrail.models.logits import unwrapped

NAMES = ("cache", "past_key_values")
LIBRARY_NAME = next(
    name for name in NAMES if name in {field.name for field in fields(CausalLMOutputWithPast)}
)
"""What the installed transformers calls it."""


def cache_argument(model: nn.Module) -> str | None:
    """The name under which ``forward`` of the model inside wrappers takes a cache; None if it names none."""
    kind: Any = type(unwrapped(model))
    return _argument(kind)


@cache
def _argument(kind: Any) -> str | None:
    parameters = signature(kind.forward).parameters
    named = [name for name in (LIBRARY_NAME, *NAMES) if name in parameters]
    return named[0] if named else None


def cache_of(output: Any) -> Any:
    """The cache that a model's output holds; None where there is none."""
    return next((output[name] for name in NAMES if name in output), None)


def only_cache(past_key_values: Any, cache: Any) -> Any:
    """The cache, given under either name. ValueError if there are two different ones."""
    if past_key_values is not None and cache is not None and past_key_values is not cache:
        raise ValueError(
            "give the cache once: as past_key_values or as cache, which are two names of the same"
        )
    return cache if past_key_values is None else past_key_values
