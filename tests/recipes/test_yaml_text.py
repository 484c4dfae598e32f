import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.recipes import yaml_text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("5E3", 5000.0), ("010", 10), ("0x1F", 31), ("no", "no"), ("on", "on"), ("true", True),
     ("~", None), ("", None), ("2024-01-01", "2024-01-01"), (".5", 0.5), ("1_000", 1000), ("1.", 1.0),
     ("12:30", "12:30"), ("-3", -3), ("[1, a]", [1, "a"]), ("{r: 8}", {"r": 8}), ("'1'", "1")],
)  # fmt: skip
def test_scalars_are_yaml_1_2(text, value):
    got = yaml_text.scalar(text)
    assert got == value and type(got) is type(value)


def test_lines_of_values():
    parsed = yaml_text.parse("a: 1\nb:\n  - x: 1\n    y: 2\n  - z\nc: {d: 3}\n")
    assert parsed.lines[("b",)] == 2
    assert parsed.lines[("b", 0, "y")] == 4
    assert parsed.lines[("b", 1)] == 5
    assert parsed.lines[("c", "d")] == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", r"file\.yaml:4: the key 'c' stands twice \(first on line 3\)"),
        ("a: 1\nb: [1, 2\n", r"file\.yaml:3: expected"),
        ("a: &x\n  - *x\n", r"file\.yaml:\d: an alias contains itself"),
        ("a: !!python/object/apply:os.system ['true']\n", r"file\.yaml:1: could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", r"file\.yaml:2: but found another document"),
    ],
)
def test_what_is_refused_names_the_line(text, said):
    with pytest.raises(ValueError, match=said):
        yaml_text.parse(text, "file.yaml")


def test_merge_keys_may_be_overridden():
    text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  x: 3\n"
    assert yaml_text.parse(text).value["one"] == {"x": 3, "y": 2}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None)
@given(plain)
def test_what_is_written_reads_back_equal(value):
    assert yaml_text.parse(yaml_text.dump(value)).value == value


def test_special_numbers_survive():
    assert yaml_text.scalar(yaml_text.dump(math.inf).split()[0]) == math.inf
    assert yaml_text.parse(yaml_text.dump({"x": 1e-5, "y": "1e-5"})).value == {"x": 1e-5, "y": "1e-5"}
