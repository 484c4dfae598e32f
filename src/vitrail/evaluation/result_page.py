"""One HTML page of results: abilities beside their baselines and other models, calibration, mistakes, fingerprints.

It is made from files of answers and the questions that they belong to; equal files give equal bytes. The first model
is the one that the page is about; the others answered the same questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.evaluation import score_tables
from vitrail.evaluation.calibration import confidence, equal_mass_bins, equal_mass_ece
from vitrail.evaluation.compare import paired
from vitrail.evaluation.figures import accuracy
from vitrail.evaluation.mme_survey.abilities import by_ability
from vitrail.evaluation.mme_survey.taxonomy import LEAVES
from vitrail.evaluation.question_cards import Questions, card, mistakes
from vitrail.evaluation.result_files import AS_IS, Result, find, labels, short_names, with_siblings
from vitrail.evaluation.scores import Scores

BINS = 10
GALLERY = 48
"""Mistakes shown of a set of questions, and as many answers that could not be read, at most."""


@dataclass(frozen=True)
class Set:
    """Results on the same questions by the names that a reader sees; the first is whom the page is about."""

    name: str
    results: dict[str, Result]

    @property
    def first(self) -> Result:
        """Whom the page is about."""
        return next(iter(self.results.values()))

    @property
    def scores(self) -> dict[str, Scores]:
        """By name."""
        return {name: one.scores for name, one in self.results.items()}

    @property
    def seen(self) -> dict[str, Result]:
        """Those who saw the questions as they are."""
        return {name: one for name, one in self.results.items() if one.transform == AS_IS}


def write_page(
    places: Sequence[Path | str],
    out: Path | str,
    *,
    data: str | None = None,
    gallery: int = GALLERY,
    title: str = "",
) -> Path:
    """Write the page of the results at ``places`` (files of answers, or folders of them) to ``out``; returns where.

    ``data``: where the questions are, if not where they were. ``gallery``: mistakes shown of a set at most. ValueError
    for places without results, or ``data`` for questions of several sets; ImportError names the extra if matplotlib is
    missing.
    """
    from vitrail.reporting.plots import require

    require()
    sets = sets_of([Result.of(path) for path in with_siblings(find(places))])
    if data is not None and len(sets) > 1:
        names = ", ".join(one.name for one in sets)
        raise ValueError(f"--data is {data!r}, but there are questions of {names}; report on one of them")
    return page_of(sets, data, gallery, title).write(out)


def sets_of(results: Sequence[Result]) -> list[Set]:
    """Results that belong together: the same questions, under any protocol, in the order given."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in results:
        groups.setdefault((one.benchmark, one.questions), []).append(one)
    names = [name for name, _ in groups]
    tasks = [str(some[0].header["task"]["name"]) for some in groups.values()]
    found = []
    for (name, print_), task, some in zip(groups, tasks, groups.values(), strict=True):
        # Of two versions of one benchmark the evaluations' own names tell more than fingerprints.
        told = (
            name if names.count(name) == 1 else task if tasks.count(task) == 1 else f"{name} ({print_[:6]})"
        )
        found.append(Set(told, _named(some)))
    return found


def _named(results: list[Result]) -> dict[str, Result]:
    """By what a reader sees; the first saw the questions as they are, if any did."""
    named = dict(zip(labels(results), results, strict=True))
    first = next((name for name, one in named.items() if one.transform == AS_IS), next(iter(named)))
    return {first: named[first], **named}


def page_of(sets: Sequence[Set], data: str | None = None, gallery: int = GALLERY, title: str = "") -> Any:
    """The page."""
    from vitrail.reporting import Headline, Page

    model = str(sets[0].first.header["model"])
    told = f"{short_names([model])[model]}: {', '.join(one.name for one in sets)}"
    page = Page(title or told, _subtitle(sets))
    lead = "Share of right answers; brackets and whiskers are 95 % intervals over pictures."
    section = page.section("Scores", lead)
    section.add(Headline([score_tables.headline(one.name, one.scores) for one in sets]))
    for one in sets:
        scores = one.scores
        bars = (
            []
            if score_tables.first_of(scores).overall.loss is not None
            else [score_tables.kind_bars(one.name, scores)]
        )
        section.add(
            *bars,
            *score_tables.official_table(one.name, scores),
            *score_tables.coverage_table(one.name, scores),
        )
    _abilities(page, sets)
    _others(page, sets)
    _calibration(page, sets)
    for one in sets:
        _mistakes(page, one, data, gallery)
    _settings(page, sets)
    return page


