"""The state of one use of a rule. It belongs to the call and to its cache, never to the model."""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.models.layout import Layout, Modality, Speaker
from vitrail.models.rules.asking import Rows
from vitrail.models.rules.positions import segment_positions
from vitrail.models.rules.rule import Rule, Silent, leaves
from vitrail.models.rules.target import Target

_CALLS: ContextVar[tuple[Call, ...]] = ContextVar("vitrail_rules", default=())
"""The rules that hold here: in this thread and this task."""


class Call:
    """A rule that holds in a model, with the layout of its batch."""

    def __init__(self, rule: Rule, target: Target, layout: Layout | None) -> None:
        self.rule, self.target = rule, target
        self._given, self._layout = layout, layout
        self._bound: dict[tuple[int, int], Layout] = {}
        self._placed: dict[int, tuple[Tensor, float]] = {}
        self._made: list[weakref.ref] = []
        self._groups()
        self.chosen: dict[int, Bool[Tensor, "batch tokens"]] = {}
        self.kept: Bool[Tensor, "batch tokens"] | None = None
        """Which tokens were still there behind the last layer of the latest forward over a prompt; None before."""

    @property
    def shapes_mask(self) -> bool:
        """Whether the rule says anything about who sees whom."""
        return self.rule.mask is not None or bool(self.rule.isolation)

    def _groups(self) -> None:
        """Layers of equal masks share one: which group a layer is in, and where its channels lie in the mask."""
        said = leaves(self.rule.mask)
        keys = [tuple(one.holds(layer) for one in said) for layer in range(self.target.num_layers)]
        self.representatives: list[int] = []
        self.group: list[int] = []
        for layer, key in enumerate(keys):
            if key not in (seen := [keys[one] for one in self.representatives]):
                self.representatives.append(layer)
                self.group.append(len(seen))
            else:
                self.group.append(seen.index(key))
        always = any(leaf.per_head for leaf in self.rule.isolation)
        heads = [
            always or any(leaf.per_head and leaf.holds(layer) for leaf in said)
            for layer in self.representatives
        ]
        self.channels = [self.target.num_heads if one else 1 for one in heads]

    def channels_of(self, layer: int) -> slice:
        """Where a layer's mask lies among the channels of a mask of all groups."""
        group = self.group[layer]
        begin = sum(self.channels[:group])
        return slice(begin, begin + self.channels[group])

    def made(self, mask: Any) -> None:
        """Remember a mask that follows the rule."""
        self._made = [one for one in self._made if one() is not None]
        self._made.append(weakref.ref(mask))

    def is_made(self, mask: Any) -> bool:
        """Whether a mask follows the rule."""
        return any(one() is mask for one in self._made)

    def see_layout(self, layout: Layout | None, mask: Tensor | None, *, first: bool) -> None:
        """Take the layout that comes with a batch, unless one was given with the rule, and check it.

        A rule that reads nothing but padding gets along with the attention mask ``(batch, tokens)``. ``first`` says
        that nothing is in a cache yet: only then is the layout compared with the mask.
        """
        if self._given is None and layout is not None and layout is not self._layout:
            self._use(layout)
        elif self._given is None and layout is None and not self.rule.needs_layout and mask is not None:
            self._use(_plain(mask))
        if self._layout is None:
            raise ValueError(
                f"{self.rule.name} reads what tokens are: give the layout of the batch, applied(model, rule, layout)"
            )
        if mask is not None and first:
            self._check(self._layout, mask)

    def _use(self, layout: Layout) -> None:
        self._layout = layout
        self._bound, self._placed, self.chosen = {}, {}, {}

    def _check(self, layout: Layout, mask: Tensor) -> None:
        """ValueError if the layout is not that of the batch (each row as often as generation repeats it)."""
        rows, tokens = layout.shape
        if len(mask) % rows or mask.shape[1] < tokens:
            raise ValueError(
                f"the layout given with {self.rule.name} is (batch, tokens) = {tuple(layout.shape)}, "
                f"the batch {tuple(mask.shape)}; give the layout of this batch, in one forward (no prefill_chunk_size)"
            )
        present = layout.present.to(mask.device).repeat_interleave(len(mask) // rows, dim=0)
        if not torch.equal(mask[:, :tokens].bool(), present):
            raise ValueError(
                f"the layout given with {self.rule.name} has its padding elsewhere than the attention mask; "
                "give the layout of this batch"
            )

    @property
    def tokens(self) -> int:
        """Tokens of the layout, those to come not counted."""
        assert self._layout is not None
        return self._layout.shape[1]

    def prompt(self, batch: int) -> Layout:
        """The layout of the prompt with its rows repeated to ``batch``, as beams and samples repeat them."""
        layout = self._layout
        if layout is None:
            raise ValueError(f"{self.rule.name}: give the layout with the rule, applied(model, rule, layout)")
        if batch % layout.shape[0]:
            raise ValueError(
                f"the layout given with {self.rule.name} has {layout.shape[0]} rows, the batch has {batch}"
            )
        times = batch // layout.shape[0]
        return layout if times == 1 else layout.repeat_interleave(times)

    def layout(self, batch: int, tokens: int, device: torch.device | str) -> Layout:
        """The layout of ``batch`` rows, padded behind for tokens to come to at least ``tokens``."""
        width = max(-(-tokens // 256) * 256, self.tokens if self._layout is not None else 0)
        key = (batch, width)
        if key not in self._bound:
            self._bound = {key: extended(self.prompt(batch).to(device), width)}
        return self._bound[key]

    def place(self, batch: int, begin: int, end: int, device: torch.device) -> Tensor | None:
        """Positions of the tokens ``begin`` to ``end``, from 0; None if the rule sets none.

        ValueError if two rules set different ones.
        """
        if not self.rule.positions:
            return None
        layout = self.prompt(batch).to(device)
        if batch not in self._placed:
            self._placed = {batch: self._place_prompt(layout)}
        first, step = self._placed[batch]
        last = layout.segment.amax(-1, keepdim=True)
        inside = (layout.segment == last) & layout.present
        following = torch.where(inside, first, -1).amax(-1, keepdim=True)
        following = following if following.ndim == 2 else following.amax(0, keepdim=True).expand(3, -1, -1)
        more = following + step * (1 + torch.arange(max(end - layout.shape[1], 0), device=device))
        return torch.cat([first, more], dim=-1)[..., begin:end]

    def _place_prompt(self, layout: Layout) -> tuple[Tensor, float]:
        """Positions of the layout's tokens, and by how much words behind them advance."""
        own = [one for one in self.rule.positions if one.by_segment]
        chosen = [one for one in self.rule.positions if one in own or not own or one != segment_positions]
        found = [(one.name, one.give(layout, self.target.axes)) for one in chosen]
        (name, first), *others = [(name, _axes(value, self.target.axes)) for name, value in found]
        for other, value in others:
            if not torch.equal(first[..., layout.present], value[..., layout.present]):
                raise ValueError(
                    f"{self.rule.name}: {name} and {other} place tokens differently; leave one out"
                )
        return first, chosen[0].step


class Pass:
    """One forward of a decoder under a rule. It travels to the layers in their keywords, so that what runs later, or
    in another thread (the recomputation of gradient checkpointing), finds it too.
    """

    def __init__(
        self, call: Call, batch: int, begin: int, end: int, cache: Any, device: torch.device
    ) -> None:
        self.call, self.batch, self.begin, self.end, self.cache = call, batch, begin, end, cache
        self.layout = call.layout(batch, end, device)
        self.scores: dict[int, Tensor] = {}
        self.wanted = {one for drop in call.rule.drops for one in drop.scores_of} if not begin else set()
        self.text_scores: dict[int, Tensor] = {}
        self.text_wanted = (
            {one for drop in call.rule.drops for one in drop.text_scores_of} if not begin else set()
        )
        self.kept: dict[int, Int[Tensor, "batch kept"]] = {}
        self.saw: set[int] = set()
        self._asking: dict[tuple[Silent, int], Rows | None] = {}

    def alive(self, layer: int) -> Int[Tensor, "batch kept"] | None:
        """The tokens still there at a layer: indices, sorted, −1 for none; None if none was dropped."""
        reached = [one for one in self.kept if one <= layer]
        return self.kept[max(reached)] if reached else None

    def asking(self, layer: int) -> Rows | None:
        """Which tokens ask at a layer, among those that arrive there; None where all of them do."""
        silent = next((one for one in self.call.rule.silent if one.holds(layer)), None)
        if silent is None:
            return None
        stage = max((one for one in self.kept if one <= layer), default=-1)
        if (silent, stage) not in self._asking:
            which = silent.which(self.layout)
            if stage < 0:
                which = which[:, self.begin : self.end]
            else:
                which = which.gather(1, self.kept[stage].clamp(min=0)) & (self.kept[stage] >= 0)
            offset = self.begin if stage < 0 else 0
            self._asking[silent, stage] = Rows.of(silent, ~which, offset) if bool(which.any()) else None
        return self._asking[silent, stage]

    def last(self, layer: int, device: torch.device) -> Int[Tensor, "batch"]:
        """Where each row's last token stands among the queries at a layer."""
        kept = self.alive(layer)
        if kept is not None:  # sorted, with the empty ones in front
            return torch.full((self.batch,), kept.shape[1] - 1, device=device)
        present = self.layout.present[:, : self.end]
        return (present * torch.arange(self.end, device=device)).argmax(-1)

    def text_rows(self, layer: int) -> Bool[Tensor, "batch queries"]:
        """Which queries at a layer are words behind the row's last visual token.

        ValueError for a row with visual tokens and no word behind them.
        """
        layout = self.layout
        place = torch.arange(layout.shape[1], device=layout.segment.device)
        last = torch.where(layout.visual, place, -1).amax(-1, keepdim=True)
        asks = (layout.present & ~layout.visual & (place > last))[:, : self.end]
        lacking = ((last[:, 0] >= 0) & ~asks.any(-1)).nonzero()
        if len(lacking):
            raise ValueError(
                f"{self.call.rule.name} ranks visual tokens by the words behind them, but row {int(lacking[0])} ends "
                "with a picture; put the question behind it"
            )
        kept = self.alive(layer)
        return asks if kept is None else asks.gather(1, kept.clamp(min=0)) & (kept >= 0)


def here() -> tuple[Call, ...]:
    """The rules that hold in this thread or task."""
    return _CALLS.get()


def call_of(config: Any = None, decoder: Any = None) -> Call | None:
    """The rule that holds for a decoder, or for the model that a configuration belongs to."""
    for call in here():
        if decoder is not None and call.target.decoder is decoder:
            return call
        if config is not None and any(config is one for one in call.target.configs):
            return call
    return None


def extended(layout: Layout, tokens: int) -> Layout:
    """A layout padded behind, to ``tokens``: answers in words that follow the row's last segment."""
    more = tokens - layout.shape[1]
    if more <= 0:
        return layout
    fill = {
        "modality": int(Modality.TEXT),
        "item": -1,
        "frame": -1,
        "row": -1,
        "col": -1,
        "speaker": int(Speaker.ASSISTANT),
        "weight": 0.0,
        "droppable": False,
    }
    columns = {
        name: torch.nn.functional.pad(getattr(layout, name), (0, more), value=value)
        for name, value in fill.items()
    }
    last = layout.segment.amax(-1, keepdim=True).clamp(min=0)
    return Layout(segment=torch.cat([layout.segment, last.expand(-1, more)], dim=-1), **columns)


def _plain(mask: Tensor) -> Layout:
    """A layout of words, from an attention mask ``(batch, tokens)``, of numbers or bools."""
    present = mask.bool()
    none = torch.full(mask.shape, -1, device=mask.device)
    return Layout(
        segment=present.long() - 1,
        modality=torch.where(present, int(Modality.TEXT), int(Modality.PADDING)),
        item=none,
        frame=none,
        row=none,
        col=none,
        speaker=torch.full_like(none, int(Speaker.TEMPLATE)),
        weight=torch.zeros(mask.shape, device=mask.device),
        droppable=torch.zeros_like(present),
    )


def _axes(positions: Tensor, axes: int) -> Tensor:
    return positions.expand(3, -1, -1) if axes == 3 and positions.ndim == 2 else positions
