"""Continuous batching: answers that begin at different times are decoded together, a token of each in one forward.

A prompt is forwarded as ``generate`` forwards it; then its keys and values join those of the running answers
(:mod:`vitrail.models.row_cache`), and leave when it ends. Every answer is the one that
:func:`vitrail.inference.completion.complete` gives: each row has its own positions, is masked for itself, and its
tokens are chosen, and drawn from a random stream, as if it were alone. Log-probabilities are those alone within what
batching does to a float32 (1e-5); an answer is another one only where two tokens are nearer to each other than that,
and of equal ones the first is taken as ever.

transformers' ``ContinuousBatchingManager`` is not used: it takes tokens alone, no pictures; its random numbers are one
stream for all requests, so that an answer drawn at a temperature depends on its neighbours; it tells no likely tokens
beside the chosen one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import DynamicCache

from vitrail.inference import picture_prefix
from vitrail.inference.completion import Following, Token, complete
from vitrail.inference.drawing import Drawing
from vitrail.inference.generation import GenerationSettings, generation_config, require_room
from vitrail.inference.inputs import continuing, forward_parameters, model_inputs, text_config
from vitrail.models.caching import LIBRARY_NAME, cache_of
from vitrail.models.logits import unwrapped
from vitrail.models.row_cache import RowCache, held
from vitrail.models.rules.standing import standing
from vitrail.models.surgery import operating

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

ATTENTION = {"full_attention", "sliding_attention"}
"""Layers whose state is keys and values, and whose masks count tokens, not places."""
TYPES = ("token_type_ids", "mm_token_type_ids")


@dataclass(eq=False)
class Row:
    """An answer on its way: how it is made, who follows its text, and what its next token needs."""

    prompt: Encoded
    settings: GenerationSettings
    following: Following
    drawing: Drawing
    ids: list[int] = field(default_factory=list)
    position: int = 0
    shift: int = 0
    types: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: Bundle, prompt: Encoded, settings: GenerationSettings, following: Following) -> Row:
        """ValueError for beams, or for a prompt that does not fit with its answer."""
        if settings.num_beams > 1:
            raise ValueError(f"num_beams is {settings.num_beams}; an answer among others has none, use 1")
        require_room(bundle, prompt, settings)
        return cls(prompt, settings, following, Drawing(prompt, settings), prompt.input_ids.tolist())


class Running:
    """The answers of one model that are made now: :attr:`rows`. Not thread-safe, like the model.

    The model is put into evaluation mode, and has to stay there.

    Where an error leaves it with :attr:`sound` false, something was half done, and it cannot go on.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle, self._model = bundle, bundle.model.eval()
        self._collate, self._cache = bundle.collator("left"), RowCache()
        self._takes_positions = "position_ids" in forward_parameters(bundle.model)
        self.rows: list[Row] = []
        self.sound = True

    def admit(self, groups: Sequence[Sequence[Row]]) -> list[Row]:
        """Forward prompts, and take each one's rows in, with their first tokens; those rows that are over with it.

        The rows of a group have the same prompt, which is forwarded once. ValueError where the model's cache cannot be
        shared, before anything is changed.
        """
        inputs = model_inputs(self._model, self._collate([group[0].prompt for group in groups]))
        with torch.inference_mode():
            logits, prompts = self._forwarded(inputs)
            held(prompts)
            shifts = _shifts(self._model, len(groups))
            self.sound = False
            for place, group in enumerate(groups):
                for row in group:
                    row.position, row.shift = row.prompt.length, shifts[place]
                    row.types = {name: int(inputs[name][place, -1]) for name in TYPES if name in inputs}
                    self._cache.put(prompts, place, row.prompt.length)
            rows = [row for group in groups for row in group]
            self.rows += rows
            places = torch.tensor([place for place, group in enumerate(groups) for _ in group])
            return self._chosen(rows, logits[places.to(logits.device)])

    def step(self) -> list[Row]:
        """One more token for each row; the rows that are over with it."""
        if not self.rows:
            return []
        with torch.inference_mode():
            self.sound = False
            self._cache.before_step()
            logits = self._model(**self._inputs()).logits[:, -1].to(dtype=torch.float32)
            self._cache.after_step()
            for row in self.rows:
                row.position += 1
            return self._chosen(list(self.rows), logits)

    def drop(self, row: Row) -> None:
        """Take a row out, whether its answer is whole or not."""
        place = self.rows.index(row)
        with torch.inference_mode():
            self._cache.drop(place)
        self.rows[place] = self.rows[-1]
        self.rows.pop()

    def tokens_with(self, rows: Sequence[Row] = ()) -> int:
        """Tokens that the cache holds when all rows that run, and ``rows``, are as long as they may become."""
        both = [*self.rows, *rows]
        return len(both) * max((one.prompt.length + one.settings.max_new_tokens for one in both), default=0)

    def _forwarded(self, inputs: dict[str, Any]) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """The logits behind prompts, and their cache: as ``generate`` forwards them."""
        one = GenerationSettings(max_new_tokens=1)
        config = generation_config(self._bundle, one)
        config.return_dict_in_generate = config.output_logits = True
        output = self._model.generate(**inputs, generation_config=config, **{LIBRARY_NAME: DynamicCache()})
        return output.logits[0], cache_of(output)

    def _inputs(self) -> dict[str, Any]:
        """Arguments of the forward that brings each row's next token, as ``generate`` prepares them."""
        device = self._bundle.device
        last = torch.tensor([[row.ids[-1]] for row in self.rows], device=device)
        further: dict[str, Any] = {
            name: torch.tensor([[row.types[name]] for row in self.rows], device=device)
            for name in self.rows[0].types
        }
        if "mm_token_type_ids" in further:
            further["mm_token_type_ids"].zero_()
        if self._takes_positions:
            text = torch.tensor([[row.position] for row in self.rows])
            if _three_axes(self._model):
                shift = torch.tensor([[row.shift] for row in self.rows])
                text = torch.stack([text, *[text + shift] * 3])
            further["position_ids"] = text.to(device)
        inputs: dict[str, Any] = self._model.prepare_inputs_for_generation(
            last,
            **{LIBRARY_NAME: self._cache.cache},
            attention_mask=self._cache.mask(device),
            use_cache=True,
            **further,
        )
        return {**inputs, "return_dict": True}

    def _chosen(self, rows: list[Row], logits: Float[Tensor, "rows vocab"]) -> list[Row]:
        """Each row's next token; the rows that are over with it, and leave."""
        alike: dict[Any, list[int]] = {}
        for place, row in enumerate(rows):
            alike.setdefault(row.drawing.kind, []).append(place)
        ended = []
        for places in alike.values():
            some = [rows[place] for place in places]
            scores = logits if len(places) == len(rows) else logits[places]
            scores = _penalised(some, scores)
            logprobs = _logprobs(some, scores)
            tokens = Drawing.choose([row.drawing for row in some], scores)
            for place, (row, token) in enumerate(zip(some, tokens, strict=True)):
                row.ids.append(token)
                following = row.following
                following.logprobs = None if logprobs is None else logprobs[place]
                if following.take(token) or following.made == row.settings.max_new_tokens:
                    ended.append(row)
        for row in ended:
            self.drop(row)
        self.sound = True
        return ended