def _subtitle(sets: Sequence[Set]) -> str:
    others = dict.fromkeys(name for one in sets for name in list(one.seen)[1:])
    beside = f", beside {', '.join(others)}" if others else ""
    questions = sum(one.first.scores.overall.n for one in sets)
    return f"{questions:,} questions answered{beside}."


def _abilities(page: Any, sets: Sequence[Set]) -> None:
    """A table by leaf of the taxonomy, and what no question tests."""
    from vitrail.reporting import DataTable, Notice

    rows: list[tuple[Any, ...]] = []
    names = list(dict.fromkeys(name for one in sets for name in one.results))
    tested: dict[str, None] = {}
    for one in sets:
        found = {
            name: by_ability(result.header.get("benchmark"), result.answers.rows)
            for name, result in one.results.items()
        }
        for leaf in LEAVES:
            mine = found[next(iter(found))].get(leaf)
            if not mine:
                continue
            tested[leaf] = None
            cells = [
                score_tables.figure_cell(
                    accuracy("", found[name][leaf]) if leaf in found.get(name, {}) else None
                )
                for name in names
            ]
            guess = [1 / len(row["options"]) for row in mine if row["options"]]
            chance = sum(guess) / len(mine) if len(guess) == len(mine) else None
            rows.append((leaf, one.name, *cells, score_tables.percent(chance), len(mine)))
    if not rows:
        return
    rows.sort(key=lambda row: LEAVES.index(row[0]))
    section = page.section("Abilities", "The same answers by ability (the taxonomy of MME-Survey).")
    section.add(DataTable(("ability", "questions of", *names, "chance", "n"), rows))
    left = [leaf.split("/")[1].replace("_", " ") for leaf in LEAVES if leaf not in tested]
    section.add(Notice(f"Nothing here tests {len(left)} of {len(LEAVES)} abilities: {', '.join(left)}."))


def _others(page: Any, sets: Sequence[Set]) -> None:
    """The first model against each other, question by question."""
    from vitrail.reporting import DataTable

    rows = []
    for one in sets:
        (name, first), *others = one.results.items()
        for other, second in others:
            found = paired(first.answers, second.answers)
            if found is not None:
                ends = found.interval
                interval = f"{100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}" if ends else "–"
                rows.append((one.name, name, other, found.n, f"{100 * found.difference:+.1f}", interval,
                             found.only_first, found.only_second, f"{found.p:.3g}"))  # fmt: skip
    if rows:
        lead = "Points of accuracy on questions that both answered; p by signs flipped picture by picture."
        columns = ("questions of", "first", "second", "n", "difference", "95 % interval", "only first right",
                   "only second right", "p")  # fmt: skip
        page.section("Question by question", lead).add(DataTable(columns, rows))


def _calibration(page: Any, sets: Sequence[Set]) -> None:
    """How often answers are right that the model is so and so sure of."""
    from vitrail.reporting import Curves, DataTable
    from vitrail.statistics.intervals import wilson

    curves: dict[str, tuple[list[float], list[float]]] = {}
    rows: list[tuple[Any, ...]] = []
    errors: list[tuple[Any, ...]] = []
    for one in sets:
        for place, (name, result) in enumerate(one.seen.items()):
            ranked = [row for row in result.answers.rows if row.get("values")]
            if not ranked:
                continue
            called = name if len(sets) == 1 else f"{one.name}: {name}"
            sure = sorted((confidence(row), bool(row["correct"])) for row in ranked)
            xs, ys, start = [], [], 0
            for size in equal_mass_bins(len(sure), BINS):
                part = sure[start : start + size]
                right = sum(hit for _, hit in part)
                low, high = wilson(right, size)
                xs.append(sum(value for value, _ in part) / size)
                ys.append(right / size)
                told = f"{100 * part[0][0]:.0f} to {100 * part[-1][0]:.0f} %"
                share = f"{100 * ys[-1]:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
                rows += [] if place else [(called, told, f"{100 * xs[-1]:.0f} %", share, size)]
                start += size
            curves[called] = xs, ys
            error = equal_mass_ece([value for value, _ in sure], [hit for _, hit in sure], BINS)
            errors.append((called, f"{100 * error:.1f}", len(sure)))
    if curves:
        lead = (
            "How often an answer is right, by how sure the model was; on the diagonal it knows what it knows."
        )
        series = {"sure as it is right": ([0.0, 1.0], [0.0, 1.0]), **curves}
        section = page.section("Calibration", lead)
        section.add(
            Curves("Right answers by confidence", series, x_label="confidence", y_label="share right"),
            DataTable(("answers of", "expected calibration error, points", "n"), errors),
            DataTable(
                ("answers of", "confidence", "mean", "right", "n"),
                rows,
                caption="Bins of equally many answers",
            ),
        )


