"""ISEKAI, ImageNet-100 in pairs, and composed episodes: official layouts, strict scores, the shot curve."""

from __future__ import annotations

import json

import pytest

from official_files import write_picture
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.benchmarks.link_context import ImageNet100Pairs, Isekai
from vitrail.evaluation.benchmarks.offline_episodes import OfflineEpisodes
from vitrail.evaluation.figures import with_baselines
from vitrail.evaluation.two_way import TwoWay, shot_curve, two_way_accuracy, two_way_figures


def isekai(root, **changes):
    for kind in ("octo", "mush"):
        for number in range(4):
            write_picture(root / "ISEKAI-10" / kind / f"{number}.png", number)
    rows = [
        {
            "image_name": f"octo/{number}.png",
            "positive_list": [f"octo/{place}.png" for place in range(4)],
            "negative_list": [f"mush/{place}.png" for place in range(4)],
            "positive_promt": "octo vacuum",
            "negative_promt": "mushroom lamp",
            "label_name": "octo vacuum",
        }
        for number in range(3)
    ]
    rows[1] |= changes
    (root / "isekai10_pos.json").write_text("\n".join(map(json.dumps, rows)))
    return root


def test_isekai_is_read_and_asked(tmp_path):
    config = Isekai.Config(path=str(isekai(tmp_path)), images="ISEKAI-10", shots=[0, 2])
    source = Isekai(config).source()
    assert len(source) == 6
    direct, shots = source[0], source[1]
    assert len(direct.images) == 1 and [one.role for one in direct.messages] == ["user"]
    assert [one.role for one in shots.messages] == ["system", *["user", "assistant"] * 4, "user"]
    paths = [image.path for image in shots.images]
    assert len(set(paths)) == 5 and paths[-1] == "ISEKAI-10/octo/0.png"
    assert all(picture.open(source.root).size == (32, 32) for picture in shots.images)
    said = [one.text for one in shots.messages if one.role == "assistant"]
    assert sorted(said)[0] == 'there is "mushroom lamp" in the image. [END EXAMPLE]' and len(set(said)) == 2
    assert shots.messages[-1].text.startswith("[FINAL QUESTION]: ")
    assert shots.meta["groups"] | {"first": 0} == {
        "k": 2, "positive": "octo vacuum", "negative": "mushroom lamp", "first": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"negative_promt": "Octo vacuum"}, "the positive name as well"),
        ({"label_name": "cat"}, "neither 'octo vacuum' nor 'mushroom lamp'"),
        ({"positive_promt": ""}, "positive_promt: is missing"),
        ({"negative_list": ["mush/0.png"]}, "1 examples of 'mushroom lamp' are fewer than 2 shots"),
        ({"image_name": "octo/9.png"}, "is missing (looked in"),
    ],
)
def test_broken_rows_are_named(tmp_path, changes, reason):
    config = Isekai.Config(path=str(isekai(tmp_path, **changes)), images="ISEKAI-10", shots=2)
    source = Isekai(config).source()
    assert len(source) == 2 and reason in str(source.set_aside.rows[0])


def test_a_label_that_is_the_second_name_exchanges_the_lists(tmp_path):
    config = Isekai.Config(
        path=str(isekai(tmp_path, label_name="mushroom lamp")), images="ISEKAI-10", shots=1
    )
    groups = [one.meta["groups"] for one in Isekai(config).source()]
    assert [one["positive"] for one in groups] == ["octo vacuum", "mushroom lamp", "octo vacuum"]


