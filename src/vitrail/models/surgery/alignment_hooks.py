"""How AlignGPT's token gets in and out: the model's arguments, hooks of its decoder, and a cache that knows of it.

The outer model is given a class that notes what a call says (ids, labels, levels). The decoder's hook then widens
embeddings, mask and positions by one column, and what comes out is narrowed again. A cache keeps the widened row, so
every later call is made room in mask and positions at the same place.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.models.caching import NAMES, cache_of
from vitrail.models.layout import Layout, Speaker
from vitrail.models.logits import unwrapped
from vitrail.models.rules.call import call_of
from vitrail.models.surgery.alignment_token import Insertion

LEVEL = "alignment_level"
"""Where a record keeps its level: ``meta["alignment_level"]``."""

_CALLS: ContextVar[tuple[_Call, ...]] = ContextVar("vitrail_aligngpt", default=())
_PROMPT: ContextVar[tuple[nn.Module, int] | None] = ContextVar("vitrail_aligngpt_prompt", default=None)
"""A model and the columns of its prompt while tokens are generated: what was said since is no instruction."""
_OFF: ContextVar[tuple[nn.Module, ...]] = ContextVar("vitrail_aligngpt_off", default=())


@dataclass
class _Call:
    """One forward of the model: what the decoder's hooks cannot see by themselves."""

    model: Any
    decoder: nn.Module
    ids: Tensor | None
    learnt: Tensor | None
    levels: Any
    prompt: int | None
    entered: Insertion | None = None

    def enter(self, embeds: Tensor, mask: Tensor) -> tuple[Tensor, Insertion | None]:
        """The embeddings with the token, and where it stands; as they came if no row has a picture."""
        token: Any = self.model.aligngpt
        if self.ids is None:
            raise ValueError("aligngpt looks for pictures among input_ids; give those, not inputs_embeds")
        present = mask.bool()
        pictures = (self.ids == self.model.config.image_token_id) & present
        rows = pictures.any(-1)
        if not bool(rows.any()):
            return embeds + token.untouched([]) if self._trains(token) else embeds, None
        inserted = Insertion.behind(mask, rows, token.config.position)
        new = self._tokens(embeds, present, pictures, inserted)
        return inserted.widen(embeds, new), inserted

    def _tokens(self, embeds: Tensor, present: Tensor, pictures: Tensor, inserted: Insertion) -> Tensor:
        token: Any = self.model.aligngpt
        rows, levels = inserted.rows, self._levels(inserted.rows)
        given = rows & (levels >= 0)
        wanted = rows & ~given
        table = token.levels.weight
        if bool(wanted.any()) and token.config.learn_levels == "levels" and self._trains(token.levels):
            row = int(wanted.nonzero()[0])
            raise ValueError(
                f"row {row} has a picture and no alignment level, but aligngpt.levels trains: give alignment_levels "
                f"(a record's meta[{LEVEL!r}]), train aligngpt.gate instead, or set learn_levels to 'mixture'"
            )
        new, used = embeds.new_zeros(len(embeds), embeds.shape[-1]), [table]
        if bool(given.any()):
            new = new.masked_scatter(given[:, None], token.levels.select(levels[given]).to(new.dtype))
        if bool(wanted.any()):
            text = self._text(present & ~pictures, inserted)[wanted]
            own = [row[mask] for row, mask in zip(embeds[wanted], pictures[wanted], strict=True)]
            new = new.masked_scatter(wanted[:, None], token.mixed(own, embeds[wanted], text).to(new.dtype))
            used = list(token.parameters())
        return new + token.untouched(used) if self._trains(token) else new

    def _levels(self, rows: Tensor) -> Tensor:
        if self.levels is None:
            return torch.full(rows.shape, -1, device=rows.device)
        levels = torch.as_tensor(self.levels, device=rows.device).long()
        levels = levels.expand(rows.shape) if levels.ndim == 0 else levels
        if levels.shape != rows.shape:
            raise ValueError(
                f"alignment_levels are (batch,) = {tuple(rows.shape)}, one a row; got {tuple(levels.shape)}"
            )
        if bool((levels < -1).any()):
            raise ValueError(
                f"an alignment level is {int(levels.min())}; −1 stands for none, levels begin at 0"
            )
        return levels

    def _text(self, words: Tensor, inserted: Insertion) -> Tensor:
        """``(batch, tokens)``: those of ``words`` behind the token's place that the gate reads."""
        assert self.ids is not None
        config = self.model.config
        at = torch.arange(self.ids.shape[1], device=self.ids.device)
        text = words & (at >= inserted.place[:, None])
        video = getattr(config, "video_token_id", None)
        text = text if video is None else text & (self.ids != video)
        if self.prompt is not None:
            text = text & (at < self.prompt)
        if self.model.aligngpt.config.text_scope == "all":
            return text
        if self.learnt is not None:
            return text & (self.learnt.long().cumsum(-1) == 0)
        if self.model.training and torch.is_grad_enabled():
            raise ValueError(
                "aligngpt cannot see which tokens are answers, so they would leak into its token: give labels, a "
                "boolean logits_to_keep or a layout, or set text_scope to 'all'"
            )
        return text

    def _trains(self, module: nn.Module) -> bool:
        learning = self.model.training and torch.is_grad_enabled()
        return learning and any(one.requires_grad for one in module.parameters())


