"""The layer rule: mask, positions, kept tokens and cache in one object, so that they cannot disagree.

What a rule's mask says about a query and a key is of one of two kinds, and that kind decides what combining means:

- it **narrows**: it only takes away from what may be seen (``visual_isolated``, ``window``). Alone it is and-ed to
the
  model's own mask;
- it is **whole**: it says by itself what may be seen (``causal``, ``own``, ``frame_causal``).

With N for narrowing and W for whole: ``N & N`` and ``N | N`` narrow, ``W & N``, ``W & W``, ``W | W`` are whole, and
in ``W | N`` the narrowing one is and-ed to the model's own mask first (alone it would open the future). Padding and
isolation (``same_segment``) are and-ed after everything else, so that no ``|`` can undo them. At a layer for which a
rule does not hold (``rule.on(layers)``) it says nothing: what it is combined with stands as if alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from vitrail.models.layout import Layout

KEYWORD = "vitrail_rule"
"""The keyword in which the state of a forward under a rule travels to the layers."""

Pairs = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``(b, h, q, k)``, integer tensors that broadcast (row, head, query and key, absolute) → bool: may q see k?
Index tensors with them, do not branch: FlexAttention calls the function with one scalar each."""

Predicate = Callable[[Layout], Pairs]
"""A layout, padded behind for the tokens to come → what may be seen. What can be computed once is computed here."""


class Leaf(NamedTuple):
    """One predicate of a mask. ``layers`` None means every layer; ``see`` None is the model's own mask."""

    name: str
    see: Predicate | None
    narrows: bool
    layers: frozenset[int] | None = None
    per_head: bool = False
    needs_layout: bool = True

    def holds(self, layer: int) -> bool:
        """Whether it says anything at a layer."""
        return self.layers is None or layer in self.layers


class Join(NamedTuple):
    """Two masks and-ed or or-ed."""

    operation: Literal["&", "|"]
    left: Leaf | Join
    right: Leaf | Join


Mask = Leaf | Join


OWN = Leaf("own", None, narrows=False, needs_layout=False)
"""The model's own mask: causal, with its windows and its bidirectional pictures."""


def leaves(mask: Mask | None) -> list[Leaf]:
    """The predicates of a mask, from left to right."""
    if mask is None:
        return []
    return [mask] if isinstance(mask, Leaf) else [*leaves(mask.left), *leaves(mask.right)]


def narrows(mask: Mask) -> bool:
    """Whether a mask only takes away."""
    return mask.narrows if isinstance(mask, Leaf) else narrows(mask.left) and narrows(mask.right)


def evaluate(mask: Mask | None, layer: int, own: Tensor, see: Callable[[Leaf], Tensor]) -> Tensor:
    """What a layer may see: ``own`` is the model's own mask and ``see`` gives the value of a predicate."""
    found = None if mask is None else _value(mask, layer, own, see)
    return own if found is None else _whole(found, own)


class _Value(NamedTuple):
    seen: Tensor
    narrows: bool


def _value(mask: Mask, layer: int, own: Tensor, see: Callable[[Leaf], Tensor]) -> _Value | None:
    """The value of a mask; None where it says nothing at this layer."""
    if isinstance(mask, Leaf):
        if not mask.holds(layer):
            return None
        return _Value(own if mask.see is None else see(mask), mask.narrows)
    left, right = (_value(side, layer, own, see) for side in (mask.left, mask.right))
    if left is None or right is None:
        return right if left is None else left
    if mask.operation == "&":
        return _Value(left.seen & right.seen, left.narrows and right.narrows)
    if left.narrows and right.narrows:
        return _Value(left.seen | right.seen, True)
    return _Value(_whole(left, own) | _whole(right, own), False)


def _whole(value: _Value, own: Tensor) -> Tensor:
    return own & value.seen if value.narrows else value.seen


class Positions(NamedTuple):
    """Positions of tokens: ``give(layout, axes)`` → ``(batch, tokens)``, or ``(3, batch, tokens)`` for ``axes`` 3.

    They count from 0; a model that counts from 1 keeps its own beginning. Words that are generated behind the layout
    advance by ``step``. With ``by_segment`` they begin anew in each segment, in their own way, and plain counting of
    segments (``same_segment``) gives way to them.
    """

    name: str
    give: Callable[[Layout, int], Tensor]
    step: float = 1
    by_segment: bool = False


@dataclass(frozen=True)
class Seen:
    """What a choice of tokens may look at, at the entrance of a layer.

    ``layout`` and ``alive`` (which tokens are still there) are ``(batch, tokens)``; ``hidden`` is the state of every
    token, zero where it is not there. ``scores`` holds, for each layer that was asked for, how much the row's last
    token attended to each token, ``(batch, heads, tokens)``; ``text_scores`` the same on average over the words behind
    the row's last visual token.
    """

    layout: Layout
    alive: Bool[Tensor, "batch tokens"]
    hidden: Float[Tensor, "batch tokens dim"]
    scores: Mapping[int, Float[Tensor, "batch heads tokens"]]
    text_scores: Mapping[int, Float[Tensor, "batch heads tokens"]] = field(default_factory=dict)


