"""Task, instructions, metrics, baselines, fingerprints: each by itself."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys

import pytest
import torch
import yaml
from PIL import Image as PILImage

from conftest import picture
from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.evaluation import Task, fingerprints
from vitrail.evaluation.baselines import blind, chance, majority
from vitrail.evaluation.inferencers import Generate, Likelihood
from vitrail.evaluation.instructions import Lettered, Plain, Template
from vitrail.evaluation.metrics import Match
from vitrail.evaluation.reading import read_option
from vitrail.evaluation.scenarios import as_item
from vitrail.evaluation.transforms import transform_of


def item(text="What is it?", options=("a cat", "a dog"), answer=0, system=None):
    content = (picture(1), Text(text=text))
    messages = [Message(role="user", content=content)]
    if system:
        messages.insert(0, Message(role="system", content=system))
    return as_item(Chat(messages=messages, choices=Choices(options=options, answer=answer)), 0, None)


def texts(prompt):
    return [message.text for message in prompt.chat.messages]


def test_a_task_survives_a_file(nano):
    task = Task(
        name="t",
        scenario={"name": "scenes", "names": "held-out"},
        instruction="lettered",
        inferencer="likelihood",
    )
    again = Task.model_validate(yaml.safe_load(yaml.safe_dump(task.model_dump(mode="json"))))
    assert again == task
    assert task.scenario["n"] == 200, "defaults are filled in"
    one, two = (each.part("instruction").prompt(item()) for each in (task, again))
    assert one == two
    assert (
        nano.encoder.encode(one.chat).input_ids.tobytes() == nano.encoder.encode(two.chat).input_ids.tobytes()
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"inferencer": "generate"}, "metric 'accuracy' needs a ranking.*gives a text; use metric .*'match'"),
        ({"metric": "match"}, "needs a text"),
        ({"inferencer": "likelyhood"}, "did you mean 'likelihood'"),
        ({"instruction": {"name": "template", "qury": "x"}}, "qury"),
        ({"instruction": {"name": "template", "query": "breif"}}, "did you mean 'brief'"),
        ({"instruction": {"name": "template", "answer": "no slot"}}, "must hold {option} exactly once"),
        ({"scenario": {"fold": "test"}}, "give the scenario as its name"),
        ({"scenario": {"name": "scenes", "fold": "train"}}, "development"),
        ({"name": "../t"}, "name"),
    ],
)
def test_wrong_tasks_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Task(**{"name": "t", **fields})


def test_plain_leaves_the_question_alone():
    prompt = Plain(Plain.Config()).prompt(item())
    assert prompt.chat == item().chat and prompt.options == ("a cat", "a dog") and prompt.beginning == ""


def test_a_template_fills_only_its_own_braces():
    config = Template.Config(query="Q: {question} ({options})", answer="It is {option}.", system="Be brief.")
    tricky = item("Is {options} or {question} <image>?", ("{question}", "b\\1"))
    prompt = Template(config).prompt(tricky)
    assert texts(prompt) == ["Be brief.", "Q: Is {options} or {question} <image>? ({question}, b\\1)"]
    assert [type(part).__name__ for part in prompt.chat.messages[1].content] == ["Image", "Text"]
    assert prompt.beginning == "It is" and prompt.options == (" {question}", " b\\1")
    own = Template(config).prompt(item(system="Mine."))
    assert texts(own)[0] == "Mine." and len(texts(own)) == 2


def test_a_question_in_several_pieces_keeps_its_pictures_in_place():
    content = (Text(text="Left "), picture(1), Text(text=" or "), picture(2), Text(text=" right?"))
    chat = Chat(
        messages=(Message(role="user", content=content),), choices=Choices(options=("a", "b"), answer=0)
    )
    prompt = Template(Template.Config(query="Q: {question} A:")).prompt(as_item(chat, 0, None))
    kinds = [part.type for part in prompt.chat.messages[-1].content]
    assert kinds == ["text", "image", "text", "image", "text"]
    assert texts(prompt) == ["Q: Left  or  right? A:"]


def test_letters():
    prompt = Lettered(Lettered.Config()).prompt(item())
    assert texts(prompt) == ["What is it?\nA. a cat\nB. a dog\nAnswer with the letter."]
    assert prompt.options == ("A", "B")
    full = Lettered(Lettered.Config(answer="letter_and_text")).prompt(item())
    assert full.options == ("A. a cat", "B. a dog")
    with pytest.raises(ValueError, match="27 options"):
        Lettered(Lettered.Config()).prompt(item(options=tuple(map(str, range(27)))))


def test_template_tokens_are_not_scored(nano):
    prompt = Template(Template.Config(answer="The answer is {option}.")).prompt(item())
    bare = Likelihood(Likelihood.Config(end=False)).encode(nano, prompt, None)
    decoded = [nano.tokenizer.decode(option) for option in bare.options]
    assert decoded == [" a cat", " a dog"]
    assert nano.tokenizer.decode(bare.prompt.input_ids).endswith("assistant\nThe answer is")
    assert bare.bytes == (5, 5)
    ended = Likelihood(Likelihood.Config()).encode(nano, prompt, None)
    assert ended.options == tuple((*option, *nano.encoder.end_of_turn) for option in bare.options)


def test_the_end_of_the_turn_parts_an_option_from_a_longer_one(nano):
    prompt = Plain(Plain.Config()).prompt(item(options=("a cat", "a cat and a dog")))
    inferencer = {end: Likelihood(Likelihood.Config(end=end)) for end in (True, False)}
    found = {end: one.ask(nano, [one.encode(nano, prompt, None)], 4)[0] for end, one in inferencer.items()}
    assert found[False]["logprobs"][0] > found[False]["logprobs"][1], "a beginning is never less likely"
    assert found[True]["tokens"] == [count + 1 for count in found[False]["tokens"]]


def test_generate_goes_on_behind_the_beginning(nano):
    prompt = Template(Template.Config(answer="The answer is {option}")).prompt(item())
    asked = Generate(Generate.Config(max_new_tokens=2)).encode(nano, prompt, None)
    assert nano.tokenizer.decode(asked.prompt.input_ids).endswith("The answer is")


OPTIONS = ["a cat", "a black cat", "two dogs", "upper left"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A", 0),
        ("(c)", 2),
        ("[B]", 1),
        ("B.", 1),
        ("D) upper left", 3),
        ("c: two dogs", 2),
        ("A cat.", 0),
        ("  the BLACK  cat ", 1),
        ("I see two dogs there", 2),
        ("It is a black cat.", 1),
        ("two dogs and a black cat", None),
        ("a category", None),
        ("E", None),
        ("", None),
        ("something else", None),
    ],
)
def test_options_are_read_from_words(text, found):
    assert read_option(text, OPTIONS) == found


def test_letters_can_be_switched_off():
    assert read_option("B.", OPTIONS, letters=False) is None
    assert Match(Match.Config(letters=False)).judge({"text": "B", "options": OPTIONS, "answer": 1}) == (
        None,
        False,
        False,
    )


def test_open_answers():
    exact, holds = (Match(Match.Config(reference=how)) for how in ("exact", "contains"))
    row = {"text": "The cat!", "options": [], "answer": None, "reference": "a cat"}
    assert exact.judge(row).correct
    longer = {**row, "text": "I see a cat here"}
    assert not exact.judge(longer).correct and holds.judge(longer).correct
    assert not holds.judge({**row, "text": "concatenate"}).correct
    assert exact.judge({**row, "text": " ... "}) == (None, False, False)


def test_blind_pictures_are_grey_and_of_the_same_size(tmp_path):
    PILImage.new("RGB", (5, 7), (200, 10, 10)).save(tmp_path / "p.png")
    content = (Image(path="p.png"), picture(2, (30, 20)), Text(text="What?"))
    seen = Chat(id="x", messages=(Message(role="user", content=content),), meta={"kind": "k"})
    unseen = blind(seen, tmp_path)
    assert [one.open().size for one in unseen.images] == [(5, 7), (30, 20)]
    assert {colour for one in unseen.images for _, colour in one.open().getcolors()} == {(128, 128, 128)}
    assert unseen.messages[0].text == "What?" and (unseen.id, unseen.meta) == (seen.id, seen.meta)
    assert transform_of("blind") == transform_of("untrained-blind") == "blind"
    assert transform_of("trained") == transform_of("blinded") == "as_is"


def guess_rows(n, right, names, kind="k", options=4, seed=0):
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        answer = right(draw)
        others = draw.sample([name for name in names if name != answer], options - 1)
        shown = [answer, *others]
        draw.shuffle(shown)
        rows.append({"kind": kind, "cluster": f"p{number}", "options": shown, "answer": shown.index(answer)})
    return rows


def share(rows):
    return sum(guess == row["answer"] for guess, row in zip(majority(rows), rows, strict=True)) / len(rows)


def test_the_best_guess_without_a_picture():
    numbers = ["one", "two", "three", "four"]
    skewed = guess_rows(400, lambda d: d.choices(numbers, [1, 6, 2, 1])[0], numbers)
    assert 0.5 < share(skewed) < 0.7
    even = guess_rows(400, lambda d: d.choice(numbers), numbers)
    assert 0.18 < share(even) < 0.32
    unique = [str(n) for n in range(2000)]
    names = guess_rows(400, lambda d: d.choice(unique), unique)
    assert 0.18 < share(names) < 0.32, "no row may vote for itself"
    assert chance(skewed) == 0.25


def test_answers_that_take_turns_are_guessed_by_chance():
    """Every other picture would have the same answer, and a vote of the one half be wrong in the other."""
    row = {"kind": "presence", "options": ["yes", "no"]}
    rows = [{**row, "cluster": f"p{n}", "answer": n % 2} for n in range(200)]
    assert 0.3 < share(rows) < 0.7
    assert majority(rows[::-1])[::-1] == majority(rows), "whatever their order"


def test_kinds_that_alternate_still_learn_from_each_other():
    numbers = ["one", "two", "three", "four"]
    skewed = guess_rows(200, lambda d: d.choices(numbers, [0, 1, 0, 0])[0], numbers, kind="a")
    other = guess_rows(200, lambda d: d.choices(numbers, [0, 0, 1, 0])[0], numbers, kind="b", seed=1)
    mixed = [
        {**row, "cluster": f"q{place}"}
        for place, row in enumerate(row for pair in zip(skewed, other, strict=True) for row in pair)
    ]
    assert share(mixed) == 1.0


def test_fingerprints_see_one_weight_and_one_setting(fresh_nano):
    before = fingerprints.weights(fresh_nano.model), fingerprints.processor(fresh_nano)
    assert before == (fingerprints.weights(fresh_nano.model), fingerprints.processor(fresh_nano))
    with torch.no_grad():
        next(fresh_nano.model.connector.parameters()).view(-1)[0] += 1e-6
    assert fingerprints.weights(fresh_nano.model) != before[0]
    fresh_nano.processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    assert fingerprints.processor(fresh_nano) != before[1]
    plain = fingerprints.prompt(fresh_nano, {"name": "plain"})
    assert plain != fingerprints.prompt(fresh_nano, {"name": "lettered"})
    other = dataclasses.replace(fresh_nano, encoder=fresh_nano.processor.encoder())
    other.encoder.chat_template += " "
    assert plain != fingerprints.prompt(other, {"name": "plain"})


def test_reading_a_task_and_scoring_need_no_torch():
    code = (
        "import sys; from vitrail.evaluation import Task, score; import vitrail.evaluation.inferencers;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_loss_of_a_reference_equals_the_model_s_own(tmp_path):
    import torch

    from vitrail.data.records import Chat
    from vitrail.data.sources import ListSource
    from vitrail.evaluation.run import run_task
    from vitrail.evaluation.scores import score
    from vitrail.evaluation.task import Task
    from vitrail.models.testbeds import nano

    def chat(question, answer):
        turns = [("user", question), ("assistant", answer)]
        return Chat.model_validate(
            {"messages": [{"role": role, "content": [{"type": "text", "text": t}]} for role, t in turns]}
        )

    source = ListSource([chat("what is it?", "a red cat"), chat("how many?", "three")])
    bundle = nano.build(seed=2)
    task = Task(name="mine", inferencer="reference", metric="loss")
    found = score(run_task(task, bundle, tmp_path, source=source, batch_size=2))
    wanted = []
    for record in source:
        batch = bundle.collator()([bundle.encoder.encode(record)])
        with torch.no_grad():
            output = bundle.model(**batch)
        wanted.append(float(output.loss))
    assert found.overall.loss == pytest.approx(sum(wanted) / 2, abs=1e-4)
    assert found.overall.accuracy is None and found.overall.n == 2 and found.set_aside == 0
    low, high = found.overall.loss_interval
    assert low <= found.overall.loss <= high


def test_a_loss_needs_a_reference():
    from vitrail.evaluation.inferencers import Reference
    from vitrail.evaluation.instructions import Prompt

    with pytest.raises(ValueError, match="has no reference answer"):
        Reference(Reference.Config()).encode(None, Prompt(None, options=("a", "b")), None)
