"""The study of S²: arms differ in the scales alone, and small things are told from large ones."""

import json

import pytest
import torch

from vitrail.data.scenes import suite
from vitrail.models.testbeds.nano_pretrained import load_tower
from vitrail.models.towers.s2 import S2Tower
from vitrail.papers import paper
from vitrail.recipes import assembly
from vitrail.recipes.loading import load
from vitrail.recipes.sources import open_data
from vitrail.storage.runs import RunFolder
from vitrail.studies import s2
from vitrail.studies.declaring import study
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.setting_up import TUNING_DRAW, cell


@pytest.fixture(scope="module")
def design():
    return study("s2").design("nano")


@pytest.fixture(scope="module")
def built(design):
    return {arm.name: assembly.build(load(arm.recipe).model, seed=0) for arm in design.arms}


def connector_shapes(bundle):
    return {name: tuple(value.shape) for name, value in bundle.model.connector.state_dict().items()}


def test_arms_differ_in_the_scales_alone(design):
    def without(arm):
        return {**arm.recipe, "model": {**arm.recipe["model"], "surgeries": []}}

    scales = {arm.name: [one["scales"] for one in arm.recipe["model"]["surgeries"]] for arm in design.arms}
    assert scales == {
        "scale 1 twice": [[1.0, 1.0]],
        "scales 1 and 2": [[1.0, 2.0]],
        "house MLP": [],
        "as published": [[1.0, 2.0]],
    }
    assert all(without(arm) == without(design.control) for arm in design.arms)
    assert {arm.probe for arm in design.arms} == {s2.PROBE} and len(design.methods) == 1
    # The house control, but for the pictures and what is asked about them.
    asked = {**house()["data"][EVALUATION], "suite": s2.SUITE, "kinds": [*s2.KINDS]}
    base = load(
        {**house(), "data": {"scenes": {**house()["data"]["scenes"], "suite": s2.SUITE}, EVALUATION: asked}}
    )
    own = load(design.context[0].recipe)
    assert (own.data, own.stages, own.model) == (base.data, base.stages, base.model)


def test_method_and_control_have_the_same_connector_and_as_many_tokens(built):
    control, method, house_mlp = (built[name] for name in ("scale 1 twice", "scales 1 and 2", "house MLP"))
    assert connector_shapes(control) == connector_shapes(method) != connector_shapes(house_mlp)
    chat = suite(s2.SUITE).questions("development", "known", 0, 1)[0]
    lengths = {name: bundle.encoder.encode(chat).length for name, bundle in built.items()}
    assert len(set(lengths.values())) == 1
    # Drawn with one seed, so that pairs begin alike.
    for name, value in control.model.connector.state_dict().items():
        assert torch.equal(value, method.model.connector.state_dict()[name]), name
    assert [built[name].model.tower.image_size for name in ("scale 1 twice", "scales 1 and 2")] == [64, 128]


def test_the_control_sees_nothing_that_the_method_does_not():
    """Its channels are one scale twice, and the method's first half, up to the rounding of a reduction."""
    questions = suite(s2.SUITE).questions("development", "known", 0, 4)
    pictures = [questions[index].images[0].open() for index in range(4)]

    def tokens(**settings):
        tower = S2Tower.around(load_tower(), "convolutional", **settings).eval()
        pixels = tower.image_processor()(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            return tower(pixels).tokens

    def apart(found):
        return float((found[:, :128] - control[:, :128]).norm() / control[:, :128].norm())

    control = tokens(scales=(1, 1))
    assert torch.equal(control[:, :128], control[:, 128:])
    method = tokens(scales=(1, 2), antialias=True)
    assert method.shape == control.shape and apart(method) < 0.01
    assert apart(tokens(scales=(1, 2))) > 0.03  # as published: another reduction
    assert float((method[:, 128:] - control[:, 128:]).norm() / control[:, 128:].norm()) > 0.3


def test_it_tunes_on_the_development_fold_and_asks_what_the_testbed_can_answer(design):
    for fold in ("development", "test"):
        made = cell(design.control, "pair", evaluation=EVALUATION, draw=TUNING_DRAW, fold=fold)
        recipe = load(made.recipe)
        source = open_data(recipe, "asked", "questions")
        assert (source.fold, source.seed, len(source)) == (fold, TUNING_DRAW, 480)
        assert source.suite.name == s2.SUITE and source.kinds == s2.KINDS
        assert open_data(recipe, "scenes", "conversations").fold == "train"


def test_questions_are_told_apart_by_the_size_of_what_they_are_about(design):
    source = suite(s2.SUITE).questions("development", "known", 5, 90, kinds=s2.KINDS)
    counts = dict.fromkeys(s2.BINS, 0)
    for index in range(len(source)):
        scene, question = source.scene(index), source.question(index)
        x1, y1, x2, y2 = scene.objects[question.about[0]].box
        pixels = s2.longer_side(source[index].meta)
        assert pixels == max(x2 - x1, y2 - y1)
        low, high = s2.BINS[s2.bin_of(pixels)]
        assert low <= pixels < high
        counts[s2.bin_of(pixels)] += 1
    assert all(count > 9 for count in counts.values()), counts
    assert [s2.bin_of(pixels) for pixels in (8, 19, 20, 27, 28, 128)] == [
        "small", "small", "medium", "medium", "large", "large"
    ]  # fmt: skip


def test_the_probe_counts_what_was_answered(design, tmp_path):
    made = cell(design.control, "pair", evaluation=EVALUATION, draw=7, fold="development", questions=12)
    source = open_data(load(made.recipe), "asked", "questions")
    run = RunFolder(tmp_path)
    run.recipe_path.write_text(json.dumps(made.recipe))
    folder = run.evaluation(EVALUATION)
    folder.mkdir(parents=True)
    bins = [s2.bin_of(s2.longer_side(source[index].meta)) for index in range(12)]
    rows = [{"key": "header", "type": "header", "version": 1, "rows": 12}]
    for index in reversed(range(12)):  # whatever their order in the file
        rows.append(
            {"key": index, "type": "answer", "row": index, "correct": bins[index] == "large" or index == 0}
        )
    (folder / "trained.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = s2.sizes(run, None)
    for name in s2.BINS:
        right = [name == "large" or index == 0 for index in range(12) if bins[index] == name]
        assert found[f"{name}, asked"] == len(right)
        assert found[f"{name}, share right"] == pytest.approx(sum(right) / len(right) if right else 0.0)


def test_the_catalogue_names_the_study():
    entry = paper("s2")
    assert {"src/vitrail/studies/s2.py", "tests/studies/test_s2_study.py"} <= set(entry.files)
    assert entry.method is not None and entry.control is not None
