"""MIBench: thirteen tasks over several pictures, in three scenarios (Liu et al., arXiv 2407.15272).

Multi-image instruction and multimodal knowledge-seeking are multiple choice under circular evaluation: right only if
right under every rotation of the options. Multimodal in-context learning asks for a word or two behind demonstrations,
and is right if it equals the answer (case, punctuation and articles aside).

Official files: ``multi_image_instruction.json``, ``multimodal_knowledge_seeking.json``,
``multimodal_in_context_learning.json``, with ``image.zip`` unpacked beside them. ``answer`` is the right option's text.
The fields that hold demonstrations were not checked against the real file: ``context`` or ``demonstrations`` (each with
``image``, ``question``, ``answer``) are read, and a question that holds them itself is asked as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.data.sources import SetAside
from vitrail.evaluation.benchmarks.benchmark import (
    LETTER,
    LETTER_QUERY,
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, Part, different, interleave, wanted
from vitrail.evaluation.benchmarks.table import open_table
from vitrail.evaluation.circular import all_round
from vitrail.evaluation.figures import Figure, Rows, accuracy, by

PLACEHOLDER = "<image>"
FILES = {
    "mii": "multi_image_instruction.json",
    "mks": "multimodal_knowledge_seeking.json",
    "mic": "multimodal_in_context_learning.json",
}
TASKS = {
    "mii": ("general comparison", "subtle difference", "visual referring", "temporal reasoning", "logical reasoning"),
    "mks": (
        "fine-grained visual recognition", "text-rich images vqa", "vision-linked textual knowledge",
        "text-linked visual knowledge",
    ),
    "mic": ("close-ended vqa", "open-ended vqa", "hallucination", "demo-based task learning"),
}  # fmt: skip
_ASKED = {"name": "lettered", "query": LETTER_QUERY, "without_options": "ask"}


class MIBench(Benchmark):
    """Several pictures: instructions, knowledge, examples in context."""

    name = "mibench"
    title = "MIBench"
    circular = True
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "letters": {**LETTER, "instruction": _ASKED},
        "containment": {
            "instruction": {
                "name": "template",
                "query": "{question}\nAnswer with one of these options, word for word: {options}",
            },
            "inferencer": {"name": "generate", "max_new_tokens": 64},
            "metric": {"name": "match", "reading": "contained-text"},
        },
        "letter-ranking": {"instruction": {"name": "lettered", "query": LETTER_QUERY}},
    }

    class Config(Benchmark.Config):
        """``scenario``: ``all`` files that are there, or ``mii``, ``mks``, ``mic``.

        ``shots``: demonstrations of a question of ``mic`` (default: all it has), drawn with ``seed``. ``tasks: any``
        reads tasks of other names than the paper's thirteen.
        """

        scenario: Literal["all", "mii", "mks", "mic"] = "all"
        shots: int | None = Field(default=None, ge=0)
        seed: int = Field(default=0, ge=0)
        tasks: Literal["known", "any"] = "known"

    config: Config

    def source(self) -> BenchmarkSource:
        """The questions of the scenario, its files one behind the other."""
        chosen = list(FILES) if self.config.scenario == "all" else [self.config.scenario]
        folder = self.root
        there = [name for name in chosen if (folder / FILES[name]).is_file()]
        if not there:
            wanted_files = ", ".join(FILES[name] for name in chosen)
            raise ValueError(
                f"{self.title}: {folder} holds none of {wanted_files}; give the folder with them"
            )
        questions: list[BenchmarkQuestion] = []
        set_aside, digests = SetAside(), []
        for name in there:
            table = open_table(folder / FILES[name])
            reader = _Reader(name, self.config, folder)
            found, left = read_questions(table, reader.question)
            questions += found
            set_aside += left
            digests.append(table.digest)
        not_empty(self.title, questions, set_aside)
        settings = [self.config.shots, self.config.seed]
        return BenchmarkSource(self.name, folder, questions, set_aside, *digests, settings)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Circular accuracy of both multiple-choice scenarios and of each task, accuracy once, exact matches of MIC."""
        ranked = [dict(row) for row in rows if row["options"]]
        turned = bool(ranked) and "of" in ranked[0].get("groups", {})
        whole: Rows = all_round(ranked) if turned else ranked
        words = [row for row in rows if not row["options"]]
        scenarios = by(whole, "scenario")
        once = [row for row in ranked if row["groups"].get("turn", 0) == 0]
        found = [accuracy("circular, both scenarios", whole), accuracy("once, both scenarios", once)]
        found += [
            accuracy(f"{name.upper()}", scenarios[name]) for name in ("mii", "mks") if name in scenarios
        ]
        found += [accuracy(kind, some) for kind, some in by(whole, "kind").items()]
        if words:
            found.append(accuracy("MIC, exact match", words))
            found += [accuracy(kind, some) for kind, some in by(words, "kind").items()]
        return found


