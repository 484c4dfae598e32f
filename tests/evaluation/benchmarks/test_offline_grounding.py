"""Pairs of scenes with exact boxes: the truth by itself, a perfect answerer and one that guesses, a nano model."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from vitrail import registry
from vitrail.data.scenes import suite
from vitrail.data.scenes.grounding import BOTH, FIRST, KINDS, NEITHER, PLACES, SECOND, STYLES, make_pair
from vitrail.data.scenes.wording import confusable
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.mc_bench import pair_figures
from vitrail.evaluation.box_answers import BoxAnswers, read_boxes

N = 96
SMALL = {"suite": "nano-scenes-v1", "n": N}
STYLED = ("style", "kind")


@pytest.fixture(scope="module")
def source():
    return opened()


@pytest.fixture(scope="module")
def records(source):
    return list(source)


def opened(**settings):
    benchmark = registry.get("benchmark", "offline_grounding")
    return benchmark(benchmark.Config(**{**SMALL, **settings})).source()


def rows(source, say):
    """Rows of answers; ``say`` is given the record."""
    metric, found = BoxAnswers(BoxAnswers.Config()), []
    for record in source:
        groups, kind = record.meta["groups"], record.meta["kind"]
        row = {"id": record.id, "kind": kind, "cluster": record.id, "groups": groups, "text": say(record)}
        found.append({**row, "correct": metric.judge(row).correct})
    return found


def figures(source, say):
    return {one.name: one for one in pair_figures(rows(source, say), STYLED)}


def meant(pair):
    """Names of the targets in each picture, by what the text says; apart from how pairs are made."""
    a, b = ([item.name for item in scene.objects] for scene in pair.scenes)
    kinds = [[item.kind for item in scene.objects] for scene in pair.scenes]
    if pair.kind in ("one", "two"):
        named = [part.split("the ")[1] for part in pair.text.split("; ")]
        return [[name for name in names if name in named] for names in (a, b)]
    if pair.kind == "same":
        return [[name for name in names if name in a and name in b] for names in (a, b)]
    if pair.kind == "different":
        return [[name for name in names if not (name in a and name in b)] for names in (a, b)]
    if pair.kind == "more":
        (kind,) = [one for one in {*kinds[0], *kinds[1]} if f"all {_plural(one)} of" in pair.text]
        counts = [one.count(kind) for one in kinds]
        return [
            [item.name for item in scene.objects if item.kind == kind]
            if count == max(counts) != min(counts)
            else []
            for scene, count in zip(pair.scenes, counts, strict=True)
        ]
    alone = [kind for kind, count in Counter([*kinds[0], *kinds[1]]).items() if count == 1]
    return [[item.name for item in scene.objects if item.kind in alone] for scene in pair.scenes]


def _plural(kind):
    return suite("nano-scenes-v1").pool("known").wording.kind(kind).plural


def test_the_targets_are_what_the_text_means(source):
    places = {BOTH: 0, FIRST: 0, SECOND: 0, NEITHER: 0}
    for index in range(N):
        pair = source.pair(index)
        expected = [
            (image, item.box)
            for image, (scene, names) in enumerate(zip(pair.scenes, meant(pair), strict=True))
            for item in scene.objects
            if item.name in names
        ]
        assert [(image, box) for image, box, _ in pair.targets] == expected, (pair.kind, pair.text)
        where = tuple(any(image == there for image, *_ in pair.targets) for there in (0, 1))
        assert where in PLACES[pair.kind]
        places[where] += 1
        for scene in pair.scenes:
            assert 1 <= len(scene.objects) <= 3
            things = [item.thing for item in scene.objects]
            if pair.kind != "more":
                assert not any(confusable(x, y) for n, x in enumerate(things) for y in things[:n])
    assert min(places.values()) >= N / 8
    second = [group for index in range(1, N, 6) for *_, group in source.pair(index).targets]
    assert set(second) == {1, 2}


@pytest.mark.parametrize("form", ["pixels", "unit", "thousandths"])
def test_a_perfect_answerer_is_right(form):
    whole = figures(opened(form=form, n=24), lambda one: one.messages[-1].text)
    assert {one.value for one in whole.values()} == {1}
    assert {"referring: AP50", "odd: AP50", "without a target: image-level accuracy"} <= set(whole)


def test_guessing_gets_chance(records):
    """A coin for each picture, and a box anywhere where it says yes."""
    rng = np.random.default_rng(0)

    def guess(_):
        said = []
        for image in (1, 2):
            if rng.random() < 0.5:
                x, y = rng.integers(0, 600, 2).tolist()
                said.append({"image": image, "bbox_2d": [x, y, x + 400, y + 400]})
        return json.dumps(said)

    found = figures(records, guess)
    accuracy = found["image-level accuracy"]
    assert accuracy.random == 0.25 and abs(accuracy.value - 0.25) < 4 * (0.25 * 0.75 / N) ** 0.5
    assert found["AP50"].value < 0.1
    silent = figures(records, lambda _: "[]")
    nothing = sum(not one.meta["groups"]["positive"] for one in records) / N
    assert silent["AP50"].value == 0 and silent["image-level accuracy"].value == nothing


def test_the_best_guess_without_a_look_is_the_pattern_that_is_most_frequent():
    held = 3 * [[[0, 1, 1, 5, 5, 1], [1, 1, 1, 5, 5, 1]]] + [[]]  # three of four hold a target in both
    about = {"sizes": [[64, 64], [64, 64]], "form": "pixels", "images": [0, 1]}
    made = [
        {"id": str(n), "kind": "same", "cluster": str(n), "text": "[]", "correct": False,
         "groups": {**about, "boxes": held[n // 2 % 4], "positive": bool(held[n // 2 % 4])}}
        for n in range(40)
    ]  # fmt: skip
    found = {one.name: one for one in pair_figures(made)}
    assert found["image-level accuracy"].majority == 0.75 and found["image-level accuracy"].random == 0.25
    assert found["without a target: image-level accuracy"].majority == 0


def test_what_is_wrong_costs_its_own_figure_alone(records):
    """An answerer that takes the groups of two for one, and one that misses all odd ones."""

    def merged(record):
        said = json.loads(record.messages[-1].text)
        return json.dumps([{**box, "group": 1} for box in said])

    found = figures(records, merged)
    below = {name for name, one in found.items() if one.value < 1}
    assert below == {"AP50", "referring: AP50", "two: AP50"}
    lost = figures(records, lambda one: "[]" if one.meta["kind"] == "odd" else one.messages[-1].text)
    below = {name for name, one in lost.items() if one.value < 1}
    told = ("image-level accuracy", "AP50")
    assert below == {f"{part}{name}" for part in ("", "reasoning: ", "odd: ") for name in told} | {
        "with a target: image-level accuracy"
    }


def test_items_depend_on_their_index_alone(records):
    again = opened(n=12)
    assert [one.model_dump() for one in again] == [one.model_dump() for one in records[:12]]
    assert again.fingerprint != opened(n=12, form="pixels").fingerprint
    only = opened(n=4, kinds=["odd", "same"])
    assert [one.meta["kind"] for one in only] == ["odd", "same", "odd", "same"]
    assert {STYLES[kind] for kind in KINDS} == {"referring", "comparison", "reasoning"}
    with pytest.raises(ValueError, match=r"kinds has \['none'\]; use some of one, two"):
        opened(kinds=["none"])


def answer(record):
    return record.choices.options[record.choices.answer][0].text


def test_which_pictures_and_how_many_of_them():
    words = {BOTH: "both", FIRST: "the first", SECOND: "the second", NEITHER: "neither"}
    which, many = opened(asked="pictures"), opened(asked="how many", most=2)
    for index in range(12):
        held = {image for image, *_ in which.pair(index).targets}
        assert answer(which[index]) == words[0 in held, 1 in held]
    told = Counter()
    for index in range(48):
        record, pair = many[index], many.pair(index)
        number = len({image for image, *_ in pair.targets})
        assert answer(record) == ("zero", "one", "two")[number] and record.meta["kind"] == pair.kind
        assert all(len(scene.objects) <= 2 for scene in pair.scenes)
        told[pair.kind, number] += 1
    assert {number for _, number in told} == {0, 1, 2} and {n for kind, n in told if kind == "same"} == {0, 2}


def test_halves_are_sure():
    source = opened(asked="half", n=24)
    for index in range(24):
        pair = source.pair(index)
        ((image, (x1, _, x2, _), _),) = pair.targets
        centre = (x1 + x2) / 2 / pair.scenes[image].side
        assert abs(centre - 0.5) >= 0.08 and answer(source[index]) == ("left" if centre < 0.5 else "right")
        assert source[index].meta["kind"] == f"half: {pair.kind}" and pair.kind in ("one", "odd")
    with pytest.raises(ValueError, match=r"kinds has \['same'\]; use some of half: one, half: odd"):
        opened(asked="half", kinds=["same"])


def test_parts_are_ranked_and_scored(nano, tmp_path):
    benchmark = registry.get("benchmark", "offline_grounding")
    settings = {**SMALL, "n": 6, "asked": "how many"}
    scenario = {"name": "benchmark", "benchmark": "offline_grounding", "settings": settings}
    task = Task(name="parts", scenario=scenario, **benchmark.parts("ranking"))
    official = score(run_task(task, nano, tmp_path)).official
    assert official.answered == 6
    assert [one.name for one in official.figures] == sorted(f"how many: {kind}" for kind in KINDS)


def test_a_pool_that_is_too_small_is_refused():
    scenes = suite("nano-scenes-v1")
    with pytest.raises(ValueError, match="no kind has 9 things"):
        make_pair(
            "more", FIRST, scenes.pool("known"), 64, 9, scenes.draws("grounding", "test", "known", 0, 0)
        )


def test_asked_of_a_model_and_exported_as_results(nano, tmp_path):
    benchmark = registry.get("benchmark", "offline_grounding")
    parts = {**benchmark.parts(None), "inferencer": {"name": "generate", "max_new_tokens": 4}}
    settings = {**SMALL, "n": 6, "form": "pixels"}
    scenario = {"name": "benchmark", "benchmark": "offline_grounding", "settings": settings}
    task = Task(name="pairs", scenario=scenario, **parts)
    path = run_task(task, nano, tmp_path)
    official = score(path).official
    assert official.answered == 6 and [one.name for one in official.figures[:2]] == [
        "AP50",
        "image-level accuracy",
    ]
    record = task.part("scenario").source()[0]
    assert record.messages[0].text.endswith("If there is none, answer [].")
    text = record.messages[-1].text
    (box, *_) = read_boxes(text, record.meta["groups"]["sizes"], "pixels")
    row = {"groups": record.meta["groups"], "text": text}
    (result, *_) = benchmark.submission([row])
    assert result["bbox"] == list(box.xywh) and result["image_id"] in (0, 1)
