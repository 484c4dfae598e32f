"""LLM2LLM: the data grow where the student is still wrong (Lee et al., arXiv 2403.15042).

With the student M₀ as it begins, seeds D₀ and a teacher T, in round i

    Mᵢ = train(M₀, Dᵢ)                                   from the same beginning every time
    Wᵢ = { seeds that Mᵢ answers wrongly }                errors on synthetic items spawn none
    Dᵢ₊₁ = shuffle(Dᵢ ∪ T(Wᵢ))                            ``per_seed`` new items for each

A new item is taken if its question is new: ROUGE-L of at most ``novelty`` with every question about the same picture
(for text: with every question). The record keeps its round, seed, teacher and the most similar questions.

Deviations: decoding, like everything drawn here, depends on the item and not on its batch; questions are compared
within one picture, as one about another scene is another item; one prompt (the record's own) is trained and evaluated.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from vitrail.curation.novelty import RougeNovelty
from vitrail.data.folds import picture_of
from vitrail.data.records import Chat, Message, Text
from vitrail.evaluation.scenarios import Item, as_item
from vitrail.inference.generation import GenerationSettings
from vitrail.loops import rounds
from vitrail.loops.parts import Grader, Writer
from vitrail.loops.rounds import Forecast, Round, read_records
from vitrail.loops.writers import Proposal, Request, question_of
from vitrail.settings.faults import inner_errors

PROVENANCE = "llm2llm"
"""The entry of a synthetic record's ``meta``."""