class _Reader:
    """Rows of one file as questions."""

    def __init__(self, scenario: str, config: MIBench.Config, root: Path) -> None:
        self.scenario, self.config = scenario, config
        self.media = Media(root, ".", "image", endings=("",))

    def question(self, row: Mapping[str, Any], line: int) -> BenchmarkQuestion:
        """One row."""
        name = str(wanted(row, "id", (str, int)))
        kind = self._task(wanted(row, "task"))
        names = row.get("image")
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names:
            raise FieldError("image", f"must be a list of paths, but it is {shown(names)}")
        pictures = [self.media.image(str(path)) for path in names]
        content = with_places(wanted(row, "question"), pictures)
        groups = {"scenario": self.scenario}
        answer = str(wanted(row, "answer", (str, int, float)))
        cluster = str(names[0])
        identity = f"{self.scenario}/{kind}/{name}"
        if self.scenario == "mic":
            demos = self._demonstrations(row, names, line)
            return BenchmarkQuestion(
                identity, content, kind, cluster, reference=answer, groups=groups, earlier=demos
            )
        options = row.get("options")
        if not isinstance(options, list) or not all(isinstance(one, (str, int, float)) for one in options):
            raise FieldError("options", f"must be a list of texts, but it is {shown(options)}")
        texts = [str(one) for one in options]
        different(texts, "options")
        if answer not in texts:
            raise FieldError("answer", f"is {shown(answer)}, which is none of the {len(texts)} options")
        return BenchmarkQuestion(
            identity,
            content,
            kind,
            cluster,
            options=tuple(Text(text=text) for text in texts),
            answer=texts.index(answer),
            groups=groups,
        )

    def _task(self, given: str) -> str:
        plain = " ".join(given.replace("_", " ").split()).lower()
        known = {task.replace("-", " "): task for task in TASKS[self.scenario]}
        found = known.get(plain.replace("-", " "))
        if found is None and self.config.tasks == "known":
            raise FieldError(
                "task",
                f"is {shown(given)}; known: {', '.join(TASKS[self.scenario])} (tasks=any reads others as well)",
            )
        return found or plain

    def _demonstrations(
        self, row: Mapping[str, Any], query: Sequence[str], line: int
    ) -> tuple[tuple[Part, ...], ...]:
        given = row.get("demonstrations", row.get("context")) or []
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise FieldError("demonstrations", f"must be a list of examples, but it is {shown(given)}")
        demos = []
        for demo in given:
            names = demo.get("image") or []
            names = [names] if isinstance(names, str) else list(names)
            if names and names == list(query):
                raise FieldError(
                    "demonstrations", f"hold the question itself (picture {names[0]!r}); take it out"
                )
            asked = with_places(
                str(demo.get("question") or ""),
                [self.media.image(str(name), "demonstrations") for name in names],
            )
            demos.append((asked, (Text(text=str(wanted(demo, "answer", (str, int, float)))),)))
        return in_context(demos, self.config.shots, (self.config.seed, line))


def in_context(
    demos: Sequence[tuple[tuple[Part, ...], tuple[Part, ...]]],
    shots: int | None,
    seed: tuple[int, ...],
    field: str = "demonstrations",
) -> tuple[tuple[Part, ...], ...]:
    """``shots`` of the examples (all for None) as turns of user and assistant, in their order, drawn with ``seed``.

    :class:`FieldError` for more than there are.
    """
    count = len(demos) if shots is None else shots
    if count > len(demos):
        raise FieldError(field, f"are {len(demos)}, but {count} shots are asked for; ask for fewer")
    drawn = np.random.default_rng(seed).permutation(len(demos))[:count]
    return tuple(turn for place in sorted(map(int, drawn)) for turn in demos[place])


def with_places(question: str, pictures: Sequence[Part]) -> tuple[Part, ...]:
    """A question with its pictures in place; one that says no place gets a line ``Image-k:`` for each in front.

    :class:`FieldError` unless there are as many places as pictures.
    """
    if PLACEHOLDER not in question:
        lines = "".join(f"Image-{place}: {PLACEHOLDER}\n" for place in range(1, len(pictures) + 1))
        question = lines + question
    return interleave(question, pictures, PLACEHOLDER) if pictures else (Text(text=question),)
