"""Stages on documents whose text has pictures in it."""

import json

import pytest

from vitrail.recipes import loading
from vitrail.recipes.plan import plan
from vitrail.recipes.run import run
from vitrail.recipes.sources import open_data
from vitrail.storage.runs import RunFolder


def pages(**overrides):
    data = {"pages": {"kind": "scenes", "suite": "nano-scenes-v1", "form": "documents", "n": 12}}
    recipe = loading.plain(loading.load("nano"))
    recipe = {**recipe, "data": {**recipe["data"], **data}}
    settings = {
        "stages.tune.data": "pages",
        "stages.tune.max_steps": 2,
        "stages.tune.batch_size": 2,
        **overrides,
    }
    return loading.load(recipe, settings)


@pytest.mark.parametrize("settings", [{}, {"stages.tune.packing": 256}], ids=["rows", "packed"])
def test_a_stage_reads_pages(tmp_path, settings):
    recipe = pages(**settings, **{"model.surgeries": ["latest_picture"]})
    (stage,) = plan(recipe, measure_speed=False).stages
    assert stage.records == 12
    made = run(recipe, tmp_path / "run", report=False)
    done = json.loads((RunFolder(tmp_path / "run").stage("tune") / "done.json").read_text())
    assert done["step"] == 2 and done["tokens"] > 0
    assert made.load().model.config.vitrail["surgeries"][0]["name"] == "latest_picture"


def test_pages_are_shown_not_asked():
    source = open_data(pages(), "pages", "conversations")
    page = source[0]
    assert page.kind == "document" and 2 <= len(page.images) <= 4 and len(source) == 12
    with pytest.raises(ValueError, match=r"data\.pages: documents are for stages; ask about scenes"):
        open_data(pages(), "pages", "questions")
    with pytest.raises(ValueError, match="documents are no conversations; remove it"):
        pages(**{"data.pages.turns": [1, 2]})
    with pytest.raises(ValueError, match="only sequences have a length"):
        pages(**{"data.pages.length": 3})
