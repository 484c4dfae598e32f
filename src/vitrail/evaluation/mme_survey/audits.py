"""Audits of a benchmark (Fu et al., arXiv 2411.15296): is it about pictures, is it leaked, does it favour a place?

Each is a pure function of files of answers, or of questions, and gives a figure with its interval. ``MG`` and ``ML``
are MMStar's (Chen et al., arXiv 2403.20330): ``MG = S_v − S_wv``, ``ML = max(0, S_wv − S_llm)``, where S_v is the
share right with pictures, S_wv without, and S_llm that of the language model before it saw any.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.evaluation.answers import Answers, read_answers
from vitrail.evaluation.baselines import majority
from vitrail.evaluation.circular import circular_score
from vitrail.evaluation.desiderata import share, spread
from vitrail.evaluation.figures import Figure, accuracy
from vitrail.statistics.intervals import paired_difference
from vitrail.statistics.rank_correlation import rank_correlation

Rows = Sequence[Mapping[str, Any]]


def blind_gap(seen: Rows, blind: Rows) -> Figure:
    """The share right with pictures less that without, over questions that both answer. ValueError for none of them."""
    return _gap("blind gap", seen, blind)


def _gap(name: str, first: Rows, second: Rows) -> Figure:
    others = {row["id"]: float(row["correct"]) for row in second}
    pairs = [
        (float(row["correct"]), others[row["id"]], row["cluster"]) for row in first if row["id"] in others
    ]
    if not pairs:
        raise ValueError(f"{name}: the two files answer no question in common")
    a, b, clusters = zip(*pairs, strict=True)
    if len(set(clusters)) < 2:
        return Figure(name, sum(a) / len(a) - sum(b) / len(b), None, len(a))
    found = paired_difference(a, b, clusters)
    return Figure(name, found.value, (found.low, found.high), len(a))


def multimodal_gain(seen: float, blind: float, language: float) -> tuple[float, float]:
    """``(MG, ML)`` of three shares right. ValueError for one that is no share."""
    for name, value in (("S_v", seen), ("S_wv", blind), ("S_llm", language)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; give a share of right answers between 0 and 1")
    return seen - blind, max(0.0, blind - language)


def position_bias(rows: Sequence[dict[str, Any]]) -> tuple[Figure, Figure]:
    """The standard deviation of accuracy over the right option's place, and the gap of plain and circular accuracy.

    Of rows asked under every rotation. ValueError for others.
    """
    if not rows or "turn" not in rows[0].get("groups", {}):
        raise ValueError(
            "position bias needs answers under every rotation of the options; ask with --circular"
        )
    found = circular_score(rows)
    return (
        Figure("position bias", found.bias, None, found.n),
        Figure("vanilla less circular", found.vanilla - found.circular, None, found.n),
    )


def answer_balance(rows: Rows) -> tuple[Figure, Figure]:
    """The entropy of the right options' places as a share of its most (1 is balanced), and the majority guess.

    ValueError for rows without options.
    """
    ranked = [dict(row) for row in rows if row.get("options")]
    if not ranked:
        raise ValueError("answer balance needs questions with options")
    counts = Counter(row["answer"] for row in ranked)
    places = max(len(row["options"]) for row in ranked)
    shares = [count / len(ranked) for count in counts.values()]
    entropy = -sum(one * math.log(one) for one in shares) / math.log(places)
    guesses = majority(ranked)
    guessed = [{**row, "correct": guess == row["answer"]} for row, guess in zip(ranked, guesses, strict=True)]
    return Figure("answer balance", entropy, None, len(ranked)), accuracy("majority guess", guessed)


def cohens_kappa(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Agreement of two judges beyond chance: 1 is full, 0 what chance gives. ValueError for unlike lengths, or none."""
    if len(first) != len(second) or not first:
        raise ValueError(
            f"the judges gave {len(first)} and {len(second)} verdicts; give one each for the same items"
        )
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
    mine, theirs = Counter(first), Counter(second)
    by_chance = sum(mine[one] * theirs[one] for one in mine) / len(first) ** 2
    return 1.0 if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def order_consistency(first: Sequence[int], swapped: Sequence[int]) -> float:
    """How often a judge of pairs (0 or 1 is better) says the same when the pair is shown the other way round."""
    if len(first) != len(swapped) or not first:
        raise ValueError("give a verdict on each pair in both orders")
    return sum(a == 1 - b for a, b in zip(first, swapped, strict=True)) / len(first)


def sensitivity(name: str, files: Sequence[Rows]) -> Figure:
    """The standard deviation of the share right over wordings, sizes or frames of the same questions."""
    return Figure(name, spread([share([dict(row) for row in rows]) for rows in files]), None, len(files[0]))


