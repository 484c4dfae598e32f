"""Numbered lists of questions, whole and malformed."""

import pytest

from vitrail.curation.written_questions import parse_numbered_qa, parse_numbered_questions

ONE = "1. Question: How many?\nAnswer: 3 + 4 = 7\n#### 7"


def test_none_one_and_several():
    assert parse_numbered_qa("").pairs == [] and parse_numbered_qa("Sure!").rejected == {
        "no numbered question": 1
    }
    assert parse_numbered_qa(ONE).pairs == [("How many?", "3 + 4 = 7\n#### 7")]
    both = parse_numbered_qa(f"Here they are.\n{ONE}\n\n**2. Question:** Who?\n**Answer:** Ann")
    assert both.pairs[0][0] == "How many?" and len(both.pairs) == 2


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("1. Question: Who?", "no single answer"),
        ("1. Question: Who?\nAnswer: a\nAnswer: b", "no single answer"),
        ("1. Question:\nAnswer: a", "empty"),
        ("1. Question: Who?\nAnswer:  ", "empty"),
        ("1. Question: ...who?\nAnswer: a\n#### 1", "begins with no word"),
        ("1. Question: Who?\nAnswer: a", "no single ####"),
        ("1. Question: Who?\nAnswer: #### 1\n#### 2", "no single ####"),
    ],
)
def test_what_is_malformed_is_left_out_and_counted(item, reason):
    found = parse_numbered_qa(f"{ONE}\n2.{item[2:]}", marker="####")
    assert len(found.pairs) == 1 and found.rejected == {reason: 1}


def test_the_last_item_of_a_text_that_was_cut_off():
    found = parse_numbered_qa(f"{ONE}\n2. Question: Who?\nAnswer: An", finished=False)
    assert len(found.pairs) == 1 and found.rejected == {"cut off": 1}


def test_other_scripts_are_words_unless_the_authors_rule_is_asked_for():
    text = "1. Question: ¿Cuántos? Éste\nAnswer: 3\n2. Question: Сколько?\nAnswer: 3"
    assert [one[0] for one in parse_numbered_qa(text).pairs] == ["¿Cuántos? Éste", "Сколько?"]
    assert parse_numbered_qa(text, ascii_only=True).rejected == {"begins with no word": 1}


def test_questions_without_answers():
    text = "Here.\n1. Question: Who?\n2. Question: Which one?\nAnswer: Ann\n3. Question:\n"
    text += "4. Question: ...\n5. Question: Wh"
    found = parse_numbered_questions(text, finished=False)
    assert found.pairs == [("Who?", ""), ("Which one?", "")]
    assert found.rejected == {"cut off": 1, "empty": 1, "begins with no word": 1}
    assert parse_numbered_questions("No.").rejected == {"no numbered question": 1}