class Drop(NamedTuple):
    """At the entrance of ``layer`` tokens leave: ``keep(seen)`` → bool ``(batch, tokens)``, those that stay.

    ``scores_of`` names the layers, below ``layer``, whose attention from the row's last token ``keep`` looks at;
    ``text_scores_of`` those whose attention from the words behind the pictures it looks at.
    """

    name: str
    layer: int
    keep: Callable[[Seen], Tensor]
    scores_of: tuple[int, ...] = ()
    text_scores_of: tuple[int, ...] = ()


class Hold(NamedTuple):
    """What the cache of the layers keeps: ``keep(layout, seen)`` → bool ``(seen,)``, entries a later query may see."""

    name: str
    keep: Callable[[Layout, int], Tensor]
    layers: frozenset[int] | None = None

    def holds(self, layer: int) -> bool:
        """Whether the cache of this layer is cut."""
        return self.layers is None or layer in self.layers


class Silent(NamedTuple):
    """Tokens that ask nothing: ``which(layout)`` → bool ``(batch, tokens)``. Their keys and values serve the others.

    With ``own_value`` such a token's attention gives its own value, as if it saw itself alone, otherwise zero; without
    ``feed_forward`` the layer's feed-forward network adds nothing to it either. Nothing that is not used is computed.
    """

    name: str
    which: Callable[[Layout], Tensor]
    own_value: bool = True
    feed_forward: bool = True
    layers: frozenset[int] | None = None

    def holds(self, layer: int) -> bool:
        """Whether these tokens are silent at a layer."""
        return self.layers is None or layer in self.layers


@dataclass(frozen=True, eq=False)
class Rule:
    """What a decoder's layers may see, where their tokens are, which leave or are silent, and what the cache keeps.

    Made by the functions of ``masks``, ``positions`` and ``keeping``, and combined with ``&`` and ``|``. Use it with
    ``applied(model, rule, layout)``.
    """

    name: str
    mask: Mask | None = None
    isolation: tuple[Leaf, ...] = ()
    positions: tuple[Positions, ...] = ()
    drops: tuple[Drop, ...] = ()
    held: tuple[Hold, ...] = ()
    silent: tuple[Silent, ...] = ()

    def __repr__(self) -> str:
        return f"Rule({self.name})"

    def __and__(self, other: Rule) -> Rule:
        """Both hold: masks and-ed, tokens stay if both keep them, the cache keeps what both keep."""
        return Rule(
            name=f"({self.name} & {other.name})",
            mask=_joined("&", self.mask, other.mask),
            isolation=_union(self.isolation, other.isolation),
            positions=_union(self.positions, other.positions),
            drops=_both_keep(self.drops, other.drops),
            held=_union(self.held, other.held),
            silent=_silent_in_both(self, other),
        )

    def __or__(self, other: Rule) -> Rule:
        """Either suffices: masks or-ed, tokens stay if one keeps them. Isolation stays whole on both sides.

        A rule without a mask stands for the model's own. ValueError where something would silently come to nothing:
        a narrowing mask or-ed with none, or tokens that only one side drops.
        """
        for one, partner in ((self, other), (other, self)):
            if one.silent:
                raise ValueError(
                    f"{self.name} | {other.name}: {one.name} silences tokens, which {partner.name} lets ask, so or-ed "
                    "nothing of it would be left; combine them with &"
                )
        mine, others = self.mask, other.mask
        if (mine is None) != (others is None):
            given = mine or others
            assert given is not None
            if narrows(given):
                narrowing, other_one = (self, other) if others is None else (other, self)
                raise ValueError(
                    f"{self.name} | {other.name}: {other_one.name} leaves the model's own mask as it is, so nothing "
                    f"of what {narrowing.name} takes away would be left; combine them with &"
                )
            mine, others = mine or OWN, others or OWN
        drops = _either_keeps(self, other)
        name = f"({self.name} | {other.name})"
        held = [Hold(name, _either_holds(a, b), _shared_layers(a, b)) for a in self.held for b in other.held]
        held = [one for one in held if one.layers is None or one.layers]
        return Rule(
            name=name,
            mask=_joined("|", mine, others),
            isolation=_union(self.isolation, other.isolation),
            positions=_union(self.positions, other.positions),
            drops=drops,
            held=tuple(held),
        )

    def on(self, layers: Iterable[int]) -> Rule:
        """The same rule on some layers only; elsewhere it says nothing, and the model's own mask holds.

        ValueError for what is not a matter of single layers: isolation, positions, dropping.
        """
        chosen = frozenset(layers)
        wrong = {
            "isolates samples, which every layer must": self.isolation,
            "sets positions, which all layers share": self.positions,
            "drops tokens, which says itself at which layer": self.drops,
        }
        for why, part in wrong.items():
            if part:
                raise ValueError(f"{self.name}.on(...): this rule {why}; call .on() before combining with &")
        if not chosen or min(chosen) < 0:
            raise ValueError(f"{self.name}.on({sorted(chosen)}): give at least one layer, numbered from 0")
        return replace(
            self,
            name=f"{self.name}.on({_named(chosen)})",
            mask=None if self.mask is None else _on(self.mask, chosen),
            held=tuple(one._replace(layers=_meet(one.layers, chosen)) for one in self.held),
            silent=tuple(one._replace(layers=_meet(one.layers, chosen)) for one in self.silent),
        )

    @property
    def layers(self) -> frozenset[int]:
        """Every layer that the rule names, to be checked against a model's depth."""
        said = [one.layers for one in leaves(self.mask)] + [one.layers for one in self.held]
        said += [one.layers for one in self.silent]
        named = [one for one in said if one is not None]
        return frozenset().union(*named, {one.layer for one in self.drops})

    @property
    def needs_layout(self) -> bool:
        """Whether the rule reads more than which tokens are padding."""
        read = any(leaf.needs_layout for leaf in (*leaves(self.mask), *self.isolation))
        return bool(read or self.positions or self.drops or self.silent)


