"""An empty thought changes nothing; a thought stands before the answer; verbalisers change the words alone."""

from __future__ import annotations

import pytest

from conftest import chat
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run_task
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.chain_of_thought import ChainOfThought, behind
from vitrail.evaluation.instructions import Prompt, Template
from vitrail.evaluation.scenarios import as_item
from vitrail.evaluation.verbaliser import Verbaliser, words_for


def question(number):
    asked = chat(f"What is number {number}?", seed=number, id=f"q{number}")
    return asked.model_copy(
        update={"choices": Choices(options=("a cat", "a dog", "a cow"), answer=number % 3)}
    )


SOURCE = ListSource([question(n) for n in range(3)])


def answers(nano, folder, name, **parts):
    return read_answers(run_task(Task(name=name, **parts), nano, folder, source=SOURCE)).rows


def test_an_empty_thought_is_plain_ranking(nano, tmp_path, monkeypatch):
    template = {"name": "template", "answer": "The answer is {option}"}
    plain = answers(nano, tmp_path, "plain", instruction=template)
    cot = {"name": "cot", "max_new_tokens": 3}
    thinking = answers(nano, tmp_path, "thinking", instruction=template, inferencer=cot)
    assert all("thought" in row for row in thinking)

    def silently(self, bundle, asked, batch_size):
        prompts = [self.then.encode(bundle, behind(one.prompt, ""), one.root) for one in asked]
        return [{**row, "thought": ""} for row in self.then.ask(bundle, prompts, batch_size)]

    monkeypatch.setattr(ChainOfThought, "ask", silently)
    silent = answers(nano, tmp_path, "silent", instruction=template, inferencer=cot)
    assert [row["values"] for row in silent] == [row["values"] for row in plain]


def test_a_thought_stands_before_the_template():
    prompt = Template(Template.Config(answer="The answer is {option}")).prompt(as_item(SOURCE[0], 0, None))
    assert behind(prompt, " It purrs. ").beginning == "It purrs.\nThe answer is"
    assert behind(prompt, "  ") == prompt
    assert behind(Prompt(prompt.chat), "So").beginning == "So\n"


def test_thoughts_can_be_followed_by_words(nano, tmp_path):
    then = {"name": "generate", "max_new_tokens": 2}
    rows = answers(
        nano,
        tmp_path,
        "words",
        inferencer={"name": "cot_words", "max_new_tokens": 2, "then": then},
        metric="match",
    )
    assert all({"thought", "text"} <= set(row) for row in rows)
    with pytest.raises(ValueError, match="this inferencer gives a ranking"):
        Task(name="t", inferencer={"name": "cot", "then": "generate"}).part("inferencer")
    with pytest.raises(ValueError, match="use likelihood"):
        Task(name="t", inferencer={"name": "cot", "then": "similarity"})


def test_verbalisers_say_the_rule_and_rank_the_words():
    item = as_item(SOURCE[0], 0, None)
    prompt = Verbaliser(Verbaliser.Config(words="roman")).prompt(item)
    assert prompt.options == ("I", "II", "III")
    assert prompt.chat.messages[-1].text.endswith("If the answer is C, write III.")
    assert "A. a cat\nB. a dog\nC. a cow" in prompt.chat.messages[-1].text
    assert words_for("rotated", 3) == ("B", "C", "A")
    with pytest.raises(ValueError, match="9 options, but words 'numbers' has 8"):
        words_for("numbers", 9)
    with pytest.raises(ValueError, match="must hold"):
        Verbaliser(Verbaliser.Config(rule="no slots"))
