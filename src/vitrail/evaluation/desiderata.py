"""ChEF's six desiderata as tasks on any model and any questions (Shi et al., arXiv 2311.02692).

- ``calibration``: does confidence match accuracy? Error over ten bins of equally many answers.
- ``in_context``: do examples help? ``RIAM = (acc_icl − acc_0) / (acc_0 − chance)``, the mean over retrievers and shots.
- ``instruction_following``: does the same option win when other words stand for it? Match ratio over six sets of words.
- ``hallucination``: is *yes* said of what is not there? Precision, recall, F1, yes ratio of yes/no questions.
- ``robustness``: what is left of the lead over chance? ``RRM = (acc_c − chance) / (acc − chance)`` on corrupted
  pictures, texts, and both; ``RR = acc_c / acc``.
- ``language``: how good is the reasoning's text? A judge's mean rating (:func:`rate_language`).

A desideratum is a plan of tasks (:func:`plan`), each asked into a file of its own, and figures of these files
(:func:`figures`): so it goes on where it was killed, and can be scored again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev
from typing import TYPE_CHECKING, Any

from vitrail.evaluation.answers import Answers, read_answers
from vitrail.evaluation.baselines import chance
from vitrail.evaluation.calibration import best_temperature, confidence, equal_mass_ece
from vitrail.evaluation.figures import Figure, accuracy
from vitrail.evaluation.run import run_task
from vitrail.evaluation.task import Task
from vitrail.evaluation.verbaliser import KINDS
from vitrail.registry import nearest

if TYPE_CHECKING:
    from vitrail.data.sources import Source
    from vitrail.inference.answerers import Answerer
    from vitrail.models.bundle import Bundle

DESIDERATA = ("calibration", "in_context", "instruction_following", "hallucination", "robustness")
"""Those that need no judge."""
SHOTS = (1, 2, 3)
RETRIEVERS = ("random", "text", "picture")
SEVERITY = 3
CORRUPTED = {
    "image": tuple(
        f"{kind}-{SEVERITY}" for kind in ("gaussian_noise", "motion_blur", "fog", "jpeg", "rotate")
    ),
    "text": tuple(f"{kind}-{SEVERITY}" for kind in ("mistype", "drop_words", "add_asides")),
    "both": (f"gaussian_noise-{SEVERITY}+mistype-{SEVERITY}", f"fog-{SEVERITY}+drop_words-{SEVERITY}"),
}
"""Families at one severity, of which the mean is taken; the paper's own lists were not checked."""
LETTERED_QUERY = "{question}\n{options}\nAnswer with the letter."


@dataclass(frozen=True)
class Asking:
    """One file to be: ``task`` asked of questions changed by ``transform`` (also the condition's name)."""

    label: str
    task: Task
    transform: str = "as_is"

    @property
    def condition(self) -> str:
        """The file's name."""
        return "trained" if self.transform == "as_is" else self.transform


def plan(name: str, task: Task, retrievers: Sequence[str] = RETRIEVERS) -> list[Asking]:
    """What a desideratum asks, given the task that is asked anyway. ValueError for an unknown name."""
    if name not in DESIDERATA:
        raise ValueError(f"desideratum is {name!r}; {nearest(name, list(DESIDERATA))}")
    base = Asking("base", task)
    if name in ("calibration", "hallucination"):
        return [base]
    if name == "in_context":
        return [base, *(_shots(task, how, k) for how in retrievers for k in SHOTS)]
    if name == "robustness":
        changes = [(family, one) for family, some in CORRUPTED.items() for one in some]
        return [base, *(Asking(f"{family}: {one}", task, one) for family, one in changes)]
    return [
        Asking("letters", _letters(task, {"name": "lettered", "query": LETTERED_QUERY}, "letters")),
        *(
            Asking(
                words, _letters(task, {"name": "verbaliser", "words": words, "query": LETTERED_QUERY}, words)
            )
            for some in KINDS.values()
            for words in some
        ),
    ]


def _shots(task: Task, retriever: str, k: int) -> Asking:
    instruction = {"name": "in_context", "k": k, "retriever": retriever, "instruction": task.instruction}
    return Asking(f"{retriever}, {k}", _changed(task, f"{retriever}-{k}", instruction=instruction))


def _letters(task: Task, instruction: dict[str, Any], name: str) -> Task:
    return _changed(task, name, instruction=instruction, inferencer="likelihood", metric="accuracy")


def _changed(task: Task, name: str, **parts: Any) -> Task:
    return Task(**{**task.model_dump(), **parts, "name": f"{task.name[:60]}.{name}"})


