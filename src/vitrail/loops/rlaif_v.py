"""RLAIF-V: preferences among a model's own samples, labelled by an open model (Yu et al., arXiv 2405.17220).

Round t, with the model Mₜ₋₁ that it begins with:

1. ``candidates`` samples for each prompt, alike in everything but chance, so that a pair differs in what is said only.
2. *Divide*: each sample becomes claims, each claim a yes/no question. Unequal lists: the sample is left out.
3. *Conquer*: the labeller accepts a claim iff p(yes) > p(no).
4. S = −(claims rejected); any two samples of a prompt that differ by ``min_diff`` make a pair, ``per_prompt`` are kept.
5. Pairs are dropped so that chosen and rejected answers are equally long on average
   (:func:`~vitrail.curation.preference_pairs.balance_lengths`).
6. The recipe's stages train on the pairs; with the objective ``dpo`` the reference is Mₜ₋₁. That gives Mₜ.

Which stages, and what they minimise, is the recipe's: with ``next_token`` the chosen answers are imitated, which is the
control. ``judging: whole`` asks about a sample as a whole instead of its claims.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from vitrail.curation.preference_pairs import (
    Pair,
    Scored,
    balance_lengths,
    build_pairs,
    response_score,
)
from vitrail.data.records import Chat, Message, Text
from vitrail.evaluation.scenarios import Item, as_item
from vitrail.inference.generation import GenerationSettings
from vitrail.loops import rounds
from vitrail.loops.labellers import Claim
from vitrail.loops.parts import Labeller, Splitter
from vitrail.loops.rounds import Forecast, Round, read_records
from vitrail.loops.splitters import Divided

PROVENANCE = "rlaif_v"
"""The entry of a pair's ``meta``."""
WHOLE = "Here is a description of the picture: {answer}\nIs everything in this description right?"


