"""Records that share a row are kept apart while a model runs on them.

The rule ``same_segment`` is and-ed to the model's own mask and to whatever rules stand in the model, and each record
counts its positions from 0, so a record's logits are those that it has alone. Without it the rows of a packed batch
would silently see each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from vitrail.models.logits import unwrapped
from vitrail.models.rules import applied, same_segment
from vitrail.models.rules.call import call_of


def is_packed(batch: Mapping[str, Any]) -> bool:
    """Whether some row of ``batch`` holds more than one record."""
    layout = batch.get("layout")
    return layout is not None and layout.segment.numel() > 0 and int(layout.segment.max()) > 0


@contextmanager
def isolated(model: nn.Module, batch: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the records of a packed ``batch`` do not see each other in ``model``; others are left as they are.

    Nothing is done where a rule that isolates holds already. ValueError where it cannot hold in this model, or where
    another rule holds that does not isolate.
    """
    inner: Any = unwrapped(model)
    if not is_packed(batch) or not hasattr(inner, "get_decoder"):
        yield
        return
    call = call_of(decoder=inner.get_decoder())
    if call is not None and call.rule.isolation:
        yield
        return
    with applied(inner, same_segment(), batch["layout"]):
        yield
