"""Writers that keep a seed's picture and right answer and say its question in other words.

What LLM2LLM (arXiv 2403.15042) compares its teacher with, at equal size: EDA (arXiv 1901.11196), paraphrases of a
language model as in AugGPT (arXiv 2302.13007), and translation there and back (arXiv 1511.06709). None of them knows
more than the seed, which is what a comparison with a teacher shows.

The question is the last text of the user's turn that says something. Options listed behind it stay as they are, and so
does everything from one of ``keep_from`` on (an instruction how to answer).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from vitrail.curation.eda import OPERATIONS, augmented, divided
from vitrail.curation.wordnet import PLACE, missing_in, wordnet
from vitrail.curation.written_questions import parse_numbered_questions
from vitrail.data.records import Chat, Message, Text
from vitrail.inference.generation import GenerationSettings
from vitrail.loops.rounds import Settings
from vitrail.loops.writers import Asking, ChatModel, Proposal, Request
from vitrail.settings.faults import inner_errors
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.inference.translating import Translator
    from vitrail.loops.rounds import Round

_LABEL = r"[(\[]?{}[)\].:][ \t]*\S"
_LISTED = re.compile(
    r"^(?:(?:options|choices)[ \t]*:[ \t]*\n)?[ \t]*"
    + _LABEL.format("(?:A|1)") + r"[^\n]*\n+[ \t]*" + _LABEL.format("(?:B|2)"),
    re.MULTILINE | re.IGNORECASE,
)  # fmt: skip
_LEADS = re.compile(r"(?:\s(?:options|choices)[ \t]*:)?\s*(?:[(\[]?\w[)\].:])?\s*$", re.IGNORECASE)


class KeptParts(Settings):
    """``keep_from``: texts from which on a question's text stays as it is."""

    keep_from: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Asked:
    """The question of a seed: ``text``, which may be put in other words; empty where nothing is asked in words."""

    def __init__(self, request: Request, keep_from: Sequence[str] = ()) -> None:
        self._request, self.text, self._place = request, "", -1
        last = request.item.chat.messages[-1]
        left = _end_of_question(last.text, request.item.options, keep_from)
        for place, part in enumerate(last.content):
            if isinstance(part, Text):
                head = part.text[: max(0, left)].strip()
                if divided(head)[0]:
                    self.text, self._place = head, place
                left -= len(part.text)

    def put(self, text: str) -> Chat:
        """The seed with its right answer, asked in these words."""
        chat = self._request.item.chat
        *before, last = chat.messages
        parts = list(last.content)
        whole = parts[self._place].text  # type: ignore[union-attr]
        begin = whole.index(self.text)
        parts[self._place] = Text(text=whole[:begin] + text + whole[begin + len(self.text) :])
        asked = last.model_copy(update={"content": tuple(parts)})
        answer = Message(role="assistant", content=(Text(text=self._request.reference),))
        return chat.model_copy(update={"messages": (*before, asked, answer), "choices": None})

    def proposal(self, texts: Iterable[str | None], rejected: dict[str, int]) -> Proposal:
        """Those of ``texts`` that are other words, each once; what is none (None: cut off) is counted."""
        reasons, chats, seen = dict(rejected), [], {_words(self.text)}
        for text in texts:
            said = () if text is None else _words(text)
            reason = (
                "cut off" if text is None else "empty" if not said else "unchanged" if said in seen else ""
            )
            if reason:
                reasons[reason] = reasons.get(reason, 0) + 1
                continue
            seen.add(said)
            chats.append(self.put(str(text)))
        return Proposal(tuple(chats), reasons)