def measure(
    names: Sequence[str],
    task: Task,
    bundle: Bundle,
    folder: Path | str,
    *,
    source: Source | None = None,
    retrievers: Sequence[str] = RETRIEVERS,
    **options: Any,
) -> dict[str, list[Figure]]:
    """Ask what the desiderata ask, and their figures by name; ``options`` are those of
    :func:`vitrail.evaluation.run.run_task`. A task that two of them ask is asked once.

    ValueError for questions that one cannot be measured on.
    """
    source = source if source is not None else task.part("scenario").source()
    found = {}
    for name in names:
        files = {
            one.label: run_task(
                one.task, bundle, folder, one.condition, source=source, transform=one.transform, **options
            )
            for one in plan(name, task, retrievers)
        }
        found[name] = figures(name, {label: read_answers(path) for label, path in files.items()})
    return found


def figures(name: str, answers: Mapping[str, Answers]) -> list[Figure]:
    """The figures of a desideratum from its files of answers by label, the headline first."""
    rows = {label: one.rows for label, one in answers.items()}
    return {
        "calibration": _calibration,
        "in_context": _in_context,
        "instruction_following": _instruction_following,
        "hallucination": _hallucination,
        "robustness": _robustness,
    }[name](rows)


Rows = Sequence[dict[str, Any]]


def _plain(name: str, value: float | None, n: int) -> Figure:
    return Figure(name, value, None, n)


def _calibration(rows: Mapping[str, Rows]) -> list[Figure]:
    base = [row for row in rows["base"] if row.get("values")]
    if not base:
        raise ValueError("calibration needs ranked answers; use the inferencer 'likelihood' (or cot)")
    right = [row["correct"] for row in base]
    found = [
        _plain("ECE", equal_mass_ece([confidence(row) for row in base], right), len(base)),
        accuracy("accuracy", base),
        _plain("mean confidence", mean(confidence(row) for row in base), len(base)),
    ]
    halves = _halves(base)
    if all(halves):
        # Each half is judged at the temperature that suits the other.
        fitted = [best_temperature(half) for half in halves]
        sure = [confidence(row, t) for half, t in zip(halves, reversed(fitted), strict=True) for row in half]
        hit = [row["correct"] for half in halves for row in half]
        found.insert(1, _plain("ECE after temperature", equal_mass_ece(sure, hit), len(base)))
        found.append(_plain("temperature", mean(fitted), len(base)))
    return found


