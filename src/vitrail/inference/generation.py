"""Answers in words: a batch of chats at once, or one chat as a stream that can be stopped."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.records import Chat
from vitrail.inference import picture_prefix
from vitrail.inference.drawing import drawing
from vitrail.inference.inputs import context_length, evaluating, extended, model_inputs
from vitrail.inference.prefill import inputs_behind_pictures, prompt_sharing
from vitrail.models.encoding import Encoded

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


class GenerationSettings(BaseModel):
    """How to generate. ``temperature`` 0 takes the likeliest token each time; ``seed`` matters above 0 only.

    ``top_k`` 0 and ``top_p`` 1 keep every token. What is drawn for a chat depends on settings, seed and chat alone, not
    on its batch; with beams on the batch, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    num_beams: int = Field(default=1, ge=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> GenerationSettings:
        if self.temperature == 0:
            for name, neutral in (("top_p", 1.0), ("top_k", 0)):
                if getattr(self, name) != neutral:
                    raise ValueError(
                        f"{name} has no effect with temperature 0; give a temperature, or remove it"
                    )
        return self


@dataclass(frozen=True)
class Reply:
    """An answer: its text, its tokens (without the one that ends the turn), whether the model ended it
    itself.
    """

    text: str
    tokens: tuple[int, ...]
    finished: bool


def generate(
    bundle: Bundle,
    chats: Sequence[Chat],
    settings: GenerationSettings | None = None,
    *,
    root: Path | None = None,
    batch_size: int = 16,
) -> list[Reply]:
    """Answers to chats that end with a user's turn, in their order.

    ``root`` is where relative paths of pictures are looked up. ValueError if a prompt and its answer may not
    fit into the model's context, naming the chat.
    """
    encoded = [bundle.encoder.encode(chat, add_generation_prompt=True, root=root) for chat in chats]
    return generate_from(bundle, encoded, settings, batch_size=batch_size)


def generate_from(
    bundle: Bundle,
    prompts: Sequence[Encoded],
    settings: GenerationSettings | None = None,
    *,
    batch_size: int = 16,
) -> list[Reply]:
    """As :func:`generate`, for encoded prompts (which may hold the beginning of the answer).

    Prompts of a batch that begin with the same pictures have their common beginning forwarded once for all
    (:mod:`vitrail.inference.picture_prefix`), where the model allows it (:func:`why_not_shared`).
    """
    chosen = settings or GenerationSettings()
    for prompt in prompts:
        require_room(bundle, prompt, chosen)
    model, collator, ends = bundle.model, bundle.collator("left"), end_tokens(bundle)
    replies: dict[int, Reply] = {}

    def answer(indices: list[int], inputs: dict[str, Any]) -> None:
        with _seeded(chosen):
            rows = model.generate(
                **inputs,
                generation_config=generation_config(bundle, chosen),
                logits_processor=drawing([prompts[index] for index in indices], chosen),
            )
        width = inputs["input_ids"].shape[1]
        replies.update(
            (index, _reply(bundle, row[width:].tolist(), ends))
            for index, row in zip(indices, rows, strict=True)
        )

    with evaluating(model):
        groups, others = _same_beginnings(model, prompts, chosen, batch_size)
        for some in picture_prefix.batches(groups, prompts, batch_size, sys.maxsize):
            alike = [[prompts[index] for index in group] for group in some]
            answer(
                [index for group in some for index in group], inputs_behind_pictures(model, collator, alike)
            )
        for group in _by_length(others, prompts, batch_size):
            inputs = model_inputs(model, collator([prompts[index] for index in group]))
            if chosen.repetition_penalty != 1:
                inputs["input_ids"] = _padded_with_own(inputs["input_ids"], inputs["attention_mask"])
            answer(group, inputs)
    return [replies[index] for index in range(len(prompts))]


def _padded_with_own(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Tokens ``(rows, length)`` padded with each prompt's last one, which a penalty on repetition has seen anyway.

    The padding token would be penalised in the shorter prompts of a batch alone, and it may be the one that ends.
    """
    return torch.where(mask.bool(), ids, ids[:, -1:])


def why_not_shared(model: Any, settings: GenerationSettings) -> str:
    """Why the beginning of several questions about one picture is not forwarded once for all; empty where it is."""
    if settings.num_beams > 1:
        return "beams are searched"
    if kind := getattr(getattr(model, "generation_config", None), "cache_implementation", None):
        return f"its generation_config asks for a {kind} cache"
    sharing = prompt_sharing(model)
    return picture_prefix.why_not(model) if sharing.possible else sharing.reason


def _same_beginnings(
    model: Any, prompts: Sequence[Encoded], settings: GenerationSettings, batch_size: int
) -> tuple[list[list[int]], list[int]]:
    if batch_size < 2 or why_not_shared(model, settings):
        return [], list(range(len(prompts)))
    return picture_prefix.same_beginnings(prompts, batch_size)


def _by_length(indices: list[int], prompts: Sequence[Encoded], batch_size: int) -> Iterator[list[int]]:
    """In groups, the longest prompts first."""
    order = sorted(indices, key=lambda index: (-prompts[index].length, index))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def require_room(bundle: Bundle, prompt: Encoded, settings: GenerationSettings) -> None:
    """ValueError if the prompt and ``max_new_tokens`` more exceed the model's context."""
    limit = context_length(bundle.model)
    if limit is not None and prompt.length + settings.max_new_tokens > limit:
        who = f"chat {prompt.id!r}" if prompt.id is not None else "this chat"
        raise ValueError(
            f"{who} has {prompt.length} tokens; with max_new_tokens={settings.max_new_tokens} that is more "
            f"than the model's context of {limit}. Shorten it, or lower max_new_tokens"
        )


def end_tokens(bundle: Bundle) -> list[int]:
    """Tokens that end an answer: what the chat template writes behind a turn, and the model's own."""
    own = getattr(bundle.model.generation_config, "eos_token_id", None)
    own = own if isinstance(own, (list, tuple)) else [own]
    found = [*bundle.encoder.end_of_turn[:1], *own, bundle.tokenizer.eos_token_id]
    return list(dict.fromkeys(int(token) for token in found if token is not None))


def generation_config(bundle: Bundle, settings: GenerationSettings) -> Any:
    """The settings as transformers' ``GenerationConfig``; the model's own defaults for sampling are not mixed
    in.
    """
    from transformers import GenerationConfig

    sampling: dict[str, Any] = {"do_sample": False}
    if settings.temperature > 0 and settings.num_beams > 1:  # a single beam is drawn by logits processors
        sampling = {
            "do_sample": True,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k,
        }
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.num_beams,
        repetition_penalty=settings.repetition_penalty,
        eos_token_id=end_tokens(bundle),
        pad_token_id=bundle.pad_token_id,
        use_cache=True,
        **sampling,
    )


class Stream:
    """An answer that arrives piece by piece: iterate over it for pieces of text; :meth:`cancel` ends it
    early.

    Generation runs in a thread of its own. An error there is raised by the iteration. ``finished`` tells,
    afterwards, whether the model ended the answer itself.
    """

    def __init__(
        self,
        bundle: Bundle,
        prompt: Encoded,
        settings: GenerationSettings | None = None,
    ) -> None:
        from transformers import TextIteratorStreamer

        self._settings = settings or GenerationSettings()
        if self._settings.num_beams > 1:
            raise ValueError(
                f"num_beams is {self._settings.num_beams}; beams are known only at the end, use 1 here"
            )
        require_room(bundle, prompt, self._settings)
        self._bundle, self._prompt = bundle, prompt
        self._streamer = TextIteratorStreamer(bundle.tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.finished = False
        context = contextvars.copy_context()  # rules that hold here hold for the answer
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="vitrail-generate", daemon=True
        )

    @classmethod
    def of(
        cls, bundle: Bundle, chat: Chat, settings: GenerationSettings | None = None, root: Path | None = None
    ) -> Stream:
        """The stream of an answer to a chat that ends with a user's turn."""
        return cls(bundle, bundle.encoder.encode(chat, add_generation_prompt=True, root=root), settings)

    def cancel(self) -> None:
        """Stop at the next token; pieces that are there already may still be read."""
        self._stop.set()

    def __iter__(self) -> Iterator[str]:
        self._thread.start()
        try:
            for piece in self._streamer:
                if piece:
                    yield piece
        finally:
            self.cancel()
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        bundle, settings = self._bundle, self._settings
        try:
            inputs = model_inputs(bundle.model, bundle.collator("left")([self._prompt]))
            with evaluating(bundle.model), _seeded(settings):
                rows = bundle.model.generate(
                    **inputs,
                    generation_config=generation_config(bundle, settings),
                    logits_processor=drawing([self._prompt], settings),
                    streamer=self._streamer,
                    stopping_criteria=self._stopping(),
                )
            ids = rows[0, inputs["input_ids"].shape[1] :].tolist()
            self.finished = any(token in ids for token in end_tokens(bundle))
        except BaseException as error:
            self._error = error
            self._streamer.text_queue.put(self._streamer.stop_signal)

    def _stopping(self) -> Any:
        from transformers import StoppingCriteria, StoppingCriteriaList

        stop = self._stop

        class Cancelled(StoppingCriteria):
            def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
                return torch.full((len(input_ids),), stop.is_set(), dtype=torch.bool, device=input_ids.device)

        return StoppingCriteriaList([Cancelled()])


def with_beginning(bundle: Bundle, prompt: Encoded, text: str) -> Encoded:
    """``prompt`` with ``text`` as the beginning of the assistant's turn."""
    return extended(prompt, bundle.encoder.text_ids(text)) if text else prompt


def _reply(bundle: Bundle, ids: list[int], ends: list[int]) -> Reply:
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    tokens = ids if stop is None else ids[:stop]
    text = bundle.tokenizer.decode(tokens, skip_special_tokens=True)
    return Reply(text.strip(), tuple(tokens), stop is not None)


class _seeded:
    """Draws inside depend on the seed alone; the surrounding random state is as it was afterwards."""

    def __init__(self, settings: GenerationSettings) -> None:
        self._draws = settings.temperature > 0 and settings.num_beams > 1
        self._seed = settings.seed
        self._fork: Any = None

    def __enter__(self) -> None:
        if self._draws:
            self._fork = torch.random.fork_rng()
            self._fork.__enter__()
            torch.manual_seed(self._seed)

    def __exit__(self, *error: object) -> None:
        if self._fork is not None:
            self._fork.__exit__(*error)
