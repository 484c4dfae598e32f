"""Retrieval of translations as questions: both sides, the same whatever the window, refused where senseless."""

from __future__ import annotations

import numpy as np
import pytest

import encoders
from vitrail.curation.bitext import margin_score
from vitrail.data.records import Document, Group
from vitrail.data.translations import Translations
from vitrail.evaluation.instructions import Plain
from vitrail.evaluation.scenarios import as_item
from vitrail.evaluation.translation import EveryTranslation, Translation


class Listed(list):
    """Records as a source."""

    name, root, fingerprint = "listed", None, "f" * 64


def asked(bundle, source, **settings):
    inferencer = Translation(Translation.Config(**settings))
    plain = Plain(Plain.Config())
    prompts = [plain.prompt(as_item(record, row, None)) for row, record in enumerate(source)]
    return inferencer, [inferencer.encode(bundle, prompt, None) for prompt in prompts]


def test_answers_are_the_margins_of_both_sides_in_any_window():
    bundle = encoders.bundle("modernbert")
    source = EveryTranslation(Translations(n=10, fold="test"))
    assert len(source) == 20 and source[3].meta["kind"] == "arun to english"
    inferencer, questions = asked(bundle, source, k=2)
    together = inferencer.ask(bundle, questions, 4)
    other, same = asked(bundle, source, k=2)
    apart = [other.ask(bundle, same[start : start + 7], 3) for start in range(0, 20, 7)]
    assert together == [one for window in apart for one in window]
    texts = [[record.items[side][0].text for record in Translations(n=10, fold="test")] for side in (0, 1)]
    x, y = (bundle.embed(side).numpy() for side in texts)
    wanted = margin_score(x, y, 2)
    found = np.array([one["values"] for one in together])
    np.testing.assert_allclose(found[::2], wanted, atol=2e-6)
    np.testing.assert_allclose(found[1::2], wanted.T, atol=2e-6)
    cosine, questions = asked(bundle, source, score="cosine")
    first = cosine.ask(bundle, questions[:1], 4)[0]["values"]
    assert first[0] == pytest.approx(
        float(x[0] @ y[0] / np.linalg.norm(x[0]) / np.linalg.norm(y[0])), abs=1e-5
    )


def test_equal_texts_are_asked_once_and_what_is_no_pair_is_refused(nano):
    pairs = [Group(relation="translation", items=one) for one in (("a", "b"), ("a", "c"), ("d", "e"))]
    assert len(EveryTranslation(Listed(pairs))) == 4
    with pytest.raises(ValueError, match="1 different pairs"):
        EveryTranslation(Listed(pairs[:2]))
    with pytest.raises(ValueError, match="record 1 of listed: it is one text"):
        EveryTranslation(Listed([pairs[0], Document(content="a")]))
    source = EveryTranslation(Listed(pairs))
    with pytest.raises(ValueError, match="k is 4, and there are 2 and 2"):
        asked(encoders.bundle("bert"), source)
    with pytest.raises(ValueError, match="needs a masked encoder"):
        asked(nano, source, k=1)