@functools.cache
def aligned_class(base: Any) -> Any:
    """``base`` with two more arguments: ``alignment_levels`` ``(batch,)`` or one number, which always count, and
    ``record_levels``, which count in training mode only (a record's own level would tell the answer's quality).
    """
    signature = inspect.signature(base.forward)

    class Aligned(base):
        takes_alignment = True

        def forward(
            self, *args: Any, alignment_levels: Any = None, record_levels: Any = None, **kwargs: Any
        ) -> Any:
            if any(one is self for one in _OFF.get()):
                return super().forward(*args, **kwargs)
            given = signature.bind(self, *args, **kwargs).arguments
            given = {**given, **given.pop("kwargs", {})}
            if alignment_levels is None and self.training:
                alignment_levels = record_levels
            prompt = _PROMPT.get()
            call = _Call(
                model=self,
                decoder=self.get_decoder(),
                ids=given.get("input_ids"),
                learnt=_learnt(given),
                levels=alignment_levels,
                prompt=prompt[1] if prompt is not None and prompt[0] is self else None,
            )
            reset = _CALLS.set((*_CALLS.get(), call))
            try:
                return super().forward(*args, **kwargs)
            finally:
                _CALLS.reset(reset)

        def generate(self, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
            ids = kwargs.get("input_ids", inputs)
            reset = _PROMPT.set((self, ids.shape[1]) if isinstance(ids, Tensor) else None)
            try:
                return super().generate(inputs, *args, **kwargs)
            finally:
                _PROMPT.reset(reset)

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("alignment_levels", "record_levels")
    ]
    own = list(signature.parameters.values())
    cut = next((n for n, one in enumerate(own) if one.kind is inspect.Parameter.VAR_KEYWORD), len(own))
    Aligned.forward.__signature__ = signature.replace(parameters=[*own[:cut], *more, *own[cut:]])  # type: ignore[attr-defined]
    Aligned.__name__, Aligned.__qualname__ = base.__name__, base.__qualname__
    Aligned.__module__ = base.__module__
    return Aligned


def _learnt(given: Mapping[str, Any]) -> Tensor | None:
    """``(batch, tokens)``: which tokens are to be learnt, as far as a call tells; None if it does not."""
    labels, keep, layout = (given.get(name) for name in ("labels", "logits_to_keep", "layout"))
    if labels is not None:
        return labels != -100
    if isinstance(keep, Tensor) and keep.dtype == torch.bool and keep.ndim == 2:
        return torch.nn.functional.pad(keep[:, :-1], (1, 0))
    if isinstance(layout, Layout):
        return (layout.speaker == int(Speaker.ASSISTANT)) & (layout.weight > 0)
    return None


def _call(decoder: nn.Module) -> _Call | None:
    return next((call for call in reversed(_CALLS.get()) if call.decoder is decoder), None)