def _penalised(rows: Sequence[Row], scores: Tensor) -> Tensor:
    """The scores under the rows' repetition penalty (the same for all of them), each for its own tokens."""
    penalty = rows[0].settings.repetition_penalty
    if penalty == 1:
        return scores
    from transformers import RepetitionPenaltyLogitsProcessor

    penalise = RepetitionPenaltyLogitsProcessor(penalty)
    device = scores.device
    return torch.cat(
        [
            penalise(torch.tensor([row.ids], device=device), scores[place : place + 1])
            for place, row in enumerate(rows)
        ]
    )


def _logprobs(rows: Sequence[Row], scores: Tensor) -> Tensor | None:
    wanted = any(row.following.top is not None for row in rows)
    return scores.float().log_softmax(-1) if wanted else None


def _three_axes(model: Any) -> bool:
    return hasattr(getattr(unwrapped(model), "model", None), "get_rope_index")


def _shifts(model: Any, rows: int) -> list[int]:
    """By how much the positions of words behind pictures differ from their places, where positions have three axes."""
    if not _three_axes(model):
        return [0] * rows
    inner: Any = unwrapped(model)
    found: list[int] = inner.model.rope_deltas.reshape(-1).tolist()
    return found


def why_alone(bundle: Bundle) -> str:
    """Why the answers of a model cannot be made together; empty where they can. It is looked up, and then tried."""
    model = bundle.model
    rules = standing(model)
    if rules:
        return f"{', '.join(rules)} holds in its decoder"
    if done := [name for name, _, _ in operating.done(unwrapped(model).config)]:
        return f"it was changed inside ({', '.join(done)})"
    if any(getattr(module, "_is_stateful", False) for module in unwrapped(model).modules()):
        return "it keeps a recurrent state"
    if "position_ids" not in forward_parameters(model):
        return "its forward takes no positions"
    kinds = set(getattr(text_config(model), "layer_types", None) or ()) - ATTENTION
    if kinds:
        return f"it has layers of type {', '.join(sorted(kinds))}"
    return picture_prefix.why_not(model) or _tried(bundle)


TRIAL = ("A picture is worth a thousand words,", "One")
TRIAL_TOKENS = 4
FAR = {torch.float64: 1e-4, torch.float32: 1e-3}
"""By how much a log-probability (nats) of the trial may move; 0.3 in half precision."""


def _tried(bundle: Bundle) -> str:
    """Two texts of different length continued alone and together: empty if they have the same log-probabilities."""
    settings = GenerationSettings(max_new_tokens=TRIAL_TOKENS)
    try:
        prompts = [continuing(bundle, text) for text in TRIAL]
        alone = [complete(bundle, one, settings, top_logprobs=5).tokens for one in prompts]
        running = Running(bundle)
        rows = [Row.of(bundle, one, settings, Following(bundle, top=5)) for one in prompts]
        for row in rows:  # one begins while the other is under way
            running.admit([[row]])
            running.step()
        while running.rows:
            running.step()
        together = [row.following.completion().tokens for row in rows]
    except Exception as error:  # a model of somebody else's may fail in any way
        return f"a trial of it failed ({type(error).__name__}: {str(error)[:200]})"
    far = max(map(_difference, alone, together))
    allowed = FAR.get(next(bundle.model.parameters()).dtype, 0.3)
    return "" if far <= allowed else f"log-probabilities moved by {far:.2g} in a trial of it"


def _difference(alone: Sequence[Token], together: Sequence[Token]) -> float:
    """The largest distance of log-probabilities up to where other tokens were chosen."""
    far = 0.0
    for one, other in zip(alone, together, strict=False):
        values = dict(other.top)
        far = max([far, *(abs(value - values.get(token, value)) for token, value in one.top)])
        if one.id != other.id:
            break
    return far
