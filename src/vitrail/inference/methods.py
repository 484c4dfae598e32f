"""The seam *inference*: what is done differently when a ready model answers, and nothing about its weights.

A method rewrites the prompt (:meth:`InferenceMethod.rewrite`), or lets a rule hold in the decoder
(:meth:`InferenceMethod.rule`). :func:`using` gives a bundle that answers so, to whatever asks it: generation, streams,
likelihoods, conversations. Methods combine if they change different things; what a prompt method reads off the model it
reads off the model without the others' rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vitrail import registry
from vitrail.data.records import Chat
from vitrail.settings.component import config_class, filled

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.rules.rule import Rule

TRACE = "methods"
"""Under this name in an encoded prompt's ``meta``: what each method did to it."""


@dataclass(frozen=True)
class Rewritten:
    """A prompt as a method puts it, and what it did, as plain values for logs."""

    chat: Chat
    trace: Mapping[str, Any] = field(default_factory=dict)


class InferenceMethod:
    """What methods have in common. ``changes`` says what of an answer's making is theirs: two cannot share it."""

    changes: ClassVar[str]

    def prepare(self, bundle: Bundle, source: Any) -> None:
        """Look at what an evaluation will ask, before its first question. Default: nothing is done."""

    def rewrite(self, bundle: Bundle, chat: Chat, root: Path | None) -> Rewritten:
        """The chat that is asked instead. ``bundle`` answers without any method."""
        return Rewritten(chat)

    def rule(self, bundle: Bundle) -> Rule | None:
        """What holds in the decoder while it answers. ValueError if it cannot hold in this model."""
        return None

    def require_live(self, bundle: Bundle) -> None:
        """Get ready to answer whoever asks, one question at a time: what is needed is opened and loaded.

        ValueError for another kind of model, or settings that read what only an evaluation's data knows. Default:
        nothing is needed.
        """

    def told(self, chat: Chat, trace: Mapping[str, Any]) -> dict[str, Any]:
        """A trace for the person who asked ``chat``, who does not see what the method saw: plain JSON, without places
        on this machine, pictures as data URLs. Default: the trace as it is.
        """
        return dict(trace)


def build(name: str, settings: Mapping[str, Any] | None = None) -> InferenceMethod:
    """A registered method. ValueError for an unknown name or setting."""
    registry.reference("inference", name)
    values = filled("inference", name, dict(settings or {}))
    config = config_class("inference", name)
    component = registry.get("inference", name)
    return component() if config is None else component(config.model_validate(values))


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """``name`` or ``name:field=value,field=value`` (values as in YAML) → name and settings. ValueError if malformed."""
    import yaml

    name, _, rest = text.partition(":")
    settings: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        field_name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{text}: {part!r} is no field=value; write {name}:field=value,field=value")
        settings[field_name.strip()] = yaml.safe_load(value)
    return name, settings


def require_combinable(methods: Sequence[tuple[str, InferenceMethod]]) -> None:
    """ValueError if one is there twice, or two change the same thing: which, and what."""
    taken: dict[str, str] = {}
    for name, method in methods:
        other = taken.setdefault(method.changes, name)
        if other == name and [one for one, _ in methods].count(name) > 1:
            raise ValueError(f"{name} is named twice among the methods; once is enough")
        if other != name:
            raise ValueError(
                f"{other} and {name} both choose {method.changes}, so they cannot be used together; leave one out"
            )


@contextmanager
def using(
    bundle: Bundle, methods: Sequence[tuple[str, Mapping[str, Any] | InferenceMethod]]
) -> Iterator[Bundle]:
    """A bundle that answers with ``methods``, in their order; the given one is as before afterwards.

    Each is a name with its settings, or with the built method. Inside, the model itself is under their rules, whoever
    asks it. A bundle that answers with methods already answers with these, too, as if all had been named at once.
    ValueError for methods that do not go together, or not with this model.
    """
    if not methods:
        yield bundle
        return
    from vitrail.inference.rewriting import RewritingEncoder

    outer = bundle.encoder if isinstance(bundle.encoder, RewritingEncoder) else None
    plain, there = (bundle, {}) if outer is None else (outer.plain, outer.methods)
    named = [(name, one if isinstance(one, InferenceMethod) else build(name, one)) for name, one in methods]
    require_combinable([*there.items(), *named])
    if bundle.family.kind in ("encoder", "dual encoder"):
        raise ValueError(
            f"{named[0][0]} is for models that answer, and {bundle.name} is {bundle.family.about}"
        )
    rules = {name: rule for name, one in named if (rule := one.rule(plain)) is not None}
    held = rules if outer is None else {**outer.rules, **rules}
    encoder = RewritingEncoder(plain, {**there, **dict(named)}, held)
    with _standing(bundle.model, rules):
        yield dataclasses.replace(bundle, encoder=encoder)


@contextmanager
def _standing(model: Any, rules: Mapping[str, Rule]) -> Iterator[None]:
    from vitrail.models.rules.standing import stand, withdraw

    with ExitStack() as stack:
        for name, rule in rules.items():
            stand(model, name, rule)
            stack.callback(withdraw, model, name)
        yield
