"""Mixtures of a recipe's data: what is refused when it is read, their trees, and the records that a stage trains on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.mixtures.mixing import Mixing
from vitrail.data.mixtures.rule import Rule
from vitrail.data.mixtures.tree import Node
from vitrail.recipes import subsets
from vitrail.registry import nearest
from vitrail.settings.faults import NOTHING

if TYPE_CHECKING:
    from vitrail.recipes.schema import Mixture, Recipe

Fault = tuple[tuple[str | int, ...], str, Any]


def is_mixture(data: Any) -> bool:
    """Whether an entry of ``data`` is one."""
    return getattr(data, "kind", None) == "mixture"


def faults(mixture: Mixture) -> list[Fault]:
    """What is wrong with a mixture by itself: shares, and settings of its rule that do not fit them."""
    given = [share for share in mixture.sources.values() if share is not None]
    if given and len(given) < len(mixture.sources):
        name = next(name for name, share in mixture.sources.items() if share is None)
        return [(("sources", name), "give every source a share, or none (a list of names)", NOTHING)]
    wrong = [
        (("sources", name), "must be a finite number of 0 or more", share)
        for name, share in mixture.sources.items()
        if share is not None and not (math.isfinite(share) and share >= 0)
    ]
    if wrong:
        return wrong  # type: ignore[return-value]
    rule = mixture.rule.build()
    try:
        rule.check(list(mixture.sources), given or None)
        shares = rule.shares(list(mixture.sources), given or [1.0] * len(mixture.sources))
    except ValueError as error:
        return [(("rule",) if mixture.rule.settings else ("sources",), str(error), NOTHING)]
    for name, share in zip(mixture.sources, shares, strict=True):
        if not share and name not in rule.unused(list(mixture.sources)):
            return [
                (("sources", name), "a share of 0 is never drawn; remove this source, or give it more", 0)
            ]
    return []


def recipe_faults(recipe: Recipe) -> list[Fault]:
    """What is wrong between mixtures and the rest: names, circles, and stages that cannot train on them."""
    found: list[Fault] = []
    for name, data in recipe.data.items():
        if is_mixture(data):
            found += _name_faults(recipe, name)
        elif circle := _circle(recipe, name, ()):
            why = f"it contains itself: {' → '.join(circle)}; take one out"
            found.append((("data", name, "source"), why, NOTHING))
    if found:
        return found
    for position, stage in enumerate(recipe.stages):
        if is_mixture(recipe.data.get(stage.data)):
            found += _stage_faults(stage, recipe.data[stage.data], position)
    return found


def _name_faults(recipe: Recipe, name: str) -> list[Fault]:
    mixture: Any = recipe.data[name]
    place, rule = ("data", name), mixture.rule.build()
    others = [other for other in recipe.data if other != name]
    named = [*_children(mixture, rule), *(rule.evaluated(list(mixture.sources)))]
    for child in named:
        if child not in recipe.data:
            hint = nearest(child, others)
            field = ("sources", child) if child in mixture.sources else ("rule",)
            return [((*place, *field), f"'data' has no source of this name; {hint}", child)]
    circle = _circle(recipe, name, ())
    if circle:
        return [((*place, "sources"), f"it contains itself: {' → '.join(circle)}; take one out", NOTHING)]
    leaves = tree(recipe, name).leaves()
    twice = next((leaf for leaf in leaves if leaves.count(leaf) > 1), None)
    if twice is not None:
        return [
            ((*place, "sources"), f"{twice!r} is in it twice; name it once, with its whole share", NOTHING)
        ]
    inner = [child for child in _children(mixture, rule) if is_mixture(recipe.data[child])]
    for child in inner:
        if recipe.data[child].rule.build().follows:  # type: ignore[union-attr]
            message = "a mixture that follows losses can only be the outermost; train on it itself"
            return [((*place, "sources", child), message, NOTHING)]
    followed = [end for end in rule.evaluated(list(mixture.sources)) if is_mixture(recipe.data[end])]
    if followed:
        return [
            ((*place, "rule"), f"{followed[0]!r} is a mixture; name the data whose losses count", NOTHING)
        ]
    return []


def _children(mixture: Any, rule: Rule) -> list[str]:
    unused = rule.unused(list(mixture.sources))
    return [name for name in mixture.sources if name not in unused]


def _circle(recipe: Recipe, name: str, above: tuple[str, ...]) -> list[str]:
    if name in above:
        return [*above[above.index(name) :], name]
    data: Any = recipe.data.get(name)
    children = _children(data, data.rule.build()) if is_mixture(data) else subsets.below(data)
    found = (_circle(recipe, child, (*above, name)) for child in children)
    return next((circle for circle in found if circle), [])


def _stage_faults(stage: Any, mixture: Any, position: int) -> list[Fault]:
    place, rule = ("stages", position), mixture.rule.build()
    if stage.packing is not None and stage.epochs is not None:
        message = "how many packed rows an epoch of a mixture has is not known; give max_steps or max_minutes"
        return [((*place, "epochs"), message, stage.epochs)]
    if not rule.follows:
        return []
    if stage.packing is not None:
        return [((*place, "packing"), "a mixture that follows losses is not packed; remove it", NOTHING)]
    if stage.epochs is not None or stage.max_minutes is not None:
        field = "epochs" if stage.epochs is not None else "max_minutes"
        message = "a mixture that follows losses is drawn in rounds of so many steps; give max_steps alone"
        return [((*place, field), message, getattr(stage, field))]
    try:
        rule.every(stage.max_steps or 1)
    except ValueError as error:
        return [((*place, "max_steps"), f"the mixture {stage.data!r} {error}", NOTHING)]
    return []


def tree(recipe: Recipe, name: str, sizes: Mapping[str, float] | None = None) -> Node:
    """A mixture with its shares; ``sizes`` of the leaves decide where none are given (else all count alike)."""
    data: Any = recipe.data[name]
    if not is_mixture(data):
        return Node(name)
    rule = data.rule.build()
    kept = _children(data, rule)
    children = {child: tree(recipe, child, sizes) for child in kept}
    weights = weights_of(data, children, sizes)
    shares = dict(zip(data.sources, rule.shares(list(data.sources), weights), strict=True))
    about = (
        "" if data.rule.name == "fixed" and data.unit == "records" else f"{data.rule.name}, in {data.unit}"
    )
    return Node(name, tuple(children.values()), tuple(float(shares[child]) for child in kept), about)


def sizes_decide(recipe: Recipe, name: str) -> list[str]:
    """The mixtures in the tree of ``name`` whose shares are their sources' sizes."""
    data: Any = recipe.data[name]
    if not is_mixture(data):
        return []
    own = [] if any(share is not None for share in data.sources.values()) else [name]
    children = _children(data, data.rule.build())
    return [*own, *(inner for child in children for inner in sizes_decide(recipe, child))]


