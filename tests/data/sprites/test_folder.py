import numpy as np
import pytest
from PIL import Image

from vitrail.data.sprites import folder as folder_module
from vitrail.data.sprites import library


def save(path, alpha=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((30, 60, 4), np.uint8)
    picture[10:20, 10:50] = (30, 90, 220, 255)
    image = Image.fromarray(picture)
    (image if alpha else image.convert("RGB")).save(path)


def test_folder_of_kinds(tmp_path):
    save(tmp_path / "pets/Grey_Cat.png")
    save(tmp_path / "farm animals/cow.jpg", alpha=False)
    save(tmp_path / "lamp.webp")
    (tmp_path / "notes.txt").write_text("not a picture")
    found = library(str(tmp_path))
    assert {name: found[name].kind for name in found} == {
        "cow": "farm animals", "lamp": "thing", "grey cat": "pets"
    }  # fmt: skip
    assert found.render("grey cat", 40).shape == (10, 40, 4)  # cut out by its alpha
    assert found.render("cow", 40).shape == (20, 40, 4)  # whole


def test_what_cannot_be_used_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds no pictures"):
        library(str(tmp_path))
    save(tmp_path / "a/cat.png")
    save(tmp_path / "b/cat.png")
    with pytest.raises(ValueError, match="'cat' names two sprites"):
        library(str(tmp_path))
    (tmp_path / "b/cat.png").unlink()
    monkeypatch.setattr(folder_module, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="30 pixels, more than the 100"):
        library(str(tmp_path)).render("cat", 20)


def test_transparent_picture_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(tmp_path / "a/ghost.png")
    with pytest.raises(ValueError, match="'ghost' is transparent"):
        library(str(tmp_path)).render("ghost", 20)
