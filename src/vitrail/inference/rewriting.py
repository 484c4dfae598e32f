"""An encoder that rewrites what is asked, as methods of inference say (:mod:`vitrail.inference.methods`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat, Document
from vitrail.inference.methods import TRACE, InferenceMethod
from vitrail.models.encoding import ChatEncoder, Encoded
from vitrail.models.rendering import Tool

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.rules.rule import Rule


class CannotRewrite(ValueError):
    """A method cannot rewrite a chat: the ``method``'s name, and its own sentence."""

    def __init__(self, method: str, error: ValueError) -> None:
        super().__init__(str(error))
        self.method = method


class RewritingEncoder(ChatEncoder):
    """The encoder of a bundle; a chat that is to be answered is rewritten first.

    ``plain``: the bundle without methods. ``rules``: those of ``methods`` that hold in its decoder, by name.
    """

    def __init__(
        self, plain: Bundle, methods: Mapping[str, InferenceMethod], rules: Mapping[str, Rule]
    ) -> None:
        self.__dict__.update(vars(plain.encoder))
        self.plain, self.methods, self.rules = plain, methods, rules

    def encode(
        self,
        chat: Chat | Document,
        *,
        add_generation_prompt: bool = False,
        root: Path | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        tools: Sequence[Tool] = (),
    ) -> Encoded:
        """As :meth:`ChatEncoder.encode`; what was done stands in the result's ``meta``.

        :class:`CannotRewrite`, a ValueError, where a method cannot.
        """
        plain = self.plain.encoder
        if isinstance(chat, Document) or not add_generation_prompt:
            return plain.encode(
                chat, add_generation_prompt=add_generation_prompt, root=root, sizes=sizes, tools=tools
            )
        traces = {}
        with _aside(self.plain.model, self.rules):
            for name, method in self.methods.items():
                try:
                    done = method.rewrite(self.plain, chat, root)
                except ValueError as error:
                    raise CannotRewrite(name, error) from error
                sizes = sizes if done.chat is chat else None
                chat = done.chat
                if done.trace:
                    traces[name] = dict(done.trace)
        encoded = plain.encode(chat, add_generation_prompt=True, root=root, sizes=sizes, tools=tools)
        return dataclasses.replace(encoded, meta={**encoded.meta, TRACE: traces}) if traces else encoded


@contextmanager
def _aside(model: Any, rules: Mapping[str, Rule]) -> Iterator[None]:
    """The methods' rules do not hold inside."""
    from vitrail.models.rules.standing import stand, withdraw

    for name in rules:
        withdraw(model, name)
    try:
        yield
    finally:
        for name, rule in rules.items():
            stand(model, name, rule)
