"""MC-Bench: the official layout, answers and results that are known, broken samples."""

from __future__ import annotations

import json

import pytest

from official_files import write_json, write_picture
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.mc_bench import MCBench, evaluate_results, pair_figures


def mc_bench(folder, n=6):
    """A sample in turn with one box, with two groups, with none; key and pair spelt as either source does."""
    images, boxes, texts = [], [], []
    for number in range(n):
        for side in (0, 1):
            name = f"COCO/{number}_{side}.jpg"
            write_picture(folder / "mc-bench_images" / name, 2 * number + side)
            pair = "inter_img_id" if number % 2 else "pair_image_id"
            images.append(
                {
                    "id": 2 * number + side,
                    "text_id": number,
                    "file_name": name,
                    "height": 32,
                    "width": 32,
                    pair: 2 * number + 1 - side,
                }
            )
        groups = {0: [(0, 1)], 1: [(0, 1), (1, 2), (0, 2)], 2: []}[number % 3]
        for side, group in groups:
            boxes.append(
                {
                    "id": len(boxes),
                    "image_id": 2 * number + side,
                    "text_id": number,
                    "area": 80,
                    "iscrowd": 0,
                    "bbox": [2 + 12 * (group - 1), 3, 8, 10],
                    "category_id" if number % 2 else "catgory_id": group,
                }
            )
        texts.append(
            {
                "id": number,
                "images_id": [2 * number, 2 * number + 1],
                "text": "the {odd} one",
                "positive_sample": bool(groups),
                "text_style": ("referring", "comparison")[number % 2],
            }
        )
    whole = {
        "info": {},
        "images": images,
        "annotations": boxes,
        "descriptions": texts,
        "categories": [{"id": 1, "name": "group 1"}, {"id": 2, "name": "group 2"}],
    }
    write_json(folder / "mc-bench_v0.2_val.json", whole)
    return folder, whole


def opened(folder, **settings):
    return MCBench(MCBench.Config(path=str(folder), **settings)).source()


def rows(source, say):
    made = []
    for one in source.questions:
        row = {
            "id": one.id,
            "kind": one.kind,
            "cluster": one.cluster,
            "groups": dict(one.groups),
            "text": say(one),
        }
        made.append({**row, "correct": _judge(row).correct})
    return made


def _judge(row):
    from vitrail.evaluation.box_answers import BoxAnswers

    return BoxAnswers(BoxAnswers.Config()).judge(row)


def test_right_answers_and_silence(tmp_path):
    source = opened(mc_bench(tmp_path)[0])
    assert len(source) == 6 and not source.set_aside.rows
    best = {one.name: one.value for one in pair_figures(rows(source, lambda one: one.reference))}
    assert best["AP50"] == best["image-level accuracy"] == best["comparison: AP50"] == 1
    silent = {one.name: one.value for one in pair_figures(rows(source, lambda one: "[]"))}
    assert silent["AP50"] == 0 and silent["image-level accuracy"] == 2 / 6
    assert silent["without a target: image-level accuracy"] == 1
    assert not _judge({**rows(source, lambda one: "?")[2]}).correct, "what cannot be read is no empty answer"


def test_a_result_list_of_another_tool(tmp_path):
    folder, whole = mc_bench(tmp_path)
    file = folder / "mc-bench_v0.2_val.json"
    results = list(MCBench.submission(rows(opened(folder, form="pixels"), lambda one: one.reference)))
    found = evaluate_results(file, results)
    assert found["AP50"] == found["accuracy"] == found["referring: accuracy"] == 1
    swapped = [{**one, "category_id": 3 - one["category_id"]} for one in results]
    multi = [one for one in swapped if whole["images"][one["image_id"]]["text_id"] % 3 == 1]
    single = [one for one in results if whole["images"][one["image_id"]]["text_id"] % 3 != 1]
    assert evaluate_results(file, multi + single)["AP50"] == 1
    assert evaluate_results(file, []) == {**evaluate_results(file, []), "AP50": 0, "accuracy": 2 / 6}
    with pytest.raises(ValueError, match="image_id 99"):
        evaluate_results(file, [{**results[0], "image_id": 99}])
    with pytest.raises(ValueError, match="not corners"):
        evaluate_results(file, [{**one, "bbox": [20, 20, 28, 30]} for one in results])


def test_asked_of_a_model(nano, tmp_path):
    folder, _ = mc_bench(tmp_path / "data", 3)
    parts = {**MCBench.parts(None), "inferencer": {"name": "generate", "max_new_tokens": 4}}
    scenario = {"name": "benchmark", "benchmark": "mc_bench", "path": str(folder)}
    task = Task(name="mc", scenario=scenario, **parts)
    found = score(run_task(task, nano, tmp_path))
    assert found.official.answered == 3 and found.official.figures[0].name == "AP50"
    record = task.part("scenario").source()[0]
    assert len(record.messages[0].content) == 3 and record.messages[0].text.startswith(
        "the {odd} one\nLocate"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w["descriptions"][0].update(images_id=[0]), "a sample has two images"),
        (lambda w: w["descriptions"][0].update(images_id=[0, 99]), "names image 99"),
        (lambda w: w["descriptions"][0].update(images_id=[0, 3]), "do not stand one behind the other"),
        (lambda w: w["images"][0].update(width=0), "width: of image 0 is 0"),
        (lambda w: w["images"][0].update(pair_image_id=5), "but its pair is 1"),
        (lambda w: w["annotations"][0].update(bbox=[20, 3, 20, 10]), "does not lie in image 0"),
        (lambda w: w["annotations"][0].update(catgory_id=7), "the groups are [1, 2]"),
        (lambda w: w["descriptions"][0].update(positive_sample=False), "but there are 1 boxes"),
    ],
)
def test_broken_samples_are_named(tmp_path, change, words):
    folder, whole = mc_bench(tmp_path)
    change(whole)
    write_json(folder / "mc-bench_v0.2_val.json", whole)
    source = opened(folder)
    assert len(source) == 5 and words in str(source.set_aside.rows[0])


def test_a_folder_without_files(tmp_path):
    with pytest.raises(ValueError, match="holds no mc-bench"):
        opened(tmp_path)
    (tmp_path / "mc-bench_v0.2_val.json").write_text(json.dumps([]))
    with pytest.raises(ValueError, match="no annotation file"):
        opened(tmp_path)
