"""The study of relevance by rank: arms differ in which pages are read; a mock is short."""

from vitrail.recipes.loading import load
from vitrail.studies import moscar
from vitrail.studies.declaring import study


def test_arms_differ_in_the_pages_that_are_read_alone():
    design = study("moscar").design("nano")
    control, method = design.control.recipe, design.methods[0].recipe
    assert control["stages"] == method["stages"] and len(method["stages"]) == 3
    assert control["data"]["read"] == {**method["data"]["read"], "by": "random"}
    assert {**control["data"], "read": None} == {**method["data"], "read": None}
    captions = method["data"]["read"]["encoder"]["recipe"]["data"]["captions"]
    assert captions["seed"] != method["data"]["scenes"].get("seed") and captions["fold"] == "train"
    assert not design.same_data and method["data"]["read"]["n_negatives"] == 63


def test_the_mock_trains_a_short_filter_and_asks_for_few_negatives():
    mock = study("moscar").design("nano", mock=True)
    for arm in mock.arms:
        read = load(arm.recipe).data["read"]
        assert read.n_negatives < moscar.encoder()["stages"][0]["batch_size"]
        assert read.encoder.recipe["stages"][0]["max_steps"] == 2


def test_what_the_filter_found_is_counted_by_hand():
    class Page:
        def __init__(self, parts, foreign):
            self.content, self.meta = [None] * parts, {"foreign": foreign}

    pages = [Page(4, [0]), Page(4, []), Page(4, [3])]
    decisions = {0: {"texts": [1], "images": [1]}, 1: {"texts": [0], "images": [0, 1]}}
    # Gone: both parts of the first pair (right), one caption (wrong). Lone: those two, and the last page's last pair.
    assert moscar.figures(pages, decisions) == {"precision": 2 / 3, "recall": 0.5, "removed": 3 / 12}