def redundancy(first: Sequence[float], second: Sequence[float]) -> Figure:
    """The rank correlation of two benchmarks over models (five or more): near 1, one of them would do."""
    found = rank_correlation([[one] for one in first], [[one] for one in second])
    return Figure("redundancy", found.value, (found.low, found.high), len(first))


def effective_items(right: Sequence[Sequence[float]]) -> float:
    """How many independent questions a benchmark is worth: ``(Σ λ)² / Σ λ²`` of the items' correlations over models.

    ``right`` (models, items). ValueError for fewer than three models.
    """
    x = np.asarray(right, float)
    if x.ndim != 2 or len(x) < 3:
        raise ValueError("give a row of right and wrong answers for each of three models or more")
    x = x[:, x.std(0) > 0]
    if not x.shape[1]:
        return 0.0
    z = (x - x.mean(0)) / x.std(0)
    eigenvalues = np.linalg.svd(z, compute_uv=False) ** 2
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def chance_corrected(value: float, guess: float) -> float:
    """``(acc − chance) / (1 − chance)``: 0 at chance, 1 for all right. ValueError for a chance level of 1."""
    if guess >= 1:
        raise ValueError(f"chance is {guess}; where a guess is always right nothing is measured")
    return (value - guess) / (1 - guess)


def text_overlap(questions: Iterable[str], training: Iterable[str], n: int = 8) -> float:
    """The share of questions of which some ``n`` words in a row stand in the training texts, too.

    Questions of fewer words are held whole. ValueError for no questions.
    """
    known: set[tuple[str, ...]] = set()
    short: set[int] = set()
    asked = [text.lower().split() for text in questions]
    if not asked:
        raise ValueError("there is no question to look for")
    short = {len(words) for words in asked if len(words) < n}
    for text in training:
        words = text.lower().split()
        for size in (n, *short):
            known.update(tuple(words[i : i + size]) for i in range(len(words) - size + 1))

    def seen(words: list[str]) -> bool:
        size = min(n, len(words))
        return any(tuple(words[i : i + size]) in known for i in range(len(words) - size + 1))

    return sum(bool(words) and seen(words) for words in asked) / len(asked)


def contamination(seen: Rows, unseen: Rows) -> list[Figure]:
    """How surely the items of a benchmark look more familiar than ``unseen`` ones of the same kind: 1/2 is not at all.

    Of rows that the inferencer *membership* wrote (arXiv 2310.16789). ValueError for others.
    """
    from vitrail.evaluation.benchmarks.wikimia import membership_figures

    rows = [*seen, *unseen]
    if not seen or not unseen or any("token_logprobs" not in row for row in rows):
        raise ValueError(
            "contamination needs both files read with --inferencer membership --instruction item_text --metric loss"
        )
    return membership_figures(rows, [1] * len(seen) + [0] * len(unseen))


def audit(files: Mapping[str, Path | str]) -> list[Figure]:
    """Every audit that files of answers to one benchmark allow.

    ``files`` by role: ``seen`` (as it is), ``blind`` (without pictures), ``language`` (the language model alone),
    ``circular`` (asked under every rotation), ``unseen`` (items that no model can have seen, read as ``seen`` was with
    the inferencer *membership*). ValueError for a role that is none, or without ``seen``.
    """
    unknown = set(files) - {"seen", "blind", "language", "circular", "unseen"}
    if unknown or "seen" not in files:
        raise ValueError(
            f"files has {sorted(files)}; give 'seen', and any of blind, language, circular, unseen"
        )
    opened: dict[str, Answers] = {name: read_answers(path) for name, path in files.items()}
    seen = opened["seen"].rows
    if "unseen" in opened:
        return contamination(seen, opened["unseen"].rows)
    found = [accuracy("accuracy", seen)]
    if any(row.get("options") for row in seen):
        found += answer_balance(seen)
        guess = sum(1 / len(row["options"]) for row in seen if row["options"]) / len(seen)
        found.append(Figure("above chance", chance_corrected(share(seen), guess), None, len(seen)))
    if "blind" in opened:
        found.append(blind_gap(seen, opened["blind"].rows))
    if "blind" in opened and "language" in opened:
        gain, leak = multimodal_gain(share(seen), share(opened["blind"].rows), share(opened["language"].rows))
        found += [Figure("multimodal gain", gain, None, len(seen)), Figure("leakage", leak, None, len(seen))]
    if "circular" in opened:
        found += position_bias(opened["circular"].rows)
    return found
