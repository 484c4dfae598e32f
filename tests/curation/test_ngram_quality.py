import itertools
import math

import pytest

from vitrail.curation.ngram_quality import NgramQualityScorer, refuse_shared, select_lowest

REFERENCE = ["the red cat sits on the mat.", "a dog sits on the red mat.", "the dog sees the cat."]


def test_probabilities_sum_to_one_in_every_context():
    scorer = NgramQualityScorer(REFERENCE)
    vocabulary = [*scorer._followers[()], "unseen"]
    for context in (("the", "red"), ("on", "the"), ("never", "the"), ("never", "seen"), ()):
        assert sum(scorer.probability(word, context) for word in vocabulary) == pytest.approx(1.0)


def test_it_is_the_formula_by_hand():
    scorer = NgramQualityScorer(["a b a", "a c"], order=2, discount=0.5)
    unigrams = {"a": 3, "b": 1, "c": 1, "\x03": 2}
    uniform = 1 / 5
    low = {word: (count - 0.5) / 7 + 0.5 * 4 / 7 * uniform for word, count in unigrams.items()}
    assert scorer.probability("b", ("a",)) == pytest.approx((1 - 0.5) / 3 + 0.5 * 3 / 3 * low["b"])
    assert scorer.probability("a", ("zebra",)) == pytest.approx(low["a"])
    p = [scorer.probability(word, (before,)) for before, word in (("\x02", "a"), ("a", "c"), ("c", "\x03"))]
    assert scorer.perplexity("A c") == pytest.approx(math.exp(-sum(map(math.log, p)) / 3))


def test_what_is_like_the_reference_is_less_perplexing():
    scorer = NgramQualityScorer(REFERENCE)
    like, shuffled, other = (
        "the cat sits on the red mat.",
        "mat red the on sits cat the.",
        "buy cheap pills now",
    )
    assert scorer.perplexity(like) < scorer.perplexity(shuffled) < scorer.perplexity(other)
    assert scorer.perplexity(" ") == math.inf


def test_the_subset_is_the_best_of_its_size_and_ties_are_in_order():
    scores, tokens = [3.0, 1.0, 2.0, 1.0, 5.0], [10] * 5
    found = select_lowest(scores, tokens, 30)
    assert found.rows == (1, 2, 3) and found.tokens == 30
    assert all(
        found.score <= sum(scores[row] for row in rows) / 3 for rows in itertools.combinations(range(5), 3)
    )
    assert select_lowest([1.0, 1.0, 1.0], [5, 5, 5], 6).rows == (0, 1)
    for budget in (0, 51):
        with pytest.raises(ValueError, match="the corpus has 50 tokens"):
            select_lowest(scores, tokens, budget)


@pytest.mark.parametrize(
    "reference, settings, message",
    [([], {}, "holds no word"), ([" "], {}, "holds no word"), (REFERENCE, {"order": 0}, "order is 0")],
)
def test_what_cannot_score_is_refused(reference, settings, message):
    with pytest.raises(ValueError, match=message):
        NgramQualityScorer(reference, **settings)


def test_evaluation_texts_in_the_pool_are_refused():
    question = "which of these drugs is given first to a patient with an acute infection of the ear"
    refuse_shared(["nothing of the kind", "which of these drugs is given"], [question, "short one"])
    for text in (f"so: {question}?", "Short one"):
        with pytest.raises(ValueError, match="training text 1 holds evaluation text"):
            refuse_shared(["nothing", text], [question, "short one"])