class Eda:
    """The question after one of EDA's four operations, in turn; free. Needs WordNet for synonyms and insertions."""

    class Config(KeptParts):
        """The paper's α, for each operation; 0 leaves it out. ``wordnet``: the folder of WordNet's files; without it
        ``synonyms`` and ``insertion`` must be 0.
        """

        synonyms: float = Field(default=0.1, ge=0, lt=1)
        insertion: float = Field(default=0.1, ge=0, lt=1)
        swap: float = Field(default=0.1, ge=0, lt=1)
        deletion: float = Field(default=0.1, ge=0, lt=1)
        wordnet: str | None = Field(default=None, min_length=1)

        @model_validator(mode="after")
        def _possible(self) -> Eda.Config:
            needing = [name for name in OPERATIONS[:2] if getattr(self, name)]
            why, folder = "", self.wordnet
            if not any(getattr(self, name) for name in OPERATIONS):
                raise inner_errors(
                    [(("swap",), "all four operations are 0; give one a share, 0.1 is usual", 0.0)]
                )
            if needing and folder is None:
                why = (
                    f"{' and '.join(needing)} need the folder of WordNet's files ({PLACE}); give it, or set "
                )
                why += f"{' and '.join(needing)} to 0"
            elif not needing and folder is not None:
                why = "synonyms and insertion are 0, so WordNet has no effect; remove this field"
            elif folder is not None and (missing := missing_in(folder)):
                why = f"lacks {', '.join(missing)}; give the folder of WordNet's files ({PLACE})"
            if why:
                raise inner_errors([(("wordnet",), why, folder)])
            return self

    def __init__(self, config: Config) -> None:
        self.config = config
        self._operations = [name for name in OPERATIONS if getattr(config, name)]

    @property
    def name(self) -> str:
        """What it is."""
        return "eda"

    def write(self, requests: Sequence[Request], here: Round, model: str) -> list[Proposal]:
        """Each from its own request and number alone."""
        return [self._write(request, here.seed("eda")) for request in requests]

    def _write(self, request: Request, seed: int) -> Proposal:
        asked = Asked(request, self.config.keep_from)
        if not asked.text:
            return Proposal((), {"no question": 1})
        turn = random.Random(key("eda", seed, request.item.id)).sample(
            self._operations, len(self._operations)
        )
        return asked.proposal((self._one(asked.text, turn, seed, request, n) for n in range(request.n)), {})

    def _one(self, text: str, turn: Sequence[str], seed: int, request: Request, number: int) -> str:
        operation = turn[(number + request.attempt) % len(turn)]
        folder = self.config.wordnet
        synonyms = None if folder is None else wordnet(folder).synonyms
        draws = random.Random(key("eda", seed, request.item.id, request.attempt, number))
        return augmented(text, operation, getattr(self.config, operation), draws, synonyms)


PARAPHRASER = """\
You are given a question. Say it in other words: each of your versions asks for exactly the same and has the same \
right answer, with other words and another order of the sentence. Do not answer it. Write nothing else than a \
numbered list in exactly this layout:
1. Question: the question in other words"""
PARAPHRASED = (
    "Question: How many cups does the tray hold?\nWrite 2 new versions.",
    "1. Question: What number of cups fits on the tray?\n2. Question: The tray has room for how many cups?",
)


class Paraphrase(ChatModel):
    """A language model says the question in other words; the right answer is kept, and it is not told what it is."""

    class Config(Asking, KeptParts):
        """Who is asked, and how. A paraphrase needs no picture; ``show_picture`` shows it all the same."""

        system: str = PARAPHRASER
        demonstration: tuple[str, str] | None = PARAPHRASED
        show_picture: bool = False

    things = "version"

    @property
    def name(self) -> str:
        """What it is, and who."""
        return f"paraphrase by {super().name}"

    def _given(self, request: Request) -> str:
        return f"Question: {self._asked(request).text or request.item.chat.messages[-1].text}\n"

    def _asked(self, request: Request) -> Asked:
        return Asked(request, self.config.keep_from)

    def _read(self, request: Request, reply: Any) -> Proposal:
        asked = self._asked(request)
        if not asked.text:
            return Proposal((), {"no question": 1})
        found = parse_numbered_questions(
            reply.text, finished=reply.finished, ascii_only=self.config.ascii_only
        )
        return asked.proposal((question for question, _ in found.pairs), found.rejected)


