"""Do the least likely tokens tell members better than all tokens? (Min-K % Prob, arXiv 2310.16789)

``vitrail study min_k --testbed nano``: 17 trainings of about a minute. Expected: above zero. A small Llama is
pretrained on texts about scenes, each read 32 times; from the same generator come as many texts that it never reads.
Both are cut to ``WORDS`` words. From one model's token probabilities Min-20 % and perplexity each tell members from
non-members; compared are their areas under the curve, over seeds of training and texts. Members and non-members are
drawn alike, so that nothing but memory can separate them (a bag of words, in each cell's ``probe``, stays at one half);
WikiMIA's classes differ in their dates, too.

Beside it each cell has the areas of zlib, lower case, Min-10 % and Min-40 % (a reference model is left out: the same
one before its last epochs is not to be had, and one of other texts would know less of this language), and the rate
at 5 % false positives. Context: texts read 16, eight and four times, over as many steps. Read eight times, as a first
run had it, texts of this language leave no trace (areas of 0.49 to 0.52): no score could be better than another.

What this testbed can carry: how the scores behave on exact labels, on short texts of a small language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design, Figure

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder

EVALUATION = "development"
REPEATS = 32
READ = 6400
"""Texts read in a cell, repeats counted: 200 steps of 32."""
AUDITED = 200
"""Members and non-members each, at most."""
WORDS = 24
UNSEEN = 1_000_000
"""Added to a cell's seed: the draw of texts that nobody reads."""


def nano() -> Design:
    """One recipe on both sides; what differs is which score reads the model."""
    base = plain(load("pretrain-text"))

    def arm(repeats: int, score: str, name: str, about: str) -> Arm:
        change = {"data.texts.n": READ // repeats, f"data.{EVALUATION}.seed": None}
        recipe = changed(base, {"set": change}, name)
        return Arm(name, recipe, about, probe=f"vitrail.studies.min_k:{score}")

    return Design(
        name=f"Min-20 % against perplexity, texts read {REPEATS} times",
        control=arm(REPEATS, "perplexity", "perplexity", "All tokens count alike."),
        methods=(arm(REPEATS, "min_20", "Min-20 %", "The fifth of the tokens that are least likely."),),
        context=tuple(
            arm(times, "min_20", f"Min-20 %, read {times} ×", "Fewer repeats, as many steps.")
            for times in (16, 8, 4)
        ),
        evaluation=EVALUATION,
        delta=0.02,
        figure=Figure("area under the curve", "probe.auc", chance=0.5),
        seeds=8,
        pairs=0,
        trials=1,
    )


def perplexity(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """The areas of all scores; ``auc`` is that of the perplexity."""
    return audited(run, bundle, "perplexity")


def min_20(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """The areas of all scores; ``auc`` is that of Min-20 %."""
    return audited(run, bundle, "Min-20 %")


def audited(run: RunFolder, bundle: Bundle, score: str) -> dict[str, float]:
    """A trained model's texts against unread ones: the area under the curve of each score, ``score``'s as ``auc``."""
    from vitrail.analysis.membership import membership_report
    from vitrail.data.records import Chat, Document, Message, Text
    from vitrail.evaluation.benchmarks.wikimia import bag_of_words
    from vitrail.evaluation.inferencers import Asked
    from vitrail.evaluation.instructions import Prompt
    from vitrail.evaluation.membership import Membership, row_scores

    texts, labels = members_and_others(run.recipe())
    reader = Membership(Membership.Config())
    asked: list[Any] = []
    for text in texts:
        said = Chat(messages=(Message(role="user", content=(Text(text=text),)),))
        asked.append(
            reader.encode(
                bundle, Prompt(said, text=Document(content=(Text(text=text),)), reference=text), None
            )
        )
    assert all(isinstance(one, Asked) for one in asked)
    rows = [row_scores(row) for row in reader.ask(bundle, asked, 64)]
    found: dict[str, float] = {}
    for name in rows[0]:
        report = membership_report([row[name] for row in rows], labels)
        found[name] = report.auc.value
        if name == score:
            found |= {"auc": report.auc.value, "at 5 %": report.tpr_at_5}
    bag = bag_of_words(texts, labels, range(len(texts))).value
    assert bag is not None
    return {**found, "bag of words": bag}


def members_and_others(recipe: Any) -> tuple[list[str], list[int]]:
    """Texts of a run's own data and as many of another draw of the same fold, cut to ``WORDS``; 1 is a member."""
    from vitrail.analysis.membership import truncate_words
    from vitrail.data.scenes import suite
    from vitrail.data.scenes.texts import SceneTexts
    from vitrail.models.documents import text_of

    data, seed = recipe["data"]["texts"], recipe["seed"]
    own = data["seed"] if data.get("seed") is not None else seed
    n = min(AUDITED, data["n"])
    texts: list[str] = []
    labels: list[int] = []
    for label, draw in ((1, own), (0, own + UNSEEN)):
        source = SceneTexts(suite(data["suite"]), data["fold"], draw, data["n"], data["names"])
        cut = [truncate_words(text_of(source[index]) or "", WORDS) for index in range(len(source))]
        some = [text for text in cut if text is not None][:n]
        texts += some
        labels += [label] * len(some)
    return texts, labels


STUDY = Study(
    paper="min_k",
    claim="Of texts drawn alike, the mean log-probability of the fifth of the tokens that are least likely tells those "
    "read in training from others better than the mean of all tokens.",
    published="average AUC on WikiMIA 7.4 % above the best earlier method, over five models and two settings",
    kind="superiority",
    delta=0.02,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 10},
)
