"""Rules made objective and taken apart by a scripted language model; JSON in its replies; nothing asked twice."""

import json

import pytest

from conftest import chat
from vitrail.inference.answerers import FunctionAnswerer, KeptAnswerer, question
from vitrail.inference.constitution import Constitution, Rule
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.json_replies import json_object
from vitrail.inference.rule_writing import extract_preconditions, objectify, prepare, rate


class Script:
    """Rates wordings by a table, rewords in turn, and divides."""

    def __init__(self, ratings, wordings=()):
        self.ratings, self.wordings, self.asked = ratings, list(wordings), []

    def __call__(self, given):
        text = given.messages[-1].text
        self.asked.append(text)
        if "impartial judge" in text:
            return f"It depends. Rating: [[{self.ratings[text.rsplit('Rule: ', 1)[1]]}]]"
        if "rated higher" in text:
            return f"Here you are:\n```json\n{json.dumps({'rule': self.wordings.pop(0)})}\n```"
        if "take a safety rule apart" in text.lower():
            return '{"clauses": [["a leg is visible"], ["it is bent"]]}'
        return json.dumps({"words": [text.rsplit("Statement: ", 1)[1].split()[-1]]})


def llm(script):
    return FunctionAnswerer(script, "script")


def test_a_rule_is_reworded_until_it_is_objective_enough():
    script = Script(
        {"suggestive legs": 6, "legs apart": 8, "angle over 90 degrees": 9},
        ["legs apart", "angle over 90 degrees"],
    )
    found = objectify(Rule(id="legs", text="suggestive legs", clauses=(("old",),)), llm(script))
    assert (found.text, found.objectiveness, found.original) == (
        "angle over 90 degrees",
        9,
        "suggestive legs",
    )
    assert found.clauses == ()  # they belonged to the old wording
    last = [text for text in script.asked if "rated higher" in text][-1]
    assert last.index("suggestive legs (rated 6)") < last.index("legs apart (rated 8)")


def test_an_objective_rule_keeps_its_wording_and_clauses():
    script = Script({"no dogs": 10})
    found = objectify(Rule(id="d", text="no dogs", clauses=(("a dog",),)), llm(script))
    assert found.text == "no dogs" and found.clauses == (("a dog",),) and found.original is None
    assert len(script.asked) == 1 and found.explanation.startswith("It depends")


def test_the_cap_ends_it_with_the_best_wording():
    script = Script({"a": 3, "b": 5, "c": 4}, ["b", "c"])
    with pytest.warns(UserWarning, match="rated 5 after 2 rounds, below 9; reword it by hand"):
        found = objectify(Rule(id="r", text="a"), llm(script), max_rounds=2)
    assert (found.text, found.objectiveness) == ("b", 5)


def test_preconditions_and_central_words():
    script = Script({"x": 10})
    found = extract_preconditions(Rule(id="r", text="x"), llm(script))
    assert found.clauses == (("a leg is visible",), ("it is bent",))
    assert found.central_words == {"a leg is visible": ("visible",), "it is bent": ("bent",)}
    again = extract_preconditions(found, llm(script))
    assert again == found and len(script.asked) == 3  # one rule, two conditions
    whole = prepare(
        Constitution(rules=(Rule(id="r", text="x"), found.model_copy(update={"id": "s"}))), llm(script)
    )
    whole.require_divided()


def test_replies_that_cannot_be_read_end_in_a_sentence():
    tries = []
    silent = FunctionAnswerer(lambda given: tries.append(given) or "no idea", "silent")
    with pytest.raises(ValueError, match=r"silent wrote no rating '\[\[1\]\]' to '\[\[10\]\]' in 3 tries"):
        rate("x", silent)
    assert len(tries) == 3
    with pytest.raises(ValueError, match="threshold is 11"):
        objectify(Rule(id="r", text="x"), silent, threshold=11)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": {"b": 2}}\n```', {"a": {"b": 2}}),
        ('Sure! {"a": "}"} Hope it helps {', {"a": "}"}),
        ('{"a": 1} and again {"a": 1}', {"a": 1}),
        ('{"a": 1} or {"a": 2}', None),
        ("{'a': 1}", None),
        ('{"a": 1,}', None),
        ("Yes", None),
        ("", None),
    ],
)
def test_json_in_words(text, found):
    assert json_object(text) == found


def test_kept_answers_are_asked_once(tmp_path):
    asked = []
    inner = FunctionAnswerer(lambda given: asked.append(given) or str(len(asked)), "inner")
    kept = KeptAnswerer(inner, tmp_path)
    chats = [question("a"), question("b"), chat("a", seed=1), chat("a", seed=2)]
    first = [one.text for one in kept.ask(chats)]
    assert first == ["1", "2", "3", "4"]
    assert [one.text for one in KeptAnswerer(inner, tmp_path).ask(chats[::-1])] == first[::-1]
    kept.ask([question("a")], GenerationSettings(max_new_tokens=9))
    assert len(asked) == 5
