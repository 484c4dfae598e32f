"""LLM2LLM's rounds with a student and a teacher that are functions."""

import json

import pytest

from conftest import picture
from vitrail.data.scenes import suite
from vitrail.loops.llm2llm import LLM2LLM, PROVENANCE
from vitrail.loops.rounds import read_records, run_rounds
from vitrail.loops.writers import ChatModel
from workshops import Pretended, asked, pretend

SEEDS = [asked(f"What is {n} and one?", str(n + 1), id=f"s{n}") for n in range(6)]


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    pretend(monkeypatch)


def loop(**settings):
    teacher = settings.pop("teacher", {"name": "chat_model", "who": "teacher", "demonstration": None})
    config = LLM2LLM.Config.model_validate({"data": "seeds", "rounds": 3, "teacher": teacher, **settings})
    return LLM2LLM(config)


def saying(student, teacher=None):
    """A student that answers, and a teacher that writes one question a request, each of its own words."""
    written = iter(range(10**6))

    def write(chat):
        n = next(written)
        words = " ".join(f"{word}{n}" for word in ("red", "tall", "old"))
        return f"1. Question: Which {words} thing?\nAnswer: thing {n}"

    return lambda model, chat: (teacher or write)(chat) if model == "teacher" else student(chat)


def wrong(chat):
    return "never"


def folder_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json*"))}


def test_data_grow_by_an_item_for_each_wrong_seed_and_every_item_names_its_seed(tmp_path):
    shop = Pretended(
        tmp_path, SEEDS, saying(lambda chat: "2" if "1 and one" in chat.messages[-1].text else "no")
    )
    rounds = run_rounds(loop(per_seed=2), shop)
    sizes = [len(records) for _, records in shop.trained]
    assert sizes == [6, 16, 26] and [one.get("wrong") for one in rounds] == [5, 5, None]
    assert [one.get("made") for one in rounds] == [10, 10, None]
    for _, records in shop.trained:
        assert {one.id for one in SEEDS} <= {one.id for one in records}
    made = [one for one in shop.trained[-1][1] if PROVENANCE in one.meta]
    assert {one.meta[PROVENANCE]["seed"] for one in made} == {f"s{n}" for n in range(6) if n != 1}
    assert {one.meta[PROVENANCE]["round"] for one in made} == {0, 1} and len({one.id for one in made}) == 20


def test_every_round_begins_with_the_same_weights_unless_it_shall_go_on(tmp_path):
    for restart, starts in ((True, [None, None, None]), (False, [None, "model-00", "model-01"])):
        shop = Pretended(tmp_path / str(restart), SEEDS, saying(wrong))
        run_rounds(loop(restart=restart), shop)
        assert [start for start, _ in shop.trained] == starts


def test_a_perfect_student_ends_the_loop(tmp_path):
    right = {one.messages[0].text: one.messages[1].text for one in SEEDS}
    shop = Pretended(tmp_path, SEEDS, saying(lambda chat: right[chat.messages[-1].text]))
    rounds = run_rounds(loop(), shop)
    assert len(rounds) == 1 and rounds[0]["wrong"] == 0 and "nothing is answered wrongly" in rounds[0]["stop"]


def test_errors_on_synthetic_items_spawn_none_unless_all_shall(tmp_path):
    shop = Pretended(tmp_path / "seed", SEEDS, saying(wrong))
    rounds = run_rounds(loop(), shop)
    assert [one.get("asked") for one in rounds[:2]] == [6, 6] and len(shop.trained[-1][1]) == 18
    shop = Pretended(tmp_path / "all", SEEDS, saying(wrong))
    rounds = run_rounds(loop(source="all"), shop)
    assert [one.get("asked") for one in rounds[:2]] == [6, 12] and len(shop.trained[-1][1]) == 24


def test_the_control_draws_seeds_evenly_and_makes_as_many(tmp_path):
    one_wrong = saying(lambda chat: chat.messages[-1].text.split()[2].translate({}) and "never")
    shop = Pretended(tmp_path, SEEDS, one_wrong)
    run_rounds(loop(source="random", items=4, rounds=2), shop)
    targets = Pretended(tmp_path / "t", SEEDS, saying(lambda chat: "never" if "3 and" in chat.messages[-1].text else
                        str(int(chat.messages[-1].text.split()[2]) + 1)))  # fmt: skip
    run_rounds(loop(items=4, rounds=2), targets)
    assert len(shop.trained[1][1]) == len(targets.trained[1][1]) == 10
    made = [[one for one in s.trained[1][1] if PROVENANCE in one.meta] for s in (shop, targets)]
    seeds = [[one.meta[PROVENANCE]["seed"] for one in own] for own in made]
    assert len(set(seeds[0])) == 4 and set(seeds[1]) == {"s3"}


def test_a_copy_of_a_seed_is_refused_and_asked_for_again(tmp_path):
    asks = []

    def teacher(chat):
        asks.append(chat.messages[-1].text)
        if len(asks) <= len(SEEDS):
            return f"1. Question: {SEEDS[0].messages[0].text}\nAnswer: 1"
        return f"1. Question: What {'very ' * (len(asks) + 20)} thing is it?\nAnswer: one"

    shop = Pretended(tmp_path, SEEDS, saying(wrong, teacher))
    rounds = run_rounds(loop(rounds=2, novelty=0.999), shop)
    assert rounds[0]["reasons"] == {"not new": 6} and rounds[0]["made"] == 6
    assert "Write 1 new problem." in asks[0] and "Write 2 new problems." in asks[6]


