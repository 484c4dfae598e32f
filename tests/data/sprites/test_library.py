import numpy as np
import pytest

from vitrail.data.sprites import SpriteLibrary, Thing, library
from vitrail.data.sprites.library import _resized, premultiplied, straight


class Discs(SpriteLibrary):
    """Coloured discs drawn here: a library without files."""

    name, licence, credit = "discs", "none", ""

    def __init__(self, names=("red disc", "blue disc")):
        self.drawn = []
        super().__init__(tuple(Thing(name, "disc", name, plural=name + "s") for name in names))

    def draw(self, thing, side):
        self.drawn.append(thing.name)
        y, x = np.mgrid[0 : 2 * side, 0 : 3 * side]
        sprite = np.zeros((2 * side, 3 * side, 4), np.uint8)
        sprite[(x - side) ** 2 + (y - side) ** 2 < (side * 0.75) ** 2] = (200, 40, 40, 255)
        return sprite

    def content(self, thing):
        return thing.key.encode()


def test_render_crops_and_fits_the_longer_side():
    discs = Discs()
    for size in (16, 100, 300):
        sprite = discs.render("red disc", size)
        assert sprite.shape == (size, size, 4) and sprite.dtype == np.uint8
        assert (sprite[size // 2, [0, -1], 3] > 0).all()


def test_masters_are_kept_and_bounded():
    discs = Discs()
    discs.masters_kept = 1
    for name in ("red disc", "red disc", "blue disc", "red disc"):
        discs.render(name, 32)
    assert discs.drawn == ["red disc", "blue disc", "red disc"]


def test_premultiplied_and_back():
    rng = np.random.default_rng(0)
    sprite = rng.integers(0, 256, (40, 40, 4), dtype=np.uint8)
    sprite[..., 3] = rng.choice([0, 128, 255], (40, 40))
    multiplied = premultiplied(sprite)
    assert (multiplied[..., :3] <= multiplied[..., 3:]).all()
    exact = sprite[..., :3] * (sprite[..., 3:] / 255)
    assert np.abs(multiplied[..., :3] - exact).max() <= 0.5
    back = straight(multiplied)
    seen = sprite[..., 3] > 0
    assert np.abs(back[seen].astype(int) - sprite[seen]).max() <= 1
    assert np.array_equal(back[sprite[..., 3] == 255], sprite[sprite[..., 3] == 255])


def test_edges_of_sprites_are_not_darkened_by_what_is_transparent():
    sprite = Discs().render("red disc", 50)
    assert (np.abs(sprite[sprite[..., 3] > 60][:, :3].astype(int) - (200, 40, 40)) <= 3).all()


def test_things_are_mapped_by_name():
    discs = Discs()
    assert discs.names == ("red disc", "blue disc") and discs.kinds == {"disc": discs.names}
    assert "red disc" in discs and len(discs) == 2
    with pytest.raises(KeyError, match="did you mean 'red disc'"):
        discs["redd disc"]
    with pytest.raises(ValueError, match="'a' names two sprites"):
        Discs(("a", "b", "a"))


def test_fingerprint_follows_names_and_pictures():
    assert Discs().fingerprint == Discs().fingerprint
    assert Discs(("red disc",)).fingerprint != Discs(("blue disc",)).fingerprint
    assert Discs().fingerprint_of(["red disc"]) == Discs(("red disc",)).fingerprint


def test_phrases():
    assert Thing("ant", "bug", "").phrase == "an ant"
    assert Thing("grapes", "fruit", "", number="several").phrase == "grapes"
    assert Thing("butter", "food", "", number="mass").phrase == "butter"


def test_unknown_library_and_size():
    with pytest.raises(ValueError, match="no sprites are called 'nothing'"):
        library("nothing")
    with pytest.raises(ValueError, match="size is 0"):
        Discs().render("red disc", 0)


@pytest.mark.parametrize("side", [3, 7, 16, 29, 100])
def test_resizing_takes_the_mean_of_what_a_pixel_covers(side):
    rng = np.random.default_rng(side)
    sprite = rng.integers(0, 256, (16, 9, 4), dtype=np.uint8)
    found = _resized(sprite, side)
    rows, cols = found.shape[:2]
    assert rows == side and abs(cols - side * 9 / 16) <= 0.5
    # Slow and plain: enlarge so that both grids fall on whole pixels, then average blocks.
    fine = sprite.repeat(rows, axis=0).repeat(cols, axis=1)
    blocks = fine.reshape(rows, 16, cols, 9, 4).astype(np.int64).sum(axis=(1, 3))
    assert np.array_equal(found, (blocks + 72) // 144)


def test_a_picture_is_drawn_once_on_a_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path))
    monkeypatch.setattr(Discs, "drawn_by", "discs 1")
    first, second = Discs(), Discs()
    assert np.array_equal(first.render("red disc", 50), second.render("red disc", 50))
    assert (first.drawn, second.drawn) == (["red disc"], [])
    monkeypatch.setattr(Discs, "drawn_by", "discs 2")
    second = Discs()
    second.render("red disc", 50)
    assert second.drawn == ["red disc"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(Discs, "drawn_by", "discs 1")
    assert Discs().render("red disc", 50).shape == (50, 50, 4)
