"""RLAIF-V's rounds with a model, a splitter and a labeller that are functions."""

import json
from collections import Counter

import pytest

from conftest import picture
from vitrail.data.scenes import suite
from vitrail.loops import labellers
from vitrail.loops.labellers import Claim, Label
from vitrail.loops.rlaif_v import PROVENANCE, RLAIFV
from vitrail.loops.rounds import Forecast, Round, run_rounds
from vitrail.loops.splitters import ChatModel, Rules
from workshops import Pretended, asked, pretend

PROMPTS = [asked("Describe the picture.", "-", id=f"p{n}", images=(picture(seed=n),)) for n in range(5)]


class BadWords:
    """A claim holds unless it says "bad"."""

    name = "bad words"

    def __init__(self):
        self.claims = []

    def label(self, claims, here, model):
        self.claims += [one.text for one in claims]
        return [Label(None if "unclear" in one.text else "bad" not in one.text) for one in claims]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Samples differ by their number alone, and are worse the higher it is."""
    pretend(monkeypatch)
    drawn = Counter()

    def say(model, chat):
        number = drawn[model, chat.id]
        drawn[model, chat.id] += 1
        return ", ".join([*["a bad thing"] * (number % 3), "a good thing", f"number {number}"])

    return Pretended(tmp_path, PROMPTS, say)


def loop(**settings):
    made = RLAIFV(
        RLAIFV.Config.model_validate(
            {
                "data": "prompts",
                "rounds": 2,
                "candidates": 6,
                "splitter": "rules",
                "balance": False,
                **settings,
            }
        )
    )
    made._labeller = BadWords()
    return made


def test_pairs_answer_one_prompt_and_prefer_what_has_fewer_rejected_claims(shop):
    rounds = run_rounds(loop(), shop)
    assert [start for start, _ in shop.trained] == ["start", "model-00"]
    for _, pairs in shop.trained:
        assert len(pairs) == 10 and {len(one.images) for one in pairs} == {1}
        for one in pairs:
            chosen, rejected = one.messages[-1].text, one.rejected[0].text
            assert chosen.count("bad") < rejected.count("bad")
            assert one.meta[PROVENANCE]["scores"] == [-chosen.count("bad"), -rejected.count("bad")]
        assert max(Counter(one.meta[PROVENANCE]["prompt"] for one in pairs).values()) == 2
    first = rounds[0]
    assert (first["prompts"], first["samples"], first["claims"], first["pairs"]) == (
        5,
        30,
        5 * (6 * 2 + 6),
        10,
    )


def test_equal_claims_of_a_prompt_are_judged_once(shop):
    made = loop(rounds=1)
    run_rounds(made, shop)
    # "a bad thing" in one sample twice, and in several samples: one claim. With "a good thing" and six numbers: eight.
    assert len(made._labeller.claims) == 5 * 8


def test_a_round_takes_the_next_prompts(shop):
    run_rounds(loop(per_round=3), shop)
    prompts = [{one.meta[PROVENANCE]["prompt"] for one in pairs} for _, pairs in shop.trained]
    assert prompts == [{"p0", "p1", "p2"}, {"p0", "p3", "p4"}]


def test_whole_answers_are_judged_at_once(shop):
    made = loop(judging="whole", rounds=1)
    rounds = run_rounds(made, shop)
    assert rounds[0]["claims"] == rounds[0]["samples"] == 30
    for one in shop.trained[0][1]:
        assert "bad" not in one.messages[-1].text and "bad" in one.rejected[0].text


def test_lengths_are_balanced_and_counts_add_up(shop):
    rounds = run_rounds(loop(balance=True, rounds=1, per_prompt=100), shop)
    told = rounds[0]
    assert told["pairs"] + told["dropped_for_length"] == 5 * 12 and told["pairs"] == len(shop.trained[0][1])


def test_fewer_pairs_at_the_most(shop):
    run_rounds(loop(pairs=3, rounds=1), shop)
    assert len(shop.trained[0][1]) == 3


def test_no_difference_is_an_error_and_not_an_empty_training(shop):
    made = loop()
    made._labeller.label = lambda claims, here, model: [Label(True) for _ in claims]
    with pytest.raises(
        ValueError, match="round 1 has no pair: no two samples of a prompt differ by 1 in score"
    ):
        run_rounds(made, shop)
    assert not shop.trained


def test_samples_whose_claims_cannot_be_judged_are_counted(shop):
    answer = shop._answer
    shop._answer = lambda model, chat: answer(model, chat).replace("number 1", "an unclear one")
    rounds = run_rounds(loop(rounds=1), shop)
    assert rounds[0]["reasons"] == {"no yes or no to one of its claims": 5} and rounds[0]["left_out"] == 5


def test_going_on_asks_nothing_twice(shop, tmp_path):
    run_rounds(loop(), shop)
    samples = (tmp_path / "00/samples.jsonl").read_bytes()
    for name in ("00/round.json", "01/round.json", "00/pairs.jsonl"):
        (tmp_path / name).unlink()
    lines = samples.splitlines(keepends=True)
    (tmp_path / "00/claims.jsonl").write_bytes(b"")
    before, asked_before = shop.trained[0][1], shop.asked
    run_rounds(loop(), shop)
    assert shop.asked == asked_before and shop.trained[2][1] == before
    assert len(lines) == 5 and json.loads(lines[0])["id"] == "p0"


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        ([], "listed has no prompts"),
        ([asked("a", "-", id="x"), asked("b", "-", id="x")], "two prompts of listed have the id 'x'"),
        ([asked("a", "-", id="x", images=({"type": "image", "path": "gone.png"},))], r"prompt 0 \('x'\)"),
    ],
)
def test_bad_prompts_are_named(tmp_path, monkeypatch, prompts, why):
    pretend(monkeypatch)
    with pytest.raises(ValueError, match=why):
        run_rounds(loop(), Pretended(tmp_path, prompts, lambda model, chat: "a"))


def test_what_a_round_will_ask_is_told_before(shop):
    assert loop(per_round=3).forecast(5) == [
        Forecast("samples", 18, "self"),
        Forecast("samples divided into claims", 18, "rules"),
        Forecast("claims judged", None, "bad words"),
    ]


def test_a_model_divides_in_two_requests(shop, tmp_path):
    said = []

    def rewrite(model, chat):
        text = chat.messages[-1].text
        said.append(text)
        if "### Questions" in text:
            facts = [line for line in text.splitlines() if line.startswith("- ")]
            return "\n".join(f"- Is it so? {line[2:]}" for line in facts[: 1 if "odd" in text else None])
        if "nothing" in text:
            return "There are none."
        return "### Facts\n- There is a {cow}.\n- It is " + ("odd" if "odd" in text else "red") + "."

    shop._answer = rewrite
    here = Round(0, 1, tmp_path, shop, 4)
    answers = [("What?", "a {answer} cow"), ("What?", "an odd cow"), ("What?", "nothing")]
    found = ChatModel(ChatModel.Config()).divide(answers, here, "model-00")
    assert found[0].claims == ("There is a {cow}.", "It is red.")
    assert (
        found[0].questions == ("Is it so? There is a {cow}.", "Is it so? It is red.") and found[0].why is None
    )
    assert found[1].why == "claims and questions are not equally many" and found[2].why == "no claim in it"
    assert "Question: What?\nAnswer: a {answer} cow\n### Facts" in said[0] and len(said) == 5


def test_known_scenes_label_as_well_as_they_shall(tmp_path, shop):
    source = suite("nano-scenes-v1").conversations(n=40, turns=(1, 1), kinds=("caption",))
    here = Round(0, 1, tmp_path, shop, 4)
    claims = []
    for chat in source:
        prompt = chat.model_copy(update={"messages": chat.messages[:1]})
        caption = chat.messages[-1].text
        texts = Rules(None).divide([("", caption)], here, "")[0].claims
        claims += [Claim(prompt, text, "?") for text in texts]
    for accuracy, low, high in ((1.0, 1, 1), (0.8, 0.7, 0.9), (0.0, 0, 0)):
        judge = labellers.SceneTruth(labellers.SceneTruth.Config(accuracy=accuracy))
        found = [one.accept for one in judge.label(claims, here, "")]
        assert low <= sum(found) / len(found) <= high
        assert found == [one.accept for one in judge.label(claims[::-1], here, "")][::-1]
    with pytest.raises(ValueError, match="prompt 'p0' is about no composed scene"):
        judge.label([Claim(PROMPTS[0], "a cow", "?")], here, "")


def test_a_labeller_in_words(tmp_path, shop):
    shop._answer = lambda model, chat: "Yes, it is." if "cow" in chat.messages[-1].text else "**No.**"
    judge = labellers.ChatModel(labellers.ChatModel.Config(who="other"))
    here = Round(0, 1, tmp_path, shop, 4)
    claims = [Claim(PROMPTS[0], text, f"Is there {text}?") for text in ("a cow", "an owl")]
    assert [one.accept for one in judge.label(claims, here, "m")] == [True, False]
    shop._answer = lambda model, chat: "Perhaps."
    assert judge.label(claims[:1], here, "m")[0].accept is None