def imagenet(root, rows=4):
    for place in range(rows):
        for number in range(5):
            write_picture(root / "val" / f"n{place}" / f"{number}.png", number)
    lines = [
        {
            "class_id": f"n{place}",
            "class_name": f"Name{place}, other",
            "context_samples": [f"n{place}/{number}.png" for number in range(3)],
            "test_samples": [f"n{place}/{number}.png" for number in range(3, 5)],
        }
        for place in range(rows)
    ]
    (root / "test100_pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def test_imagenet_pairs(tmp_path):
    config = ImageNet100Pairs.Config(path=str(imagenet(tmp_path)), images="val", shots=2)
    source = ImageNet100Pairs(config).source()
    assert len(source) == 8
    groups = [one.meta["groups"] for one in source]
    assert [(one["positive"], one["negative"]) for one in groups[::2]] == [
        ("name0", "name1"), ("name1", "name0"), ("name2", "name3"), ("name3", "name2"),
    ]  # fmt: skip
    capped = ImageNet100Pairs.Config(path=str(tmp_path), images="val", shots=2, per_class=1)
    assert len(ImageNet100Pairs(capped).source()) == 4
    imagenet(tmp_path, rows=3)
    with pytest.raises(ValueError, match="has 3 rows; lines 2k and 2k \\+ 1 are a pair"):
        ImageNet100Pairs(config).source()


def test_strict_scoring():
    assert two_way_accuracy('There is "Octo" in the image.', "octo", "mush")
    assert not two_way_accuracy("there is octo and mush", "octo", "mush")
    assert not two_way_accuracy("a lamp", "octo", "mush")
    assert two_way_accuracy("a black cat", "black cat", "cat") and not two_way_accuracy(
        "black cat, cat", "black cat", "cat"
    )
    assert two_way_accuracy("a cat", "cat", "black cat") and not two_way_accuracy(
        "a black cat", "cat", "black cat"
    )
    with pytest.raises(ValueError, match="both names are 'octo'"):
        two_way_accuracy("octo", "octo", "Octo")
    with pytest.raises(ValueError, match="a name is empty"):
        two_way_accuracy("octo", "octo", " ")
    judge = TwoWay(TwoWay.Config()).judge
    row = {"options": ["octo", "mush"], "answer": 1, "groups": {"positive": "mush", "negative": "octo"}}
    assert judge({**row, "text": "a mush"}) == (1, True, True)
    assert judge({**row, "text": "an octo"}) == (0, False, True)
    assert judge({**row, "text": "a lamp"}) == (None, False, False)
    with pytest.raises(ValueError, match="has no two names"):
        judge({"id": "7", "text": "a"})


def rows(source, right):
    return [
        {
            "id": one.id, "kind": one.meta["kind"], "cluster": one.meta["picture"], "groups": one.meta["groups"],
            "options": [part.text for (part,) in one.choices.options], "answer": one.choices.answer,
            "correct": right(one),
        }
        for one in source
    ]  # fmt: skip


def test_figures_tell_reading_the_examples_from_position_and_from_knowledge():
    config = OfflineEpisodes.Config(n=80, suite="nano-scenes-v1", shots=(1, 2), per_class=4, side=32)
    source = OfflineEpisodes(config).source()

    def figures(right):
        found = with_baselines(OfflineEpisodes.figures, rows(source, right))
        return {one.name: one for one in found}

    oracle = figures(lambda one: True)
    assert oracle["overall"].value == oracle["both of a swapped pair"].value == 1
    assert oracle["both of a swapped pair"].random == 0.25 and oracle["1 shots"].n == 40
    first = figures(lambda one: one.meta["groups"]["first"])
    assert first["says the first example's label"].value == 1 and abs(first["overall"].value - 0.5) < 0.2
    worldly = figures(lambda one: int(one.id.rpartition("/")[2]) % 2 == 0)
    assert worldly["overall"].value == 0.5 and worldly["both of a swapped pair"].value == 0
    curve = shot_curve(
        lambda k: [row for row in rows(source, lambda one: one.meta["groups"]["k"] == 2) if row["groups"]["k"] == k],
        (1, 2),
    )  # fmt: skip
    assert [curve[k].value for k in (1, 2)] == [0.0, 1.0]


def test_a_model_is_asked_by_ranking_and_in_words(nano, tmp_path):
    settings = {"n": 4, "suite": "nano-scenes-v1", "shots": [1], "per_class": 3, "wording": "short"}
    for mode in ("ranking", "words"):
        scenario = {"name": "benchmark", "benchmark": "offline_episodes", "settings": settings}
        parts = OfflineEpisodes.parts(mode)
        if mode == "words":
            parts = {**parts, "inferencer": {"name": "generate", "max_new_tokens": 2}}
        official = score(run_task(Task(name=mode, scenario=scenario, **parts), nano, tmp_path)).official
        assert official.answered == official.rows == 4 and official.left_out == 0, official.coverage
    assert two_way_figures([])[0].value is None
