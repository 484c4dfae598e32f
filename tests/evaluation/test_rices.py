"""Examples chosen by likeness of pictures: RICES against a plain reference, its order, the encoder, the cheat test."""

from __future__ import annotations

import numpy as np
import pytest

import dual_encoders
from conftest import chat, picture
from vitrail.data.demonstrations import APART
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task
from vitrail.evaluation.few_shot import from_pool
from vitrail.evaluation.in_context import InContext
from vitrail.evaluation.rices import embedded, nearest, rices
from vitrail.evaluation.scenarios import as_item


def test_the_nearest_stand_last_and_the_question_is_left_out():
    draw = np.random.default_rng(0)
    bank = draw.standard_normal((50, 8)).astype(np.float32)
    query = bank[7] * 3 + 0.01
    cosines = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in bank]
    wanted = sorted(range(50), key=lambda place: -cosines[place])
    assert wanted[0] == 7 and nearest(query, bank, 5) == wanted[:5]
    assert rices(query, bank, 4, without=[7]) == wanted[1:5][::-1] and rices(query, bank, 0) == []


def test_equal_pictures_are_ranked_by_their_places_whatever_their_last_digits():
    draw = np.random.default_rng(1)
    bank = np.tile(draw.standard_normal(8), (6, 1)) + draw.uniform(-1e-7, 1e-7, (6, 8))
    assert nearest(bank[3], bank, 6) == [0, 1, 2, 3, 4, 5]
    assert nearest(np.zeros(8), bank, 2) == [0, 1]


@pytest.mark.parametrize(
    "query, k, message",
    [
        (np.ones(3), 1, "the question has 3 dimensions and the pool 4"),
        (np.ones(4), 3, "k is 3, but the pool has 2 others"),
        (np.array([1.0, np.nan, 0, 0]), 1, "not finite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(query, k, message):
    with pytest.raises(ValueError, match=message):
        nearest(query, np.ones((2, 4)), k)


def test_pictures_are_embedded_a_batch_at_a_time():
    sizes: list[int] = []

    def embed(some):
        sizes.append(len(some))
        return np.asarray(some, dtype=np.float32)[:, None]

    assert embedded(iter(range(7)), embed, batch=3).ravel().tolist() == list(range(7)) and sizes == [3, 3, 1]


def question(number: int, seed: int | None = None):
    asked = chat(f"What is number {number}?", seed=number if seed is None else seed, id=f"q{number}")
    return asked.model_copy(update={"choices": Choices(options=("a cat", "a dog"), answer=number % 2)})


SOURCE = ListSource([question(n) for n in range(6)])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    place = tmp_path_factory.mktemp("clip")
    dual_encoders.save("clip", place)
    return str(place)


def prompted(row: int, source=SOURCE, **settings):
    instruction = InContext(InContext.Config(**settings))
    instruction.prepare(source)
    return instruction.prompt(as_item(source[row], row, None))


def numbers(prompt) -> list[int]:
    """The examples' questions, by number."""
    asked = [turn.text for turn in prompt.chat.messages if turn.role == "user"][:-1]
    return [int(text.split()[-1].rstrip("?")) for text in asked]


def test_an_encoder_chooses_from_a_pool_and_what_it_embedded_is_kept(encoder, tmp_path, monkeypatch):
    from vitrail.models.experts.clip_scorer import ClipScorer

    pool = tmp_path / "pool.jsonl"
    write_jsonl([question(n) for n in range(20, 28)], pool, images="inline")
    twin = ListSource([question(3, seed=24)])  # its picture is that of question 24
    settings = {"retriever": "rices", "encoder": encoder, "pool": str(pool), "k": 3}
    prompt = prompted(0, twin, **settings)
    assert numbers(prompt)[-1] == 24 and len(set(numbers(prompt))) == 3
    scorer = ClipScorer.from_pretrained(encoder)
    cosines = (
        scorer.embed_images([picture(n * 100).open() for n in range(20, 28)])
        @ scorer.embed_images([picture(2400).open()])[0]
    )
    assert numbers(prompt) == [20 + int(place) for place in np.argsort(-cosines)[:3]][::-1]
    asked, original = [], ClipScorer.embed_images
    monkeypatch.setattr(
        ClipScorer, "embed_images", lambda self, some: asked.append(len(some)) or original(self, some)
    )
    assert prompted(0, twin, **settings) == prompt and asked == [1]


def test_other_weights_are_other_examples_in_the_fingerprint(encoder, tmp_path):
    dual_encoders.save("siglip", tmp_path)
    found = set()
    for name in (encoder, str(tmp_path)):
        instruction = InContext(InContext.Config(k=1, retriever="rices", encoder=name))
        instruction.prepare(SOURCE)
        found.add(instruction.fingerprint)
    assert len(found) == 2 and "" not in found


def test_the_cheat_test_holds_the_question_with_its_answer_and_the_plain_prompt_never_does():
    for k in (1, 3):
        prompt = prompted(2, k=k, cheat=True)
        turns = prompt.chat.messages
        place = numbers(prompt).index(2)
        assert turns[2 * place].content[-1] == turns[-1].content[-1] and turns[2 * place + 1].text == "a cat"
        assert numbers(prompt).count(2) == 1 and len(numbers(prompt)) == k
        assert 2 not in numbers(prompted(2, k=k))


def test_examples_are_shown_as_text_or_apart():
    assert len(prompted(2, k=2, show="text").chat.images) == 1
    apart = prompted(2, k=2, show="apart").chat
    assert len(apart.images) == 1 and len(apart.meta[APART]) == 2


def test_settings_that_do_not_go_together():
    for settings, words in (
        ({"retriever": "rices"}, "'rices' needs an encoder"),
        ({"retriever": "random", "encoder": "x"}, "encoder goes with"),
        ({"k": 0, "cheat": True}, "k is 0; set k to 1 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            InContext.Config(**settings)


def test_a_curve_over_shots(nano, encoder, tmp_path):
    task = Task(name="few")
    curve = from_pool(
        task, nano, tmp_path, shots=(0, 1, 2), source=SOURCE, retriever="rices", encoder=encoder, batch_size=4
    )
    assert list(curve) == [0, 1, 2] and all(one.n == 6 for one in curve.values())
    assert {"few.0-shots", "few.rices-1", "few.rices-2"} <= {path.name for path in tmp_path.rglob("few.*")}
