"""The seam *inferencer*: how the model is made to answer.

An inferencer encodes a prompt (and says why it cannot), and asks many encoded prompts at once. What it
returns for each question goes into the answers file as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import Field

from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.remote import RemoteAsked, RemoteModel
from vitrail.evaluation.task import Settings

if TYPE_CHECKING:
    from vitrail.data.records import Document
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

DIGITS = 6
"""Decimals of a log-probability in the file: float32 carries no more."""


@dataclass(frozen=True)
class Asked:
    """An encoded prompt with what may follow: the options' tokens, and their texts' lengths in bytes."""

    prompt: Encoded
    options: tuple[tuple[int, ...], ...] = ()
    bytes: tuple[int, ...] = ()


class Likelihood:
    """Rank the options by their likelihood (ChEF's *PPL*)."""

    gives = "ranking"

    class Config(Settings):
        """How likelihoods become a ranking.

        ``normalise``: the log-probability of the whole option (``sum``), its mean a token (ChEF's), or a
        byte. ``end``: the token that ends the turn counts as the option's last, so that an option which
        begins another is not favoured; False counts the option's own tokens only, as ChEF does.
        ``share_prompt``: see :func:`vitrail.inference.likelihood.option_logprobs`.
        """

        normalise: Literal["sum", "token", "byte"] = "sum"
        end: bool = True
        share_prompt: bool | None = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Asked:
        """Tokens of prompt and options. ValueError for no options, equal options, or more than fits."""
        from vitrail.inference.generation import with_beginning
        from vitrail.inference.inputs import context_length

        if not prompt.options:
            raise ValueError("has no options to rank; use the inferencer 'generate'")
        encoded = bundle.encoder.encode(prompt.chat, add_generation_prompt=True, root=root)
        encoded = with_beginning(bundle, encoded, prompt.beginning)
        end = tuple(bundle.encoder.end_of_turn) if self.config.end else ()
        options = tuple((*_behind(bundle, prompt.beginning, text), *end) for text in prompt.options)
        for index, option in enumerate(options):
            if option in options[:index]:
                raise ValueError(f"options {options.index(option)} and {index} are the same tokens")
        longest, limit = encoded.length + max(map(len, options)), context_length(bundle.model)
        if limit is not None and longest > limit:
            raise ValueError(
                f"question and longest option have {longest} tokens; the model's context is {limit}"
            )
        return Asked(encoded, options, tuple(len(text.strip().encode()) for text in prompt.options))

    def ask(self, bundle: Bundle, asked: list[Asked], batch_size: int) -> list[dict[str, Any]]:
        """For each: ``logprobs``, ``tokens`` and ``bytes`` an option, the ``values`` ranked by, ``choice``,
        ``tie``.
        """
        from vitrail.inference.likelihood import option_logprobs, rank

        found = option_logprobs(
            bundle.model,
            bundle.collator(),
            [(one.prompt, one.options) for one in asked],
            batch_size=batch_size,
            share_prompt=self.config.share_prompt,
        )
        rows = []
        for one, scores in zip(asked, found, strict=True):
            ranking = rank(scores, self.config.normalise, one.bytes)
            rows.append(
                {
                    "logprobs": [round(value, DIGITS) for value in scores.sums],
                    "tokens": list(scores.counts),
                    "bytes": list(one.bytes),
                    "values": [round(value, DIGITS) for value in ranking.values],
                    "choice": ranking.best,
                    "margin": round(ranking.margin, DIGITS),
                    "tie": ranking.tie,
                }
            )
        return rows

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """How the options are forwarded with this model, for the answers file."""
        from vitrail.inference import picture_prefix
        from vitrail.inference.prefill import prompt_sharing

        if self.config.share_prompt is False:
            return {"share_prompt": False, "reason": "by setting"}
        sharing = prompt_sharing(bundle.model)
        told: dict[str, Any] = {"share_prompt": sharing.possible, "reason": sharing.reason}
        if sharing.possible:
            reason = picture_prefix.why_not(bundle.model)
            told["share_pictures"] = reason or True
        return told


class Reference:
    """How likely the model finds the reference answer: nothing is chosen, the answer's tokens are read off.

    Of a text (a document without media) all tokens are read, as far as the model's context goes.
    """

    gives = "loss"

    class Config(Settings):
        """``end``: the token that ends the turn counts as the answer's last."""

        end: bool = True

    def __init__(self, config: Config) -> None:
        self.config = config
        self._rank = Likelihood(Likelihood.Config(end=config.end))

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Asked:
        """Tokens of prompt and reference. ValueError for options instead of a reference, or more than fits."""
        if prompt.reference is None:
            raise ValueError("has no reference answer; use the inferencer 'likelihood' for options")
        if prompt.text is not None:
            return self._read(bundle, prompt.text)
        return self._rank.encode(bundle, replace(prompt, options=(prompt.reference,)), root)

    def _read(self, bundle: Bundle, text: Document) -> Asked:
        from vitrail.inference.inputs import context_length

        begin = bundle.encoder.encode(text, add_generation_prompt=True)
        ids = bundle.encoder.encode(text).input_ids.tolist()[begin.length :]
        ids = ids if self.config.end else ids[:-1]
        limit = context_length(bundle.model)
        fitting = ids if limit is None else ids[: limit - begin.length]
        return Asked(begin, (tuple(fitting),))

    def ask(self, bundle: Bundle, asked: list[Asked], batch_size: int) -> list[dict[str, Any]]:
        """For each: ``logprob`` of the whole answer (natural logarithm) and its number of ``tokens``."""
        from vitrail.inference.likelihood import option_logprobs

        questions = [(one.prompt, one.options) for one in asked]
        found = option_logprobs(bundle.model, bundle.collator(), questions, batch_size=batch_size)
        return [{"logprob": round(one.sums[0], DIGITS), "tokens": one.counts[0]} for one in found]

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """Nothing beyond the settings."""
        return {}


class Generate:
    """Let the model answer in its own words (ChEF's *Direct*)."""

    gives = "text"

    class Config(Settings):
        """Greedy with ``temperature`` 0; otherwise drawn with ``seed``."""

        max_new_tokens: int = Field(default=32, ge=1)
        temperature: float = Field(default=0.0, ge=0)
        num_beams: int = Field(default=1, ge=1)
        seed: int = Field(default=0, ge=0)

    def __init__(self, config: Config) -> None:
        self.config = config

    @overload
    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Asked: ...

    @overload
    def encode(self, bundle: RemoteModel, prompt: Prompt, root: Path | None) -> RemoteAsked: ...

    def encode(self, bundle: Bundle | RemoteModel, prompt: Prompt, root: Path | None) -> Asked | RemoteAsked:
        """Tokens of the prompt. ValueError for a text, or if prompt and answer may not fit."""
        if prompt.text is not None:
            raise ValueError("is a text, and nothing is asked; use the inferencer 'reference'")
        if isinstance(bundle, RemoteModel):
            return bundle.encode(prompt, root)
        from vitrail.inference.generation import require_room, with_beginning

        encoded = bundle.encoder.encode(prompt.chat, add_generation_prompt=True, root=root)
        encoded = with_beginning(bundle, encoded, prompt.beginning)
        require_room(bundle, encoded, self._settings())
        return Asked(encoded)

    def ask(self, bundle: Bundle | RemoteModel, asked: list[Any], batch_size: int) -> list[dict[str, Any]]:
        """For each: ``text``, and ``finished``: whether the model ended the answer itself."""
        from vitrail.inference.generation import generate_from

        if isinstance(bundle, RemoteModel):
            return bundle.ask(asked, self._settings())
        prompts = [one.prompt for one in asked]
        replies = generate_from(bundle, prompts, self._settings(), batch_size=batch_size)
        return [{"text": reply.text, "finished": reply.finished} for reply in replies]

    def describe(self, bundle: Bundle | RemoteModel) -> dict[str, Any]:
        """Whether questions about one picture share its forward, or why not, for the answers file."""
        if isinstance(bundle, RemoteModel):
            return {}
        from vitrail.inference.generation import why_not_shared

        return {"share_pictures": why_not_shared(bundle.model, self._settings()) or True}

    def _settings(self) -> Any:
        from vitrail.inference.generation import GenerationSettings

        return GenerationSettings(**self.config.model_dump())


def _behind(bundle: Bundle, beginning: str, option: str) -> tuple[int, ...]:
    """The option's tokens as they follow ``beginning`` in one text, or by themselves where the two would
    merge.
    """
    if beginning:
        before = bundle.encoder.text_ids(beginning)
        whole = bundle.encoder.text_ids(beginning + option)
        if whole[: len(before)] == before and len(whole) > len(before):
            return tuple(whole[len(before) :])
    return tuple(bundle.encoder.text_ids(option))