class RLAIFV(rounds.Loop):
    """See the module."""

    class Config(rounds.LoopSettings):
        """``labeller`` judges claims, ``splitter`` makes them. ``candidates`` samples a prompt with ``temperature`` and
        ``top_p``. ``per_round``: prompts of a round, the next ones in each (None: all of them every time). ``judging``:
        by ``claims``, or the ``whole`` sample at once. ``balance``: step 5. ``pairs``: of a round at the most.
        """

        rounds: int = Field(default=4, ge=1)
        labeller: Labeller = Field(default="model", validate_default=True)  # type: ignore[assignment]
        splitter: Splitter = Field(default="chat_model", validate_default=True)  # type: ignore[assignment]
        candidates: int = Field(default=10, ge=2)
        temperature: float = Field(default=0.7, gt=0)
        top_p: float = Field(default=1.0, gt=0, le=1)
        max_new_tokens: int = Field(default=512, ge=1)
        per_round: int | None = Field(default=None, ge=1)
        judging: Literal["claims", "whole"] = "claims"
        min_diff: int = Field(default=1, ge=1)
        per_prompt: int = Field(default=2, ge=1)
        balance: bool = True
        pairs: int | None = Field(default=None, ge=1)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._labeller, self._splitter = config.labeller.build(), config.splitter.build()

    def forecast(self, n: int) -> list[Forecast]:
        """Samples, what is divided, and claims."""
        c = self.config
        samples = min(n, c.per_round or n) * c.candidates
        whole = c.judging == "whole"
        return [
            Forecast("samples", samples, "self"),
            *([] if whole else [Forecast("samples divided into claims", samples, self._splitter.name)]),
            Forecast(
                "samples judged" if whole else "claims judged",
                samples if whole else None,
                self._labeller.name,
            ),
        ]

    def round(self, here: Round) -> dict[str, Any]:
        """Sample, divide, judge, pair, train."""
        model = here.model_before()
        prompts = self._prompts(here)
        samples = self._samples(here, model, prompts)
        divided = self._divided(here, model, prompts, samples)
        labels = self._labels(here, model, prompts, samples, divided)
        counts: dict[str, Any] = {
            "prompts": len(prompts),
            "samples": sum(len(one["texts"]) for one in samples),
        }
        counts |= {"claims": sum(len(one["labels"]) for row in labels for one in row["samples"])}
        pairs, told = self._pairs(here, prompts, samples, labels)
        data = here.once("pairs", lambda: pairs)
        root = here.workshop.source().root
        trained = here.workshop.train(here.folder / "run", data, root, model)
        return {"model": trained, "stop": None, **counts, **told, "pairs": len(read_records(data))}

    def _prompts(self, here: Round) -> list[Item]:
        """The round's prompts. ValueError for none, or two of one id."""
        source, c = here.workshop.source(), self.config
        n = min(len(source), c.per_round or len(source))
        if not n:
            raise ValueError(f"{source.name} has no prompts; give questions about pictures")
        first = here.number * n if c.per_round else 0
        places = sorted({(first + step) % len(source) for step in range(n)})
        items = [as_prompt(source[place], place, source.root) for place in places]
        names = [one.id for one in items]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < n else None
        if twice is not None:
            raise ValueError(f"two prompts of {source.name} have the id {twice!r}; ids must be unique")
        return items

    def _samples(self, here: Round, model: str, prompts: Sequence[Item]) -> list[dict[str, Any]]:
        """For each prompt its samples, empty ones left out."""
        c, root = self.config, here.workshop.source().root

        def ask(part: Sequence[Item]) -> list[dict[str, Any]]:
            drawn = []
            for number in range(c.candidates):
                settings = GenerationSettings(
                    max_new_tokens=c.max_new_tokens,
                    temperature=c.temperature,
                    top_p=c.top_p,
                    seed=here.seed("sample", number),
                )
                drawn.append(here.answerer(model).ask([one.chat for one in part], settings, root=root))
            return [
                {"id": item.id, "texts": [one[place].text for one in drawn if one[place].text.strip()]}
                for place, item in enumerate(part)
            ]

        return here.rows("samples", prompts, ask)

    def _divided(
        self, here: Round, model: str, prompts: Sequence[Item], samples: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """For each prompt the claims and questions of its samples; equal samples are divided once."""

        def divide(part: Sequence[tuple[Item, dict[str, Any]]]) -> list[dict[str, Any]]:
            texts = [(item.chat.messages[-1].text, text) for item, row in part for text in row["texts"]]
            found = iter(self._divide(texts, here, model))
            return [
                {"id": item.id, "samples": [vars(next(found)) for _ in row["texts"]]} for item, row in part
            ]

        return here.rows("claims", list(zip(prompts, samples, strict=True)), divide)

    def _divide(self, texts: Sequence[tuple[str, str]], here: Round, model: str) -> list[Divided]:
        if self.config.judging == "whole":
            return [Divided((text,), (WHOLE.replace("{answer}", text),)) for _, text in texts]
        different = list(dict.fromkeys(texts))
        found = dict(zip(different, self._splitter.divide(different, here, model), strict=True))
        return [found[one] for one in texts]

    def _labels(
        self,
        here: Round,
        model: str,
        prompts: Sequence[Item],
        samples: Sequence[dict[str, Any]],
        divided: Sequence[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """For each prompt and sample the labels of its claims, or why it is left out."""

        def label(part: Sequence[tuple[Item, dict[str, Any]]]) -> list[dict[str, Any]]:
            claims = {
                (place, claim): Claim(item.chat, claim, asked)
                for place, (item, row) in enumerate(part)
                for one in row["samples"]
                if one["why"] is None
                for claim, asked in zip(one["claims"], one["questions"], strict=True)
            }
            found = self._labeller.label(list(claims.values()), here, model) if claims else []
            known = dict(zip(claims, found, strict=True))
            return [
                {"id": item.id, "samples": [_labelled(place, one, known) for one in row["samples"]]}
                for place, (item, row) in enumerate(part)
            ]

        return here.rows("labels", list(zip(prompts, divided, strict=True)), label)

    def _pairs(
        self,
        here: Round,
        prompts: Sequence[Item],
        samples: Sequence[dict[str, Any]],
        labels: Sequence[dict[str, Any]],
    ) -> tuple[list[Chat], dict[str, Any]]:
        """The round's preferences, and counts. ValueError if there is none, with what there was."""
        c = self.config
        left_out: dict[str, int] = {}
        found: list[tuple[Item, Pair]] = []
        for item, texts, row in zip(prompts, samples, labels, strict=True):
            scored = []
            for text, one in zip(texts["texts"], row["samples"], strict=True):
                if one["why"] is None:
                    scored.append(Scored(item.id, text, response_score(one["labels"])))
                else:
                    left_out[one["why"]] = left_out.get(one["why"], 0) + 1
            if scored:
                pairs = build_pairs(
                    scored, min_diff=c.min_diff, per_prompt=c.per_prompt, seed=here.seed("pairs")
                )
                found += [(item, pair) for pair in pairs]
        told: dict[str, Any] = {"left_out": sum(left_out.values()), "reasons": left_out}
        if not found:
            raise ValueError(
                f"round {here.number + 1} has no pair: no two samples of a prompt differ by {c.min_diff} in score "
                f"({len(prompts)} prompts, {told['left_out']} samples left out {left_out or ''}); raise candidates, "
                "temperature or the number of prompts, or take another labeller"
            )
        if c.balance:
            balanced = balance_lengths([pair for _, pair in found])
            kept = {id(pair) for pair in balanced.pairs}
            found = [(item, pair) for item, pair in found if id(pair) in kept]
            told |= {"dropped_for_length": balanced.dropped, "length_gap": round(balanced.gap_after, 4)}
        if c.pairs is not None and len(found) > c.pairs:
            kept_places = random.Random(here.seed("kept")).sample(range(len(found)), c.pairs)
            found = [found[place] for place in sorted(kept_places)]
        return [self._record(here, number, *one) for number, one in enumerate(found)], told

    def _record(self, here: Round, number: int, item: Item, pair: Pair) -> Chat:
        chosen, rejected = (
            Message(role="assistant", content=(Text(text=one.text),)) for one in (pair.chosen, pair.rejected)
        )
        origin = {
            "round": here.number,
            "prompt": item.id,
            "scores": [pair.chosen.score, pair.rejected.score],
            "labeller": self._labeller.name,
        }
        return Chat(
            id=f"{PROVENANCE}/{here.number}/{number}",
            messages=(*item.chat.messages, chosen),
            rejected=(rejected,),
            meta={**item.chat.meta, PROVENANCE: origin},
        )


def as_prompt(record: Any, row: int, root: Any) -> Item:
    """A record as a prompt: its conversation up to the last question; what is answered there is not looked at.

    ValueError, with the record, for one without a question or with a picture that cannot be read.
    """
    if isinstance(record, Chat) and record.messages[-1].role == "user" and record.choices is None:
        nothing = Message(role="assistant", content=(Text(text="-"),))
        record = record.model_copy(update={"messages": (*record.messages, nothing)})
    try:
        item = as_item(record, row, root)
        if item.text is not None:
            raise ValueError("is a text, and nothing is asked")
    except ValueError as error:
        raise ValueError(f"prompt {row} ({getattr(record, 'id', None)!r}) {error}") from None
    chat = item.chat.model_copy(update={"id": item.id, "choices": None, "rejected": None})
    return Item(**{**vars(item), "chat": chat})


def _labelled(place: int, sample: dict[str, Any], known: dict[tuple[int, str], Any]) -> dict[str, Any]:
    if sample["why"] is not None:
        return {"labels": [], "why": sample["why"]}
    found = [known[place, claim].accept for claim in sample["claims"]]
    if any(one is None for one in found):
        return {"labels": [], "why": "no yes or no to one of its claims"}
    return {"labels": found, "why": None}
