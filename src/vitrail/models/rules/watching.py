"""Looking at attention while a model runs: who watches here, in this thread and task."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

Watch = Callable[[nn.Module, Tensor, Tensor, Tensor, Any, dict[str, Any]], Any]
"""``(module, query, key, value, mask, keywords)`` of a layer's attention → its result in place of the usual one, or
None to leave that alone. The mask is None (causal), bool, or added to the scores."""

WATCH: ContextVar[Watch | None] = ContextVar("vitrail_watch", default=None)
