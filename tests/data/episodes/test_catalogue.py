"""Classes of labelled pictures: folders, files, cut-outs; who is like whom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from official_files import write_picture
from vitrail.data.episodes.catalogue import Catalogue, open_catalogue, suite_catalogue
from vitrail.data.episodes.neighbours import class_features, neighbour_index
from vitrail.data.scenes import suite


def folders(root, names=("bee", "tree_frog", "sea lion"), count=3):
    for number, name in enumerate(names):
        for place in range(count):
            write_picture(root / name / f"{place}.png", 10 * number + place)
    return root


def test_a_folder_of_class_folders(tmp_path):
    found = open_catalogue(folders(tmp_path / "mine"))
    assert [one.name for one in found] == ["bee", "sea lion", "tree frog"]
    assert found[2].pictures[0].open(found.root).size == (32, 32)
    before = found.fingerprint
    write_picture(tmp_path / "mine" / "bee" / "9.png", 9)
    assert open_catalogue(tmp_path / "mine").fingerprint != before
    with pytest.raises(ValueError, match="there is no folder or file"):
        open_catalogue(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no class with pictures"):
        open_catalogue(tmp_path / "empty")


def test_the_published_file(tmp_path):
    folders(tmp_path)
    rows = [
        {
            "class_id": f"n{place}",
            "class_name": f"{name}, Latin {name}",
            "samples": [f"{name}/{number}.png" for number in range(3)],
            "neighbors": [[f"n{(place + 1) % 3}", "x", "x/0.png"], ["n77", "far", "far/0.png"]],
        }
        for place, name in enumerate(("bee", "tree_frog", "sea lion"))
    ]
    lines = [json.dumps(row) for row in rows]
    lines += ['{"class_id": "n9", "class_name": " ", "samples": []}', "{", '{"class_id": "n8"}']
    path = tmp_path / "train900_pairs.jsonl"
    path.write_text("\n".join(lines))
    found = open_catalogue(path)
    assert [one.name for one in found] == ["bee", "tree_frog", "sea lion"]
    assert found[0].neighbours == ("n1", "n77") and found[0].pictures[2].open(found.root).size == (32, 32)
    reasons = [str(row) for row in found.set_aside.rows]
    assert "line 4, class_name: is empty" in reasons[0] and "is not JSON" in reasons[1]
    assert "line 6, label: is missing" in reasons[2] and found.set_aside.used == 3


def test_rows_of_one_picture_each(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"image": f"{label}{n}.png", "label": label} for n in range(2) for label in ("a", "b")]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = open_catalogue(path, root=tmp_path / "pictures")
    assert [len(one.pictures) for one in found] == [2, 2] and found.root == tmp_path / "pictures"
    assert found.part([1], "held out").names == {"b"}
    with pytest.raises(ValueError, match="two classes of the id 'a'"):
        Catalogue("twice", [found[0], found[0]], "x")


def test_cut_outs_depend_on_fold_seed_and_number():
    scenes = suite("nano-scenes-v1")
    found = suite_catalogue(scenes, seed=1, per_class=5, side=48)
    assert len(found) == 32 and len(found[0].pictures) == 5
    picture = found[0].pictures[3]
    assert (picture.width, picture.height) == (48, 48)
    assert picture == suite_catalogue(scenes, seed=1, per_class=9, side=48)[0].pictures[3]
    assert picture != suite_catalogue(scenes, seed=2, per_class=5, side=48)[0].pictures[3]
    assert picture != found[0].pictures[2]
    with pytest.raises(ValueError, match="not for training"):
        suite_catalogue(scenes, "held-out")
    with pytest.raises(ValueError, match="per_class is 0"):
        suite_catalogue(scenes, per_class=0)


def test_neighbours_are_those_of_the_highest_cosine():
    angles = np.radians([0, 10, 90, 100, 180])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [5], [2], [1], [3]]
    found = neighbour_index(features)
    assert found.shape == (5, 4) and found[0].tolist() == [1, 2, 3, 4] and found[2].tolist() == [3, 1, 0, 4]
    assert neighbour_index(features, most=1).tolist() == [[1], [0], [3], [2], [3]]
    with pytest.raises(ValueError, match="class 1 has features of length 0"):
        neighbour_index(np.array([[1.0, 0], [0, 0]]))
    with pytest.raises(ValueError, match="neighbours need 2"):
        neighbour_index(np.ones((1, 2)))


def test_features_are_the_mean_over_a_class_in_batches(tmp_path):
    found = open_catalogue(folders(tmp_path))
    seen = []

    def embed(pictures):
        seen.append(len(pictures))
        return np.stack([np.asarray(one, float).mean((0, 1)) for one in pictures])

    features = class_features(found, embed, each=2, batch=4)
    assert seen == [4, 2] and features.shape == (3, 3)
    own = [np.asarray(one.open(found.root), float).mean((0, 1)) for one in found[1].pictures[:2]]
    np.testing.assert_allclose(features[1], np.mean(own, axis=0))