def weights_of(
    mixture: Any, children: Mapping[str, Node], sizes: Mapping[str, float] | None = None
) -> list[float]:
    """The given shares of a mixture's sources, or their sizes."""
    if any(share is not None for share in mixture.sources.values()):
        return [float(share) for share in mixture.sources.values()]
    if sizes is None:
        return [1.0] * len(mixture.sources)
    return [float(sum(sizes[leaf] for leaf in children[name].leaves())) for name in mixture.sources]


def open_mixture(recipe: Recipe, name: str, open_leaf: Callable[[str], Any]) -> Any:
    """A mixture as a source: its records interleaved in their shares, counted in records.

    What a plan, a reader or an evaluation sees. ``n`` counts where it counts records; else everything once.
    """
    from vitrail.data.mixtures.interleaved import Interleaved

    data: Any = recipe.data[name]
    leaves = tree(recipe, name).leaves()
    sources = {leaf: open_leaf(leaf) for leaf in leaves}
    node = tree(recipe, name, {leaf: len(source) for leaf, source in sources.items()})
    n = data.n if data.n is not None and data.unit == "records" else sum(map(len, sources.values()))
    return Interleaved(list(sources.values()), node.leaf_shares(), n, recipe.seed, name, leaves)


class MixedRecords:
    """The encoded records of a mixture's leaves, numbered through, and how they are mixed (``mixing``)."""

    def __init__(self, recipe: Recipe, name: str, encode_leaf: Callable[[str], Any]) -> None:
        from vitrail.storage.cache import key

        data: Any = recipe.data[name]
        leaves = tree(recipe, name).leaves()
        self.parts: list[Any] = [encode_leaf(leaf) for leaf in leaves]
        self.lengths: list[int] = [int(length) for part in self.parts for length in part.lengths]
        self._ends = np.cumsum([len(part) for part in self.parts])
        sizes = {
            leaf: float(len(part) if data.unit == "records" else sum(part.lengths))
            for leaf, part in zip(leaves, self.parts, strict=True)
        }
        node = tree(recipe, name, sizes)
        children = {child.name: child for child in node.children}
        self.mixing = Mixing(
            tree=node,
            counts=tuple(len(part) for part in self.parts),
            lengths=self.lengths,
            rule=data.rule.build(),
            names=tuple(children),
            weights=tuple(weights_of(data, children, sizes))
            if len(children) == len(data.sources)
            else node.shares,
            unit=data.unit,
            size=data.n,
        )
        settings = data.model_dump(mode="json")
        self.fingerprint = key(
            "mixture", [part.fingerprint for part in self.parts], settings, list(node.leaf_shares())
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Any:
        which = int(np.searchsorted(self._ends, index, side="right"))
        part = self.parts[which]
        return part[index - int(self._ends[which]) + len(part)]

    def sentence(self) -> str:
        """What became of records that were set aside or cut, leaf by leaf."""
        return "; ".join(filter(None, (part.sentence() for part in self.parts)))

    def pictures(self) -> list[Any]:
        """Every picture of the leaves, in order."""
        return [picture for part in self.parts for picture in part.pictures()]


def note(records: MixedRecords) -> str:
    """The tree for a run's output."""
    return records.mixing.text()


def names_read(recipe: Recipe, stage: Any) -> Sequence[str]:
    """The data that a stage measures its model on: its probes', and what its mixture's rule follows."""
    data: Any = recipe.data[stage.data]
    probed = stage.probes.data if stage.probes is not None else ()
    followed = data.rule.build().evaluated(list(data.sources)) if is_mixture(data) else ()
    return list(dict.fromkeys([*probed, *followed]))