def _halves(rows: Rows) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows in two halves by picture."""
    places: dict[str, int] = {}
    halves: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row in rows:
        halves[places.setdefault(row["cluster"], len(places)) % 2].append(row)
    return halves


def _in_context(rows: Mapping[str, Rows]) -> list[Figure]:
    base = rows["base"]
    zero, guess = share(base), _chance(base)
    found = [
        _plain(label, share(some), len(some)) for label, some in rows.items() if label != "base" and some
    ]
    with_examples = mean(one.value for one in found if one.value is not None)
    try:
        headline = _plain("RIAM", riam(with_examples, zero, guess), len(base))
    except ValueError:
        headline = _plain("RIAM", None, len(base))
    return [headline, _plain("without examples", zero, len(base)), *found]


def _instruction_following(rows: Mapping[str, Rows]) -> list[Figure]:
    base = rows["letters"]
    ratios = {label: match_ratio(base, some) for label, some in rows.items() if label != "letters"}
    found = [_plain("match ratio", mean(ratios.values()), len(base)), accuracy("accuracy, letters", base)]
    for kind, words in KINDS.items():
        found.append(_plain(f"match ratio, {kind}", mean(ratios[one] for one in words), len(base)))
    return found + [
        accuracy(f"accuracy, {label}", some) for label, some in rows.items() if label != "letters"
    ]


def _hallucination(rows: Mapping[str, Rows]) -> list[Figure]:
    from vitrail.evaluation.benchmarks.pope import YES_NO, yes_no_figures

    base = [row for row in rows["base"] if tuple(one.lower().strip(".") for one in row["options"]) == YES_NO]
    if not base:
        raise ValueError(
            "hallucination is measured on questions whose options are yes and no, and there is none; use --benchmark "
            "pope, or offline_presence, which needs no files"
        )
    return yes_no_figures(base)


def _robustness(rows: Mapping[str, Rows]) -> list[Figure]:
    base = rows["base"]
    clean, guess = share(base), _chance(base)
    found: list[Figure] = []
    for family in CORRUPTED:
        shares = [share(some) for label, some in rows.items() if label.startswith(f"{family}: ") and some]
        if not shares:
            continue
        try:
            rr, rrm = relative_robustness(mean(shares), clean, guess)
        except ValueError:
            rr, rrm = None, None
        found += [_plain(f"RRM, {family}", rrm, len(base)), _plain(f"RR, {family}", rr, len(base))]
    corrupted = [
        _plain(label, share(some), len(some)) for label, some in rows.items() if label != "base" and some
    ]
    return [*found, _plain("clean", clean, len(base)), *corrupted]


def share(rows: Rows) -> float:
    """The share right. ValueError for no rows."""
    if not rows:
        raise ValueError("no question was answered, so there is no share of right answers")
    return sum(bool(row["correct"]) for row in rows) / len(rows)


def _chance(rows: Rows) -> float:
    found = chance(rows)
    if found is None:
        raise ValueError("questions without options have no chance level; use multiple choice")
    return found


def riam(with_examples: float, without: float, guess: float) -> float:
    """``(acc_icl − acc_0) / (acc_0 − chance)``; 0 where examples change nothing. ValueError where acc_0 is at
    chance."""
    if without == guess:
        raise ValueError(f"accuracy without examples is {without}, which is chance; RIAM is not defined")
    return (with_examples - without) / (without - guess)


def relative_robustness(corrupted: float, clean: float, guess: float) -> tuple[float, float]:
    """``RR = acc_c / acc`` and ``RRM = (acc_c − chance) / (acc − chance)``: 1 where nothing is lost, RRM 0 at chance.

    ValueError where the clean accuracy is 0, or at chance.
    """
    if clean == guess or clean == 0:
        raise ValueError(f"clean accuracy is {clean} and chance {guess}; relative robustness is not defined")
    return corrupted / clean, (corrupted - guess) / (clean - guess)


def match_ratio(first: Rows, second: Rows) -> float:
    """The share of questions, of those in both files, whose chosen option is the same. ValueError for none in both."""
    others = {row["id"]: row["prediction"] for row in second}
    same = [row["prediction"] == others[row["id"]] for row in first if row["id"] in others]
    if not same:
        raise ValueError("the two files answer no question in common, so there is no match ratio")
    return sum(same) / len(same)


def spread(shares: Sequence[float]) -> float:
    """The standard deviation of accuracy over wordings of the query: what a model owes to the prompt."""
    if len(shares) < 2:
        raise ValueError(f"a spread needs two wordings or more, got {len(shares)}")
    return pstdev(shares)


JUDGE = (
    "Rate the language of this reasoning from 0 to 10: is it fluent, does it hold together, does it lead to the chosen "
    "answer? Say only the number.\nQuestion: {question}\nRight answer: {answer}\nReasoning: {thought}\nChosen: {chosen}"
)
_NUMBER = re.compile(r"\b(10|\d)(?:\.\d+)?\b")


def rate_language(rows: Rows, questions: Mapping[str, str], judge: Answerer, replies: int = 6) -> Figure:
    """A judge's mean rating (0 to 10, here as a share) of the thoughts of rows that inferencer ``cot`` answered.

    ``questions`` are the texts by id. Each is rated ``replies`` times, ratings that cannot be read left out.
    ValueError where no row holds a thought.
    """
    from vitrail.inference.answerers import question
    from vitrail.inference.generation import GenerationSettings

    thoughts = [row for row in rows if row.get("thought")]
    if not thoughts:
        raise ValueError("no row holds a thought to rate; ask with the inferencer 'cot'")
    chats = []
    for row in thoughts:
        options = row["options"]
        filled = {
            "question": questions.get(row["id"], ""),
            "answer": options[row["answer"]] if options else str(row["reference"]),
            "thought": row["thought"],
            "chosen": options[row["prediction"]] if options and row["prediction"] is not None else "",
        }
        text = JUDGE
        for name, value in filled.items():
            text = text.replace(f"{{{name}}}", value)
        chats.append(question(text))
    ratings: list[list[float]] = [[] for _ in thoughts]
    for seed in range(replies):
        settings = GenerationSettings(max_new_tokens=8, temperature=0.7 if replies > 1 else 0.0, seed=seed)
        for place, reply in enumerate(judge.ask(chats, settings)):
            if (number := _NUMBER.search(reply.text)) is not None:
                ratings[place].append(float(number[0]) / 10)
    means = [mean(some) for some in ratings if some]
    return Figure("language", mean(means) if means else None, None, len(means))