def test_a_teacher_that_writes_nothing_is_left_after_some_attempts(tmp_path):
    shop = Pretended(tmp_path / "skip", SEEDS, saying(wrong, lambda chat: "I will not."))
    rounds = run_rounds(loop(rounds=2, attempts=3), shop)
    assert rounds[0]["short"] == 6 and rounds[0]["made"] == 0
    assert rounds[0]["reasons"] == {"no numbered question": 18}
    shop = Pretended(tmp_path / "raise", SEEDS, saying(wrong, lambda chat: "I will not."))
    with pytest.raises(ValueError, match="wrote 0 of 6 items in 2 attempts"):
        run_rounds(loop(rounds=2, attempts=2, on_short="raise"), shop)


def test_what_is_done_is_never_done_again_and_everything_is_equal(tmp_path):
    whole = Pretended(tmp_path / "whole", SEEDS, saying(wrong))
    run_rounds(loop(), whole)
    wanted = folder_bytes(tmp_path / "whole")

    broken = Pretended(tmp_path / "broken", SEEDS, saying(wrong))
    stop = {"after": 9}
    answer = broken.answerer

    def dying(model):
        told = answer(model)

        def say(chat, tell=told._function):
            stop["after"] -= 1
            if stop["after"] < 0:
                raise KeyboardInterrupt
            return tell(chat)

        told._function = say
        return told

    broken.answerer = dying
    with pytest.raises(KeyboardInterrupt):
        run_rounds(loop(), broken)
    before = broken.asked
    again = Pretended(tmp_path / "broken", SEEDS, broken._answer)
    run_rounds(loop(), again)
    found = folder_bytes(tmp_path / "broken")
    assert sorted(found) == sorted(wanted) and before >= 6
    assert found["00/answers.jsonl"] == wanted["00/answers.jsonl"]
    assert found["00/data.jsonl"] == wanted["00/data.jsonl"]
    run_rounds(loop(), Pretended(tmp_path / "broken", SEEDS, lambda model, chat: 1 / 0))


def test_a_program_composes_scenes_of_the_same_kind_and_answer(tmp_path):
    seeds = list(suite("nano-scenes-v1").questions(fold="train", n=6))
    for same in ("kind", "answer"):
        shop = Pretended(tmp_path / same, seeds, lambda model, chat: "never")
        run_rounds(loop(rounds=2, teacher={"name": "scenes", "same": same}), shop)
        by_id = {one.id: one for one in seeds}
        made = [one for one in shop.trained[1][1] if PROVENANCE in one.meta]
        assert len(made) == 6
        for one in made:
            seed = by_id[one.meta[PROVENANCE]["seed"]]
            assert one.meta["kind"] == seed.meta["kind"] and one.images[0].bytes != seed.images[0].bytes
            answer = seed.choices.options[seed.choices.answer][0].text
            assert same == "kind" or one.messages[-1].text == answer
    half = [
        LLM2LLM.Config.model_validate(
            {"data": "x", "teacher": {"name": "scenes", "wrong": share}}
        ).teacher.build()
        for share in (0.0, 1.0)
    ]
    assert half[0].config.wrong == 0 and half[1].config.wrong == 1


def test_the_teacher_sees_the_picture_the_answer_and_the_mistake():
    from vitrail.evaluation.scenarios import as_item
    from vitrail.loops.writers import Request

    item = as_item(asked("How many cows?", "two", images=(picture(),)), 0, None)
    writer = ChatModel(ChatModel.Config(who="self"))
    kept = asked("How many owls?", "three")
    first = writer.prompt(Request(item, "two", "five", 1))
    assert first.messages[-1].text == (
        "Question: How many cows?\nRight answer: two\nThe student answered: five\nWrite 1 new problem."
    )
    assert len(first.images) == 1 and len(first.messages) == 4
    again = writer.prompt(Request(item, "two", "five", 2, 1, (kept,))).messages[-1].text
    assert "- How many owls?\nWrite 3 more, different ones." in again
    blind = ChatModel(ChatModel.Config(who="self", show_picture=False)).prompt(
        Request(item, "two", "five", 1)
    )
    assert not blind.images


@pytest.mark.parametrize(
    ("seeds", "settings", "why"),
    [
        ([], {}, "listed has no seeds"),
        ([asked("a", "b", id="x"), asked("c", "d", id="x")], {}, "seeds 0 and 1 of listed have the id 'x'"),
        ([asked("a", " ", id="x")], {}, "the reference answer is empty"),
        (
            [asked("a", "b", id="x")],
            {"grader": {"name": "numeric", "marker": "####"}},
            "seed 0 .* no final answer",
        ),
        ([asked("a", "b", id="x")], {"teacher": "scenes"}, "'x' is no question about a composed scene"),
    ],
)
def test_bad_seeds_are_named(tmp_path, seeds, settings, why):
    with pytest.raises(ValueError, match=why):
        run_rounds(loop(**settings), Pretended(tmp_path, seeds, saying(wrong)))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"novelty": 0}, "greater than 0"),
        ({"novelty": 1.1}, "less than or equal to 1"),
        ({"rounds": 0}, "greater than or equal to 1"),
        ({"items": 3, "per_seed": 2}, "'per_seed' and 'items' both say how many"),
        ({"grader": "accuracy"}, "reads no answers in words"),
    ],
)
def test_bad_settings_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        loop(**settings)


def test_the_best_round_may_be_kept(tmp_path):
    from vitrail.loops.rounds import chosen

    shop = Pretended(tmp_path, SEEDS, saying(wrong))
    rounds = run_rounds(loop(keep="best"), shop)
    assert chosen(rounds, "best")["round"] == 1 and chosen(rounds, "last")["round"] == 2
    assert json.loads((tmp_path / "01/round.json").read_text())["scores"] == {"score": 1.0}
    assert len(read_records(tmp_path / "00/made.jsonl")) == 6
