"""The formats of other people's tools: rows as their documentation shows them → records."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.readers.examples import alpaca, captions, llava, openai, rap, sharegpt, swift, trl, vqa
from vitrail import registry
from vitrail.data.readers.formats import recognise
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import RowRules, to_record

FORMATS = (alpaca, captions, llava, openai, rap, sharegpt, swift, trl, vqa)
CASES = {name: case for form in FORMATS for name, case in form.CASES.items()}
BAD = [case for form in FORMATS for case in form.BAD]


def read(row):
    return to_record(row, Path("."), RowRules())


@pytest.mark.parametrize("name", CASES)
def test_rows_become_records(name):
    form, row, expected = CASES[name]
    assert recognise(row).name == form
    assert read(row) == expected


@pytest.mark.parametrize("row, field, words", BAD)
def test_mistakes_name_their_field(row, field, words):
    with pytest.raises(FieldError) as caught:
        read(row)
    assert caught.value.field == field and words in caught.value.reason


NAMES = [name for form in CASES.values() for name in form[1]] + [
    "kind",
    "label",
    "objects",
    "preferred_output",
]
VALUES = st.sampled_from(
    ["x", None, 1, False, [], {}, {"messages": []}, "document", [{"role": "user", "content": "<image>"}]]
    + [[{"from": "human", "value": "x"}], [{"role": "user", "content": [{"type": "image_url"}]}]]
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({*NAMES})), VALUES, max_size=6))
def test_no_row_is_in_two_formats(row):
    found = [name for name in registry.names("format") if registry.get("format", name)().recognises(row)]
    assert len(found) <= 1


def test_the_examples_of_the_documentation_are_what_they_say():
    table = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `") and line.count("|") == 4]
    examples = {cells[1].strip(" `"): json.loads(cells[3].strip(" `")) for cells in rows if "{" in cells[3]}
    assert sorted(examples) == registry.names("format")
    for name, row in examples.items():
        assert recognise(row).name == name
        assert read(row)
