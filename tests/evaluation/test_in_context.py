"""Examples stand before the question, never the question itself; none leaves the prompt as it was."""

from __future__ import annotations

import pytest

from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.in_context import InContext
from vitrail.evaluation.instructions import Template
from vitrail.evaluation.scenarios import as_item


def question(number, text=None):
    asked = chat(text or f"What is number {number}?", seed=number, id=f"q{number}")
    return asked.model_copy(update={"choices": Choices(options=("a cat", "a dog"), answer=number % 2)})


SOURCE = ListSource([question(n) for n in range(6)])
ANSWER = {"name": "template", "answer": "The answer is {option}"}


def shown(k, source=SOURCE, row=2, **settings):
    config = InContext.Config(k=k, instruction=ANSWER, **settings)
    instruction = InContext(config)
    instruction.prepare(source)
    return instruction.prompt(as_item(source[row], row, None))


def test_no_examples_is_the_plain_prompt():
    plain = Template(Template.Config(answer="The answer is {option}")).prompt(as_item(SOURCE[2], 2, None))
    assert shown(0) == plain


FIXED = {"retriever": "fixed", "ids": ("q0", "q2", "q5", "q1")}


@pytest.mark.parametrize("settings", [{"retriever": "random"}, {"retriever": "picture"}, FIXED])
def test_examples_are_others_with_their_answers(settings):
    prompt = shown(3, **settings)
    turns = prompt.chat.messages
    assert [turn.role for turn in turns] == ["user", "assistant"] * 3 + ["user"]
    assert len(prompt.chat.images) == 4 and turns[-1].text == "What is number 2?"
    for asked, said in zip(turns[0:6:2], turns[1:6:2], strict=True):
        number = int(asked.text.split()[-1].rstrip("?"))
        assert number != 2 and said.text == f"The answer is {('a cat', 'a dog')[number % 2]}"
    assert prompt.beginning == "The answer is" and prompt == shown(3, **settings)


def test_fixed_examples_keep_their_order():
    texts = [turn.text for turn in shown(2, retriever="fixed", ids=("q5", "q0")).chat.messages[0:4:2]]
    assert texts == ["What is number 5?", "What is number 0?"]


def test_the_nearest_picture_is_found():
    records = [question(n) for n in range(4)]
    twin = question(9).model_copy(update={"messages": (records[2].messages[0],), "id": "twin"})
    other = twin.messages[0].content[0], question(9, "Another question").messages[0].content[1]
    twin = twin.model_copy(update={"messages": (twin.messages[0].model_copy(update={"content": other}),)})
    prompt = shown(1, ListSource([*records, twin]), retriever="picture")
    assert prompt.chat.messages[0].text == "Another question"


def test_the_nearest_question_is_found():
    texts = [
        "Which animal is it?",
        "How many cars are there?",
        "How many buses can be seen?",
        "Is it raining?",
    ]
    prompt = shown(
        1, ListSource([question(n, text) for n, text in enumerate(texts)]), row=1, retriever="text"
    )
    assert prompt.chat.messages[0].text == "How many buses can be seen?"


def test_what_does_not_go_together_is_refused(tmp_path):
    for settings, words in (
        ({"retriever": "fixed"}, "retriever 'fixed', which needs them"),
        ({"ids": ("a",)}, "no other takes any"),
        ({"retriever": "fixed", "ids": ("q0",), "k": 2}, "k is 2, but there are 1 ids"),
        ({"instruction": "plane"}, "did you mean 'plain'"),
    ):
        with pytest.raises(ValueError, match=words):
            InContext.Config(**settings)
    with pytest.raises(ValueError, match="k is 6, but the pool has 6 questions"):
        shown(6)
    with pytest.raises(ValueError, match=r"\['nobody'\] are not in the pool"):
        shown(2, retriever="fixed", ids=("q0", "nobody"))
    write_jsonl([question(n) for n in range(20, 23)], tmp_path / "pool.jsonl", images="inline")
    own = shown(3, pool=str(tmp_path / "pool.jsonl"))
    assert len(own.chat.images) == 4


def test_it_runs_and_its_pool_is_in_the_fingerprint(nano, tmp_path):
    instruction = {"name": "in_context", "k": 1, "instruction": "plain"}
    found = score(run_task(Task(name="icl", instruction=instruction), nano, tmp_path, source=SOURCE))
    assert found.overall.n == 6
    pool = tmp_path / "pool.jsonl"
    write_jsonl([question(n) for n in range(20, 23)], pool, images="inline")
    task = Task(name="pool", instruction={**instruction, "pool": str(pool)})
    path = run_task(task, nano, tmp_path, source=SOURCE)
    before = score(path).fingerprints["prompt"]
    pool.unlink()
    write_jsonl([question(n) for n in range(30, 33)], pool, images="inline")
    with pytest.raises(ValueError, match="another prompt"):
        run_task(task, nano, tmp_path, source=SOURCE)
    assert before