class LLM2LLM(rounds.Loop):
    """See the module."""

    class Config(rounds.LoopSettings):
        """``teacher`` writes; ``grader`` (a metric of texts) says what is wrong. ``per_seed``: new items for each wrong
        seed; or ``items``: so many a round in all, shared among the wrong ones. ``source``: items are made from wrong
        ``seed`` items, from ``all`` wrong ones (synthetic ones, too), or from seeds drawn at ``random``, the control.
        ``restart``: every round begins with the same weights, not with those of the round before. ``attempts``: how
        often the teacher is asked for what is missing; ``on_short``: what happens if it still is. Answers are drawn
        with ``temperature`` and ``top_p``.
        """

        rounds: int = Field(default=10, ge=1)
        teacher: Writer
        grader: Grader = Field(default="match", validate_default=True)  # type: ignore[assignment]
        per_seed: int = Field(default=1, ge=1)
        items: int | None = Field(default=None, ge=1)
        source: Literal["seed", "all", "random"] = "seed"
        restart: bool = True
        novelty: float = Field(default=0.95, gt=0, le=1)
        attempts: int = Field(default=10, ge=1)
        on_short: Literal["skip", "raise"] = "skip"
        temperature: float = Field(default=0.7, ge=0)
        top_p: float = Field(default=0.9, gt=0, le=1)
        max_new_tokens: int = Field(default=100, ge=1)

        @model_validator(mode="after")
        def _one_amount(self) -> LLM2LLM.Config:
            if self.items is not None and "per_seed" in self.model_fields_set and self.per_seed != 1:
                why = "'per_seed' and 'items' both say how many; remove one"
                raise inner_errors([(("items",), why, self.items)])
            return self

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._grader, self._writer = config.grader.build(), config.teacher.build()

    def forecast(self, n: int) -> list[Forecast]:
        """Answers to all seeds, and new items."""
        c = self.config
        asked = n if c.source == "seed" else None
        made = c.items if c.items is not None else n * c.per_seed
        return [
            Forecast("answers of the student to training items", asked, "self"),
            Forecast("new items", made, self._writer.name),
        ]

    def round(self, here: Round) -> dict[str, Any]:
        """Train, look, and make data for the next one."""
        seeds = seed_items(here.workshop.source(), self._grader)
        root = here.workshop.source().root
        data = here.once("data", lambda: self._data(here, seeds))
        start = None if self.config.restart or here.before is None else str(here.before["model"])
        model = here.workshop.train(here.folder / "run", data, root, start)
        summary: dict[str, Any] = {"model": model, "records": len(read_records(data)), "stop": None}
        if here.last:
            return summary
        wrong = self._wrong(here, model, seeds, data, root)
        summary |= {"asked": wrong.asked, "wrong": len(wrong.items)}
        if not wrong.items:
            return {**summary, "made": 0, "stop": "nothing is answered wrongly any more"}
        made, counts = self._made(here, model, seeds, wrong)
        here.once("made", lambda: made)
        return {**summary, "made": len(made), **counts}

    def _data(self, here: Round, seeds: Sequence[Item]) -> list[Chat]:
        """The round's records: the seeds, or those of the round before and what was made then."""
        if here.number == 0:
            return [answered(item) for item in seeds]
        before = here.folder_before
        records = [*read_records(before / "data.jsonl"), *read_records(before / "made.jsonl")]
        random.Random(here.seed("shuffle")).shuffle(records)
        return records

    # Look

    def _wrong(self, here: Round, model: str, seeds: Sequence[Item], data: Path, root: Path | None) -> _Wrong:
        asked = list(seeds)
        if self.config.source == "all":
            synthetic = [one for one in read_records(data) if PROVENANCE in one.meta]
            asked += [as_item(one, row, root) for row, one in enumerate(synthetic, len(seeds))]
        c = self.config
        settings = GenerationSettings(
            max_new_tokens=c.max_new_tokens,
            temperature=c.temperature,
            **({"top_p": c.top_p, "seed": here.seed("answers")} if c.temperature else {}),
        )

        def ask(items: Sequence[Item]) -> list[dict[str, Any]]:
            replies = here.answerer(model).ask([one.chat for one in items], settings, root=root)
            return [
                {"id": item.id, "text": reply.text, "right": self._right(item, reply.text)}
                for item, reply in zip(items, replies, strict=True)
            ]

        rows = here.rows("answers", asked, ask)
        missed = [(item, row["text"]) for item, row in zip(asked, rows, strict=True) if not row["right"]]
        if c.source == "random":
            missed = [(item, rows[place]["text"]) for place, item in self._drawn(here, seeds, len(missed))]
        return _Wrong(missed, len(asked))

    def _drawn(self, here: Round, seeds: Sequence[Item], n: int) -> list[tuple[int, Item]]:
        """Seeds drawn evenly: as many as were wrong, or all in a random order where ``items`` says how many."""
        places = list(range(len(seeds)))
        random.Random(here.seed("random")).shuffle(places)
        kept = places if self.config.items is not None else sorted(places[:n])
        return [(place, seeds[place]) for place in kept]

    def _right(self, item: Item, text: str) -> bool:
        return bool(self._grader.judge(graded(item, text)).correct)

    # Make

    def _made(
        self, here: Round, model: str, seeds: Sequence[Item], wrong: _Wrong
    ) -> tuple[list[Chat], dict[str, Any]]:
        """New records, and counts of what was refused for what reason."""
        novelty = RougeNovelty(self.config.novelty)
        known = [item.chat for item in seeds]
        known += [one for one in read_records(here.folder / "data.jsonl") if PROVENANCE in one.meta]
        for row, chat in enumerate(known):
            text = chat.messages[-1].text if chat.messages[-1].role == "user" else question_of(chat)
            novelty.add(text, _picture(chat, row))
        shares = self._shares(here, len(wrong.items))
        taken: list[list[Chat]] = [[] for _ in wrong.items]
        reasons: dict[str, int] = {}
        for attempt in range(self.config.attempts):
            open_ones = [place for place, n in enumerate(shares) if len(taken[place]) < n]
            if not open_ones:
                break
            requests = [
                self._request(wrong.items[p], shares[p] - len(taken[p]), attempt, taken[p]) for p in open_ones
            ]
            proposals = self._proposed(here, model, requests, attempt)
            for place, proposal in zip(open_ones, proposals, strict=True):
                for reason, count in proposal.rejected.items():
                    reasons[reason] = reasons.get(reason, 0) + count
                for chat in proposal.chats:
                    if len(taken[place]) == shares[place]:
                        break
                    new, alike = novelty.accepts(question_of(chat), _picture(chat, None))
                    if not new:
                        reasons["not new"] = reasons.get("not new", 0) + 1
                        continue
                    item = wrong.items[place][0]
                    name = f"{PROVENANCE}/{here.number}/{place}/{len(taken[place])}"
                    taken[place].append(self._record(chat, name, here.number, item, alike))
        short = sum(n - len(own) for n, own in zip(shares, taken, strict=True))
        if short and self.config.on_short == "raise":
            raise ValueError(
                f"the teacher {self._writer.name} wrote {sum(shares) - short} of {sum(shares)} items in "
                f"{self.config.attempts} attempts (refused: {reasons}); raise attempts, or set on_short: skip"
            )
        return [one for own in taken for one in own], {"short": short, "reasons": reasons}

    def _shares(self, here: Round, n: int) -> list[int]:
        if self.config.items is None:
            return [self.config.per_seed] * n
        each, more = divmod(self.config.items, n)
        lucky = set(random.Random(here.seed("shares")).sample(range(n), more))
        return [each + (place in lucky) for place in range(n)]

    def _request(self, missed: tuple[Item, str], n: int, attempt: int, kept: Sequence[Chat]) -> Request:
        item, wrong = missed
        return Request(item, reference_of(item), wrong, n, attempt, tuple(kept))

    def _proposed(self, here: Round, model: str, requests: Sequence[Request], attempt: int) -> list[Proposal]:
        """What the teacher proposes, kept row by row."""

        def ask(part: Sequence[Request]) -> list[dict[str, Any]]:
            return [
                {
                    "seed": request.item.id,
                    "chats": [_plain(one) for one in proposal.chats],
                    "rejected": proposal.rejected,
                }
                for request, proposal in zip(part, self._writer.write(part, here, model), strict=True)
            ]

        rows = here.rows(f"proposed-{attempt:02d}", requests, ask)
        return [
            Proposal(tuple(Chat.model_validate(one) for one in row["chats"]), row["rejected"]) for row in rows
        ]

    def _record(self, chat: Chat, name: str, number: int, item: Item, alike: Any) -> Chat:
        origin = {
            "round": number,
            "seed": item.id,
            "teacher": self._writer.name,
            "similarity": round(alike.mean, 4),
            "most_similar": [list(one) for one in alike.similar],
        }
        return chat.model_copy(update={"id": name, "meta": {**chat.meta, PROVENANCE: origin}})


