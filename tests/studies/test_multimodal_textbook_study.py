"""The study of pages: arms read equal texts and pictures for equal steps."""

from vitrail.studies import multimodal_textbook
from vitrail.studies.declaring import study


def test_method_and_control_differ_in_the_places_of_pictures_alone():
    design = study("multimodal_textbook").design("nano")
    control, method = design.control.recipe, design.methods[0].recipe
    assert control["stages"] == method["stages"] and len(method["stages"]) == 3
    assert control["data"]["pages"] == {**method["data"]["pages"], "shuffled": 1.0}
    assert method["data"]["pages"]["shuffled"] == 0.0
    assert {**control["data"], "pages": None} == {**method["data"], "pages": None}
    assert method["stages"][1]["max_steps"] * 8 == multimodal_textbook.PAGES
    assert len(design.context[1].recipe["stages"]) == 2
