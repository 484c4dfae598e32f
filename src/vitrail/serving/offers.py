"""Methods of inference that requests switch on: those that the operator offers, under his settings, and no others.

A request names them (``methods``); settings, files and memories are the operator's, fixed when the server starts. What
does not fit the model is refused then. Methods that are always on stand in the bundle that is served
(:func:`vitrail.inference.methods.using`); they are listed, and told of, like those that are offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail import registry
from vitrail.data.readers.problems import shown
from vitrail.inference.methods import InferenceMethod, build, require_combinable, using
from vitrail.inference.rewriting import RewritingEncoder
from vitrail.serving.errors import Refused, printable

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

Offered = Sequence[tuple[str, Mapping[str, Any] | InferenceMethod]]
Named = tuple[tuple[str, InferenceMethod], ...]


@dataclass(frozen=True)
class Chosen:
    """What a request switched on. ``in_turn``: something holds in the decoder, so that it is answered by itself.

    ``places``: texts that no client is to read, with what is said instead.
    """

    methods: Named = ()
    in_turn: bool = False
    places: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def using(self, bundle: Bundle) -> Iterator[Bundle]:
        """The bundle that answers with them. :class:`Refused` where they do not go together in this model."""
        entered = using(bundle, self.methods)
        try:
            asked = entered.__enter__()
        except ValueError as error:
            raise self.refused("", error) from None
        try:
            yield asked
        finally:
            entered.__exit__(None, None, None)

    def refused(self, method: str, error: ValueError) -> Refused:
        """What a client is told of a method that cannot."""
        text = str(error)
        for place, instead in self.places.items():
            text = instead.join(re.split(rf"(?<!\w){re.escape(place)}(?!\w)", text))
        own = any(name == method for name, _ in self.methods)
        where = "methods" if own or not method else "messages"
        return Refused(400, printable(": ".join(filter(None, (where, method, text)))), param=where)


NONE = Chosen()


class Offers:
    """The methods of a server. ValueError for one that does not fit its model, or the methods that are always on."""

    def __init__(self, bundle: Bundle, offered: Offered = ()) -> None:
        encoder = bundle.encoder
        plain = encoder.plain if isinstance(encoder, RewritingEncoder) else bundle
        self.always: Named = tuple(encoder.methods.items()) if isinstance(encoder, RewritingEncoder) else ()
        self.offered: Named = tuple(
            (name, one if isinstance(one, InferenceMethod) else build(name, one)) for name, one in offered
        )
        self._rules = set(encoder.rules) if isinstance(encoder, RewritingEncoder) else set()
        for name, method in self.always:
            try:
                method.require_live(plain)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        names = [name for name, _ in self.offered]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is offered twice; once is enough, requests choose it by its name")
        for name, method in self.offered:
            self._require_fit(bundle, plain, name, method)
        self._places = _places([*self.always, *self.offered])

    def _require_fit(self, bundle: Bundle, plain: Bundle, name: str, method: InferenceMethod) -> None:
        try:
            require_combinable([*self.always, (name, method)])
            method.require_live(plain)
            with using(bundle, [(name, method)]) as answering:  # its rule is tried in the model
                assert isinstance(answering.encoder, RewritingEncoder)
                if name in answering.encoder.rules:
                    self._rules.add(name)
        except ValueError as error:
            raise ValueError(f"{name} cannot be offered: {error}") from None

    def chosen(self, names: Sequence[str]) -> Chosen:
        """What a request names, in the order in which it is offered, whatever the request's. :class:`Refused` (400) for
        what is not offered, named twice, or does not go together.
        """
        known = dict(self.offered)
        for place, name in enumerate(names):
            where = f"methods[{place}]"
            if name in dict(self.always):
                raise _refused(where, f"{name!r} is always on here; leave it out")
            if name not in known:
                raise _refused(where, f"{shown(name, 60)} is not offered here; {self._listed()}")
            if name in names[:place]:
                raise _refused(where, f"{name!r} is named twice; once is enough")
        methods = tuple((name, one) for name, one in self.offered if name in names)
        try:
            require_combinable([*self.always, *methods])
        except ValueError as error:
            raise _refused("methods", str(error)) from None
        in_turn = any(name in self._rules for name, _ in methods)
        return Chosen(methods, in_turn, self._places)

    def _listed(self) -> str:
        if not self.offered:
            return "no method is; leave methods out, or start the server with --offer NAME"
        return f"choose of {', '.join(name for name, _ in self.offered)}"

    def about(self) -> list[dict[str, Any]]:
        """Of each method what a client needs to show a switch: see docs/serving.md."""
        every = [*self.always, *self.offered]
        fixed = {name for name, _ in self.always}
        return [
            {
                "name": name,
                "about": _about(name, method),
                "changes": method.changes,
                "combines_with": [other for other, one in every if one.changes != method.changes],
                "in_turn": name in self._rules,
                "always": name in fixed,
            }
            for name, method in every
        ]


def _about(name: str, method: InferenceMethod) -> str:
    """One line: its summary where it is registered, else what it changes."""
    known = name in registry.names("inference")
    return (registry.reference("inference", name).summary if known else "") or f"chooses {method.changes}"


def _refused(where: str, message: str) -> Refused:
    return Refused(400, printable(f"{where}: {message}"), param=where)


def _places(methods: Sequence[tuple[str, InferenceMethod]]) -> dict[str, str]:
    """Settings that name places on this machine, the longest first, and what a client reads instead."""
    found: dict[str, str] = {}
    for name, method in methods:
        config = getattr(method, "config", None)
        for setting, value in config.model_dump().items() if config is not None else ():
            if isinstance(value, str) and (os.sep in value or Path(value).exists()):
                instead = f"{name}'s {setting}"
                found |= {str(Path(value).resolve()): instead, str(Path(value)): instead, value: instead}
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))