class _Wrong:
    """Items that new ones are made from, each with the answer that it got, and how many were asked."""

    def __init__(self, items: Sequence[tuple[Item, str]], asked: int) -> None:
        self.items, self.asked = list(items), asked


def seed_items(source: Any, grader: Any) -> list[Item]:
    """The seeds as items. ValueError for none, one without an answer, an id that stands twice, or a reference that the
    grader cannot read; the seed is named.
    """
    items: list[Item] = []
    names: dict[str, int] = {}
    for row, record in enumerate(source):
        try:
            item = as_item(record, row, source.root)
            if item.text is not None:
                raise ValueError("is a text, and a loop needs questions with answers")
            grader.judge(graded(item, reference_of(item)))
        except ValueError as error:
            raise ValueError(f"seed {row} of {source.name} ({record.id!r}) {error}") from None
        if item.id in names:
            raise ValueError(
                f"seeds {names[item.id]} and {row} of {source.name} have the id {item.id!r}; ids must be unique"
            )
        names[item.id] = row
        items.append(item)
    if not items:
        raise ValueError(f"{source.name} has no seeds; give some questions with their answers")
    return items


def graded(item: Item, text: str) -> dict[str, Any]:
    """An answer as metrics judge it."""
    return {
        "text": text,
        "options": list(item.options),
        "answer": item.answer,
        "reference": reference_of(item),
    }


def reference_of(item: Item) -> str:
    """The right answer of an item: its reference, or its right option."""
    if item.reference is not None:
        return item.reference
    assert item.answer is not None
    return item.options[item.answer]


def answered(item: Item) -> Chat:
    """An item as a chat to train on."""
    right = Message(role="assistant", content=(Text(text=reference_of(item)),))
    return item.chat.model_copy(
        update={"id": item.id, "messages": (*item.chat.messages, right), "choices": None}
    )


def _picture(chat: Chat, row: int | None) -> str | None:
    """What identifies the picture of a chat, None without one."""
    return picture_of(chat, row or 0) if chat.images else None


def _plain(chat: Chat) -> Mapping[str, Any]:
    return chat.model_dump(mode="json", exclude_none=True)