def _joined(operation: Literal["&", "|"], left: Mask | None, right: Mask | None) -> Mask | None:
    if left is None or right is None:
        return left if right is None else right
    return Join(operation, left, right)


def _union(left: tuple, right: tuple) -> tuple:
    return left + tuple(one for one in right if one not in left)


def _silent_in_both(left: Rule, right: Rule) -> tuple[Silent, ...]:
    """ValueError where a layer's silent tokens would be told twice, in different ways."""
    for a in left.silent:
        for b in right.silent:
            apart = a.layers is not None and b.layers is not None and not a.layers & b.layers
            if a != b and not apart:
                raise ValueError(
                    f"{left.name} & {right.name}: {a.name} and {b.name} both say what silent tokens of the same layer "
                    "get; use .on(layers), or leave one out"
                )
    return _union(left.silent, right.silent)


def _both_keep(left: tuple[Drop, ...], right: tuple[Drop, ...]) -> tuple[Drop, ...]:
    by_layer = {one.layer: one for one in left}
    for one in right:
        there = by_layer.get(one.layer)
        by_layer[one.layer] = one if there is None else _joined_drop("&", there, one)
    return tuple(by_layer[layer] for layer in sorted(by_layer))


def _either_keeps(left: Rule, right: Rule) -> tuple[Drop, ...]:
    a, b = ({one.layer: one for one in rule.drops} for rule in (left, right))
    if set(a) != set(b):
        layer = min(set(a) ^ set(b))
        dropping, keeping = (left, right) if layer in a else (right, left)
        raise ValueError(
            f"{left.name} | {right.name}: {dropping.name} drops tokens at layer {layer} and {keeping.name} keeps "
            "them all there, so or-ed nothing would be dropped; combine them with &"
        )
    return tuple(_joined_drop("|", a[layer], b[layer]) for layer in sorted(a))


def _joined_drop(operation: str, one: Drop, other: Drop) -> Drop:
    def keep(seen: Seen) -> Tensor:
        a, b = one.keep(seen), other.keep(seen)
        return a & b if operation == "&" else a | b

    name = f"({one.name} {operation} {other.name})"
    text = _union(one.text_scores_of, other.text_scores_of)
    return Drop(name, one.layer, keep, _union(one.scores_of, other.scores_of), text)


def _either_holds(one: Hold, other: Hold) -> Callable[[Layout, int], Tensor]:
    return lambda layout, seen: one.keep(layout, seen) | other.keep(layout, seen)


def _shared_layers(one: Hold, other: Hold) -> frozenset[int] | None:
    return one.layers if other.layers is None else _meet(one.layers, other.layers)


def _meet(layers: frozenset[int] | None, chosen: frozenset[int]) -> frozenset[int]:
    return chosen if layers is None else layers & chosen


def _on(mask: Mask, chosen: frozenset[int]) -> Mask:
    if isinstance(mask, Leaf):
        return mask._replace(layers=_meet(mask.layers, chosen))
    return Join(mask.operation, _on(mask.left, chosen), _on(mask.right, chosen))


def _named(layers: frozenset[int]) -> str:
    ordered = sorted(layers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ", ".join(map(str, ordered))
