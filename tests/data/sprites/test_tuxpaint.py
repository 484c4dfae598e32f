import numpy as np
import pytest
from PIL import Image

from vitrail.data.sprites.tuxpaint import FOLDER, TuxPaint, captions


def stamp(path, caption, shade=(200, 60, 60, 255)):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((40, 50, 4), np.uint8)
    picture[5:35, 5:45] = shade
    Image.fromarray(picture).save(path)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")


@pytest.fixture
def stamps(tmp_path):
    stamp(tmp_path / "animals/mammals/cow.png", "A cow.\nde.utf8=Eine Kuh.\nes.utf8=Una vaca.\n")
    stamp(tmp_path / "animals/mammals/cartoon/cow.png", "A cow.\n", (0, 200, 0, 255))
    stamp(tmp_path / "animals/mammals/aquatic/orca.png", "An orca.\n")
    stamp(tmp_path / "food/fruit/cherries.png", "Some cherries.\n")
    stamp(tmp_path / "food/bread.png", "Eat your bread!\n")
    stamp(tmp_path / "symbols/alphabets/a.png", "A letter.\n")
    stamp(tmp_path / "household/dishes/knife.png", "A knife.\n")
    return tmp_path


def test_names_kinds_and_numbers(stamps):
    found = TuxPaint(stamps)
    assert found.names == ("cherries", "cow", "knife", "orca")
    assert [found[name].kind for name in found] == ["fruit", "mammal", "household item", "sea creature"]
    assert found["cherries"].number == "several" and found["knife"].plural == "knives"


def test_photograph_before_cartoon_and_captions(stamps):
    found = TuxPaint(stamps)
    assert found["cow"].key == "animals/mammals/cow.png" and found.colour("cow") == "red"
    assert found.translated("cow", "de") == "Eine Kuh" and found.translated("cow", "xx") is None
    assert captions(stamps / "none.png") == {}


def test_missing_package_is_named(tmp_path):
    with pytest.raises(ValueError, match="apt-get install tuxpaint-stamps-default"):
        TuxPaint(tmp_path / "none")


@pytest.mark.debian("tuxpaint-stamps-default")
@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the Debian package tuxpaint-stamps-default")
def test_the_real_stamps():
    found = TuxPaint()
    assert len(found) > 250 and {"mammal", "bird", "fruit", "vehicle"} <= set(found.kinds)
    sprite = found.render("zebra", 100)
    assert max(sprite.shape[:2]) == 100 and 0.1 < (sprite[..., 3] > 128).mean() < 0.95
    assert found.translated("zebra", "de") == "Ein Zebra"
