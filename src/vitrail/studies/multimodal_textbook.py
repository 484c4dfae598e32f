"""Does it matter that pictures stand where their texts are? (Multimodal Textbook, arXiv 2501.00958)

``vitrail study multimodal_textbook --testbed nano``: about two minutes a cell on one core (an estimate). Expected:
above zero. Between the house's two stages comes one on pages of two to four pictures, each before its caption, as the
paper puts its textbook between alignment and use. The control reads the same pages with the pictures of every page
changing places among each other: equal pictures, equal texts, equal steps. This is the paper's own shuffling test.

The effect is the difference in accuracy on questions about single scenes. δ = 0.01. Context: half of the pages
shuffled, and no pages at all. It tests the tie of picture and text inside a page; the paper's gains over web pages,
few-shot answers and videos are a capability at scale and no part of it.
"""

from __future__ import annotations

from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house

PAGES, STEPS = 1600, 200


def pages() -> dict[str, Any]:
    """The recipe of the method: the house's, with a stage on pages between its two."""
    base = house()
    align, tune = base["stages"]
    scenes = base["data"]["scenes"]
    written = {"kind": "scenes", "suite": scenes["suite"], "form": "documents", "shuffled": 0.0, "n": PAGES}
    stage = {
        "name": "pages",
        "data": "pages",
        "trains": ["connector", "language"],
        "learning_rate": 2e-3,
        "warmup": 0.03,
        "batch_size": 8,
        "max_steps": STEPS,
    }
    data = {**base["data"], "pages": written, "scenes": {**scenes, "n": 400}}
    return plain(load({**base, "name": "house-nano-pages", "data": data, "stages": [align, stage, tune]}))


def nano() -> Design:
    """Pages as they are against pages whose pictures changed places."""
    base = pages()

    def arm(name: str, about: str, change: dict[str, Any]) -> Arm:
        return Arm(name, changed(base, {"set": change}, name), about)

    without = {**base, "stages": [base["stages"][0], base["stages"][2]]}
    without["data"] = {name: one for name, one in base["data"].items() if name != "pages"}
    return Design(
        name="pages in order against pages whose pictures changed places",
        control=arm(
            "shuffled pages", "The pictures of every page change places.", {"data.pages.shuffled": 1.0}
        ),
        methods=(arm("pages in order", "Each picture before its caption.", {}),),
        context=(
            arm("half of them shuffled", "The pictures of half of the pages.", {"data.pages.shuffled": 0.5}),
            Arm("no pages", changed(without, {"set": {}}, "no pages"), "The house's two stages alone."),
        ),
        evaluation=EVALUATION,
        delta=0.01,
        most=16,
        same_data=False,
    )


STUDY = Study(
    paper="multimodal_textbook",
    claim="At equal pictures, texts and steps, pretraining on pages whose pictures stand where their texts are ends "
    "with more right answers about pictures than on pages whose pictures changed places.",
    published="LLaVA-1.5-7B averages 31.1 at one shot after textbook pages, against 22.8 with OBELICS; shuffled "
    "pictures cost textbook pages more than web pages (figures of the shuffling not verified)",
    kind="superiority",
    delta=0.01,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)