def enter(decoder: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    """Let the token in; behind a prompt that has it, make room for it in mask and positions."""
    call = _call(decoder)
    if call is None:
        return None
    names = list(inspect.signature(decoder.forward).parameters)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    embeds = given.get("inputs_embeds")
    if embeds is None:
        embeds = decoder.get_input_embeddings()(given["input_ids"])  # type: ignore[operator]
    batch, tokens = embeds.shape[:2]
    cache = next((given[name] for name in NAMES if given.get(name) is not None), None)
    past = int(cache.get_seq_length()) if cache is not None else 0
    inserted: Insertion | None = getattr(cache, "vitrail_inserted", None) if past else None
    if past and inserted is None:
        return None
    mask = given.get("attention_mask")
    if mask is None:
        mask = torch.ones(batch, tokens + (past - 1 if past else 0), dtype=torch.long, device=embeds.device)
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        raise ValueError(
            "aligngpt needs an attention mask (batch, tokens); a ready mask of four dimensions is not one"
        )
    positions = given.get("position_ids")
    if inserted is not None:
        inserted = inserted.expanded(batch)
        if positions is None:
            positions = torch.arange(past - 1, past - 1 + tokens, device=embeds.device)[None]
        positions = positions + inserted.rows[:, None].long()
    else:
        embeds, inserted = call.enter(embeds, mask)
        if inserted is None:
            return (), {**given, "input_ids": None, "inputs_embeds": embeds}
        if positions is None:
            positions = torch.arange(tokens, device=embeds.device)[None]
        positions = inserted.positions(positions)
        call.entered = inserted
    if (rule := call_of(decoder=decoder)) is not None:
        raise ValueError(
            f"{rule.rule.name} and aligngpt cannot hold at once: a rule reads what every token is, and aligngpt's is "
            "not in the layout"
        )
    given |= {
        "input_ids": None,
        "inputs_embeds": embeds,
        "attention_mask": inserted.mask(mask),
        "position_ids": positions,
    }
    return (), given


def leave(decoder: nn.Module, args: tuple, output: Any) -> Any:
    """Take the token out of what was computed; the cache keeps it and knows where."""
    call = _call(decoder)
    if call is None or call.entered is None:
        return None
    inserted, call.entered = call.entered, None
    cache = cache_of(output)
    if cache is not None:
        _follow(cache, inserted)
    output.last_hidden_state = inserted.narrow(output.last_hidden_state)
    if output.get("hidden_states") is not None:
        output.hidden_states = tuple(inserted.narrow(states) for states in output.hidden_states)
    return output


def _follow(cache: Any, inserted: Insertion) -> None:
    """The cache knows where the token stands, also when its rows are chosen anew."""
    cache.vitrail_inserted = inserted
    kind: Any = type(cache)
    if not getattr(kind, "follows_insertion", False):
        cache.__class__ = _following_class(kind)


@functools.cache
def _following_class(base: Any) -> Any:
    class Following(base):
        follows_insertion = True

        def reorder_cache(self, beam_idx: Tensor) -> None:
            super().reorder_cache(beam_idx)
            self.vitrail_inserted = self._rows().take(beam_idx)

        def batch_select_indices(self, indices: Tensor) -> None:
            rows = self._rows()
            super().batch_select_indices(indices)
            self.vitrail_inserted = rows.take(indices)

        def batch_repeat_interleave(self, repeats: int) -> None:
            rows = self._rows()
            super().batch_repeat_interleave(repeats)
            self.vitrail_inserted = rows.expanded(len(rows.place) * repeats)

        def _rows(self) -> Insertion:
            return self.vitrail_inserted

    Following.__name__, Following.__qualname__ = base.__name__, base.__qualname__
    Following.__module__ = base.__module__
    return Following


@contextmanager
def without_token(model: nn.Module) -> Iterator[None]:
    """The model (or one inside wrappers) as it was, without the token, until the block ends."""
    reset = _OFF.set((*_OFF.get(), unwrapped(model)))
    try:
        yield
    finally:
        _OFF.reset(reset)
