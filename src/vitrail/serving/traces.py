"""What methods of inference did to a chat, as whoever asked it is told: small, plain JSON, without the server's places.

Each method that was on has an entry, empty where it had nothing to do. What a method did to the prompt it says itself
(:meth:`~vitrail.inference.methods.InferenceMethod.told`); which visual tokens a rule in the decoder kept is read off
the answer's forward (:mod:`vitrail.inference.kept_tokens`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vitrail.inference.kept_tokens import kept_tokens
from vitrail.inference.methods import TRACE
from vitrail.inference.rewriting import RewritingEncoder
from vitrail.models.batches import Collator
from vitrail.models.rules.applied import applied

if TYPE_CHECKING:
    from vitrail.data.records import Chat
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded
    from vitrail.models.rules.call import Call

MOST_BYTES = 1 << 18
"""Of one method's entry as JSON; one that is longer is left out, and its length told."""


@contextmanager
def watched(bundle: Bundle, prompt: Encoded) -> Iterator[Call | None]:
    """The rules of the bundle's methods hold around the answer to ``prompt``; gives what remembers whom they kept."""
    if not (isinstance(bundle.encoder, RewritingEncoder) and bundle.encoder.rules):
        yield None
        return
    layout = Collator(bundle.pad_token_id, lambda *_: {}, padding_side="left")([prompt])["layout"]
    with applied(bundle.model, None, layout.to(bundle.device)) as call:
        yield call


def traces(
    bundle: Bundle, chat: Chat, prompt: Encoded, call: Call | None = None
) -> dict[str, dict[str, Any]]:
    """What each of the bundle's methods did to ``chat``, of which ``prompt`` became; ``call`` as of :func:`watched`."""
    encoder = bundle.encoder
    if not isinstance(encoder, RewritingEncoder):
        return {}
    kept: dict[str, Any] = {}
    if call is not None and call.chosen:
        kept = kept_tokens(bundle, prompt, call, chat.images)
    found = {}
    for name, method in encoder.methods.items():
        told = method.told(chat, prompt.meta.get(TRACE, {}).get(name, {}))
        if name in encoder.rules and encoder.rules[name].drops:
            told = {**told, **kept}
        found[name] = _bounded(told)
    return found


def _bounded(told: dict[str, Any]) -> dict[str, Any]:
    length = len(json.dumps(told))
    return told if length <= MOST_BYTES else {"too_long": length}