class BackTranslation:
    """The question translated into another language and back, by two models of this machine."""

    class Config(KeptParts):
        """``there`` and ``back``: folders or hub names of models that translate into the other language and out of it
        (Marian, NLLB, M2M-100, mBART-50, T5 …; their weights as safetensors). ``languages``: the codes of the
        questions' language and the other, for models that know several; ``prompts``: what goes in front of every line,
        for models that are told so. Translations are drawn, or with ``num_beams`` the likeliest so many are taken, once
        a seed (``temperature: 0``). ``max_new_tokens`` is for each line.
        """

        there: str = Field(min_length=1)
        back: str = Field(min_length=1)
        languages: tuple[str, str] | None = None
        prompts: tuple[str, str] = ("", "")
        temperature: float = Field(default=0.8, ge=0)
        top_p: float = Field(default=1.0, gt=0, le=1)
        num_beams: int = Field(default=1, ge=1)
        max_new_tokens: int = Field(default=256, ge=1)
        device: str = "cpu"

        @model_validator(mode="after")
        def _one_way(self) -> BackTranslation.Config:
            if self.num_beams > 1 and self.temperature > 0:
                why = "beams are searched and draw nothing; set temperature to 0, or remove num_beams"
                raise inner_errors([(("num_beams",), why, self.num_beams)])
            if self.top_p < 1 and not self.temperature:
                why = "this has no effect with temperature 0; give a temperature, or remove it"
                raise inner_errors([(("top_p",), why, self.top_p)])
            return self

    def __init__(self, config: Config) -> None:
        self.config = config
        self._loaded: tuple[Translator, Translator] | None = None

    @property
    def name(self) -> str:
        """Through which models."""
        return f"translation by {self.config.there} and {self.config.back}"

    def write(self, requests: Sequence[Request], here: Round, model: str) -> list[Proposal]:
        """Each from its own request alone, whatever is asked beside it."""
        return [self._write(request, here) for request in requests]

    def _write(self, request: Request, here: Round) -> Proposal:
        asked = Asked(request, self.config.keep_from)
        if not asked.text:
            return Proposal((), {"no question": 1})
        if self.config.temperature:
            seeds = [here.seed("back", request.item.id, request.attempt, n) for n in range(request.n)]
            return asked.proposal((self._round_trip(asked.text, seed)[0] for seed in seeds), {})
        if request.attempt:
            return Proposal((), {"no further translation": 1})
        return asked.proposal(self._round_trip(asked.text, 0), {})

    def _round_trip(self, text: str, seed: int) -> list[str | None]:
        c = self.config
        there, back = self._translators()
        options: dict[str, Any] = {"max_new_tokens": c.max_new_tokens, "seed": seed}
        options |= {"temperature": c.temperature, "top_p": c.top_p, "num_beams": c.num_beams}
        settings = GenerationSettings(**options)
        other = there.translate(text, settings)[0]
        return [None] if other is None else back.translate(other, settings)

    def _translators(self) -> tuple[Translator, Translator]:
        """Both models, loaded when they are first needed; one that is named twice is loaded once."""
        from vitrail.inference.translating import Translator

        if self._loaded is None:
            c = self.config
            codes = (None, None) if c.languages is None else (c.languages, c.languages[::-1])
            there = Translator.from_pretrained(
                c.there, device=c.device, prompt=c.prompts[0], languages=codes[0]
            )
            same = c.there == c.back
            back = (
                Translator(there.model, there.tokenizer, prompt=c.prompts[1], languages=codes[1])
                if same
                else Translator.from_pretrained(
                    c.back, device=c.device, prompt=c.prompts[1], languages=codes[1]
                )
            )
            self._loaded = there, back
        return self._loaded


def _end_of_question(text: str, options: Sequence[str], keep_from: Sequence[str]) -> int:
    """Where the question ends: in front of its options, if the text lists them all or lists anything as A, B or 1, 2,
    and of the first of ``keep_from``.
    """
    ends = [text.index(one) for one in keep_from if one in text]
    if listed := _LISTED.search(text):
        ends.append(listed.start())
    place: int | None = len(text) if options else None
    for option in reversed(options):
        if place is not None:
            said = re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", text[:place])
            place = max((one.start() for one in said), default=None)
    if place is not None:
        ends.append(len(_LEADS.sub("", text[:place])))
    return min(ends, default=len(text))


def _words(text: str) -> tuple[str, ...]:
    return tuple(divided(text.casefold())[0])


__all__ = ["Asked", "BackTranslation", "Eda", "Paraphrase"]
