import pytest

from vitrail.cli.chat_lines import Command, Say, parse, picture_argument


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    for name in ("cat.png", "my cat.PNG", "it's.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plain_words_stay_as_they_are(pictures):
    assert parse("What's in  here?") == Say("What's in  here?")
    assert parse("is cats.png there, or notes.txt?") == Say("is cats.png there, or notes.txt?")
    assert parse("<image> is text") == Say("<image> is text")


@pytest.mark.parametrize("form", ["cat.png", "./cat.png", "'cat.png'", "{0}/cat.png", "file://{0}/cat.png"])
def test_a_path_becomes_a_picture(pictures, form):
    said = parse(f"what is {form.format(pictures)} about")
    assert said.text == "what is about" and said.pictures[0].name == "cat.png"


@pytest.mark.parametrize(
    "form", ["'{0}/my cat.PNG'", r"{0}/my\ cat.PNG", "file://{0}/my%20cat.PNG", '"{0}/my cat.PNG"']
)
def test_spaces_as_terminals_write_them(pictures, form):
    said = parse(f"{form.format(pictures)} what is this?")
    assert said == Say("what is this?", (pictures / "my cat.PNG",))


def test_two_pictures_and_an_apostrophe(pictures):
    said = parse("it's cat.png or it\\'s.jpg")
    assert [path.name for path in said.pictures] == ["cat.png", "it's.jpg"] and said.text == "it's or"


def test_commands(pictures):
    assert parse("/image my cat.PNG") == Command("/image", "my cat.PNG")
    assert parse("  /undo ") == Command("/undo")
    with pytest.raises(ValueError, match="did you mean /image"):
        parse("/imag x")
    assert isinstance(parse(f"{pictures}/cat.png hello"), Say)  # an absolute path is no command


def test_picture_argument(pictures):
    assert picture_argument("my cat.PNG").name == "my cat.PNG"
    assert picture_argument("'my cat.PNG'").name == "my cat.PNG"
    with pytest.raises(ValueError, match=r"no file nope\.png"):
        picture_argument("nope.png")
    with pytest.raises(ValueError, match="wants the path"):
        picture_argument("")
