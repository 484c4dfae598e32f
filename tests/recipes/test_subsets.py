"""Parts of data: at random, like a reference, apart from what is asked."""

import json

import pytest

from vitrail.recipes import loading
from vitrail.recipes.sources import open_data
from vitrail.recipes.subsets import origin, said


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def made(tmp_path):
    """A recipe over a corpus of which every third text is about ships, and clean texts about ships."""
    ships = [
        f"the old ship {word} at sea" for word in ("sails", "turns", "rests", "sinks", "waits", "drifts")
    ]
    other = [f"a cat number {number} eats green fish on a mat" for number in range(12)]
    corpus = [text for place in range(6) for text in (ships[place], *other[2 * place : 2 * place + 2])]
    files = {
        "corpus": corpus,
        "clean": ["the ship is at sea", "an old ship sails at sea"],
        "asked": [ships[3]],
    }
    for name, texts in files.items():
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / f"{name}.jsonl").write_text(rows)

    def recipe(**settings):
        data = {name: {"kind": "file", "path": str(tmp_path / f"{name}.jsonl")} for name in files}
        data["part"] = {"kind": "subset", "source": "corpus", "share": 0.18, **settings}
        return {
            "name": "parts",
            "model": {"testbed": "nano"},
            "data": data,
            "stages": [
                {"name": "read", "data": "part", "trains": ["language"], "max_steps": 2, "batch_size": 2}
            ],
        }

    return recipe


def texts(recipe, name="part"):
    return [said(record) for record in open_data(loading.load(recipe), name, "conversations")]


def test_the_records_most_like_the_reference_are_chosen_in_the_corpus_s_order(made, monkeypatch):
    chosen = texts(made(reference="clean"))
    assert chosen == [f"the old ship {word} at sea" for word in ("sails", "turns", "rests", "sinks", "waits")]
    from vitrail.curation import ngram_quality

    monkeypatch.setattr(ngram_quality.NgramQualityScorer, "perplexity", None)  # scores are in the cache
    assert texts(made(reference="clean")) == chosen
    more = texts(made(reference="clean", share=0.3))
    assert set(chosen) < set(more) and any("cat" in text for text in more)


def test_the_records_that_a_classifier_finds_most_like_the_reference(made, tmp_path, monkeypatch):
    (tmp_path / "asked.jsonl").write_text('{"text": "a cat eats"}\n{"text": "green fish on a mat"}\n')
    chosen = texts(made(reference="clean", unlike="asked"))
    assert len(chosen) == 5 and all("ship" in text for text in chosen)
    from vitrail.curation import text_classifier

    monkeypatch.setattr(text_classifier.TextClassifier, "fit", None)  # scores are in the cache
    assert texts(made(reference="clean", unlike="asked")) == chosen


def test_a_random_part_follows_from_its_seed_and_holds_its_share_of_words(made):
    some, same, other = (texts(made(share=0.5, seed=seed)) for seed in (1, 1, 2))
    assert some == same != other
    words = sum(len(text.split()) for text in texts(made(), "corpus"))
    assert 0 <= sum(len(text.split()) for text in some) - 0.5 * words < 9
    assert texts(made(share=1.0)) == texts(made(), "corpus")


def test_what_is_asked_may_not_be_among_them(made):
    with pytest.raises(
        ValueError, match=r"data.part: training text 3 holds evaluation text 0 \(the old ship"
    ):
        texts(made(reference="clean", apart_from=["asked"]))
    assert len(texts(made(reference="clean", share=0.1, apart_from="asked"))) == 3


def test_a_mixture_may_be_its_source_and_it_may_be_in_a_mixture(made):
    recipe = made(source="both", reference="clean")
    recipe["data"]["both"] = {"kind": "mixture", "sources": ["corpus", "clean"]}
    recipe["data"]["all"] = {"kind": "mixture", "sources": {"part": 3, "asked": 1}}
    recipe["stages"][0]["data"] = "all"
    assert all("ship" in text for text in texts(recipe))
    assert list(open_data(loading.load(recipe), "all", "conversations"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "corpsu"}, "did you mean 'corpus'"),
        ({"reference": "claen"}, "did you mean 'clean'"),
        ({"share": 0}, "greater than 0"),
        ({"share": 1.5}, "less than or equal to 1"),
        ({"reference": "clean", "kenlm": "x.bin"}, "remove one of the two"),
        ({"reference": "clean", "seed": 3}, "no effect on how these records are chosen"),
        ({"order": 4}, "no effect on how these records are chosen"),
        ({"unlike": "asked"}, "it needs 'reference'"),
        ({"reference": "clean", "unlike": "askd"}, "did you mean 'asked'"),
        ({"reference": "clean", "normalise": "math"}, "no effect on how these records are chosen"),
        ({"source": "part"}, "contains itself: part → part"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_read(made, settings, message):
    with pytest.raises(ValueError, match=message):
        loading.load(made(**settings))


def test_a_model_that_is_not_there(made, tmp_path):
    with pytest.raises(ValueError, match=r"data.part: there is no KenLM model .*none\.bin"):
        texts(made(kenlm=str(tmp_path / "none.bin")))


def test_a_file_s_own_settings_hold_for_its_parts(made):
    recipe = loading.load(made(reference="clean"), {"data.corpus.max_length": 40})
    assert origin(recipe, "part").max_length == 40