def _mistakes(page: Any, one: Set, data: str | None, most: int) -> None:
    """Two galleries: wrong answers, and answers that could not be read."""
    from vitrail.reporting import Gallery, Notice, Text

    rows = one.first.answers.rows
    if one.first.scores.overall.loss is not None or most < 1:
        return
    questions = Questions(one.first.answers, data)
    others = {
        name: {row["id"]: row for row in other.answers.rows} for name, other in list(one.results.items())[1:]
    }
    for parsed, heading in ((True, "Mistakes"), (False, "Answers that could not be read")):
        wrong = mistakes(rows, parsed=parsed)
        if not wrong:
            continue
        cards: list[Any] = []
        gone = 0
        for row in wrong:
            if len(cards) == most:
                break
            found = questions.of(row)
            shown = None if found is None else _shown(found, row, _note(row, others))
            gone += shown is None
            cards += [] if shown is None else [shown]
        lead = f"{len(cards)} of {len(wrong)} in {len(rows)} answers"
        ranked = any(row.get("choice") is not None for row in wrong)
        lead += (
            ("; the most confident mistakes first." if ranked else ".")
            if parsed
            else "; they count as not right."
        )
        section = page.section(f"{heading}: {one.name}", lead)
        if cards:
            section.add(Gallery(cards, name=f"{heading.lower().replace(' ', '-')}-{one.name}"))
        if gone:
            why = questions.reason or "their records are not there, or are others by now"
            section.add(Notice(f"{gone} cannot be shown: {why}.", "warning"))
        if not cards:
            section.add(Text("\n\n".join(f"{row['id']}: {_note(row, others)}" for row in wrong[:most])))


def _shown(found: tuple[Any, Path | None], row: Mapping[str, Any], note: str) -> Any:
    try:
        return card(found[0], row, found[1], note)
    except (ValueError, OSError):
        return None


def _note(row: Mapping[str, Any], others: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """How the answer was read, and what the others answered."""
    parts = [_read_as(row)]
    for name, answers in others.items():
        if row["id"] in answers:
            other = answers[row["id"]]
            right = "right" if other["correct"] else "not right"
            parts.append(f"{name}: {_read_as(other)[0].lower()}{_read_as(other)[1:]}, {right}")
    return f"{'. '.join(parts)}. ({row['id']})"


def _read_as(row: Mapping[str, Any]) -> str:
    if not row["parsed"]:
        return (
            f"Nothing could be read from “{row.get('text', '')}”"
            if row.get("text")
            else "No answer was given"
        )
    if row["prediction"] is not None and row["options"]:
        return f"Read as “{row['options'][row['prediction']]}”"
    return f"Read as “{row.get('text', '')}”"


def _settings(page: Any, sets: Sequence[Set]) -> None:
    """How it was asked, and the fingerprints of everything that the answers depend on."""
    from vitrail.reporting import KeyValues

    lead = "How questions are put, how an answer is made (sampling), read and judged; hashes of all of it."
    section = page.section("What the answers depend on", lead, folded=True)
    prints: dict[tuple[str, str], Mapping[str, str]] = {}
    for one in sets:
        for name, result in one.results.items():
            task = result.header["task"]
            values = {
                "model": result.header["model"],
                "questions": result.header["source"],
                "rows": result.header["rows"],
                **{seam: task[seam] for seam in ("instruction", "inferencer", "metric")},
                **result.header.get("run", {}),
            }
            section.add(KeyValues(values, caption=f"{one.name}: {name}"))
            prints[one.name, name] = result.header["fingerprints"]
    section.add(score_tables.fingerprint_table(prints))
