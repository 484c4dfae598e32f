"""Answers in words: batches equal single runs, streams equal batches, and a stream can be stopped."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from conftest import chat
from vitrail.inference.generation import (
    GenerationSettings,
    Stream,
    end_tokens,
    generate,
    generate_from,
    why_not_shared,
    with_beginning,
)

CHATS = [chat("What is this? " * k, images=k % 3, seed=k) for k in range(1, 6)]


@pytest.fixture(scope="module")
def talker():
    """A nano model that says different things: random weights at transformers' scale repeat one token."""
    from vitrail.models.testbeds import nano

    bundle = nano.build(seed=0)
    torch.manual_seed(1)
    for parameter in bundle.model.language.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return bundle


@torch.no_grad()
def greedy(bundle, one, n):
    """Recompute the whole row for each token, no cache, no generate."""
    prompt = bundle.encoder.encode(one, add_generation_prompt=True)
    batch = bundle.collator()([prompt])
    batch.pop("labels"), batch.pop("layout")
    said: list[int] = []
    for _ in range(n):
        logits = bundle.model(**batch, use_cache=False).logits[0, -1]
        token = int(logits.argmax())
        if token in end_tokens(bundle):
            break
        said.append(token)
        batch["input_ids"] = torch.cat([batch["input_ids"], torch.tensor([[token]])], dim=1)
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    return tuple(said)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_batch_says_what_plain_recomputation_says(talker, batch_size):
    replies = generate(talker, CHATS, GenerationSettings(max_new_tokens=8), batch_size=batch_size)
    wanted = [greedy(talker, one, 8) for one in CHATS]
    assert [reply.tokens for reply in replies] == wanted
    assert len({reply.tokens for reply in replies}) > 1, "chats must differ, or the order is not tested"


def test_an_answer_ends_at_the_end_of_turn(talker):
    prompt = talker.encoder.encode(CHATS[0], add_generation_prompt=True)
    full = generate_from(talker, [prompt], GenerationSettings(max_new_tokens=8))[0]
    assert not full.finished and len(full.tokens) == 8
    stop = full.tokens[3]
    first = full.tokens.index(stop)
    talker.model.generation_config.eos_token_id = [2, stop]
    try:
        cut = generate(talker, CHATS, GenerationSettings(max_new_tokens=8))[0]
    finally:
        talker.model.generation_config.eos_token_id = 2
    assert cut.finished and cut.tokens == full.tokens[:first]


def test_the_beginning_of_an_answer_is_gone_on_with(talker):
    prompt = talker.encoder.encode(CHATS[1], add_generation_prompt=True)
    full = generate_from(talker, [prompt], GenerationSettings(max_new_tokens=6))[0]
    begun = with_beginning(talker, prompt, "It is a")
    assert begun.length == prompt.length + len(talker.encoder.text_ids("It is a"))
    rest = generate_from(talker, [begun], GenerationSettings(max_new_tokens=4))[0]
    assert rest.tokens != full.tokens[:4]
    ids = talker.tokenizer.decode(begun.input_ids)
    assert ids.endswith("<|im_start|>assistant\nIt is a")


def test_draws_depend_on_the_seed_and_leave_the_random_state_alone(talker):
    warm = GenerationSettings(max_new_tokens=8, temperature=1.0, seed=3)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two = generate(talker, CHATS, warm), generate(talker, CHATS, warm)
    assert torch.equal(before, torch.get_rng_state())
    assert one == two
    assert one != generate(talker, CHATS, warm.model_copy(update={"seed": 4}))
    assert one != generate(talker, CHATS, GenerationSettings(max_new_tokens=8))


def test_settings_without_effect_are_refused():
    with pytest.raises(ValueError, match="top_p has no effect with temperature 0"):
        GenerationSettings(top_p=0.5)
    assert GenerationSettings(top_p=0.5, temperature=0.7).top_p == 0.5


def test_a_prompt_that_does_not_fit_is_named(talker):
    long = chat("word " * 600, "x", id="the long one").model_copy(
        update={"messages": chat("word " * 600).messages}
    )
    with pytest.raises(
        ValueError, match=r"'the long one' has \d+ tokens; with max_new_tokens=900 .* context of 1024"
    ):
        generate(talker, [long], GenerationSettings(max_new_tokens=900))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_says_what_a_batch_of_one_says(talker, temperature):
    settings = GenerationSettings(max_new_tokens=12, temperature=temperature, seed=5)
    for one in CHATS[:3]:
        stream = Stream.of(talker, one, settings)
        pieces = list(stream)
        reply = generate(talker, [one], settings)[0]
        assert "".join(pieces).strip() == reply.text
        assert stream.finished == reply.finished


def test_a_stream_can_be_stopped(talker):
    stream = Stream.of(talker, CHATS[0], GenerationSettings(max_new_tokens=900))
    calls = []
    counting = talker.model.language.register_forward_pre_hook(lambda *_: calls.append(1))
    pieces = iter(stream)
    next(pieces)
    pieces.close()
    counting.remove()
    assert 0 < len(calls) < 800
    assert not stream.finished
    assert not [thread for thread in threading.enumerate() if thread.name == "vitrail-generate"]


def test_an_error_while_streaming_reaches_the_listener(talker):
    broken = talker.model.language.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(Stream.of(talker, CHATS[0], GenerationSettings(max_new_tokens=4)))
    broken.remove()


def test_beams_cannot_be_streamed(talker):
    with pytest.raises(ValueError, match="num_beams"):
        Stream.of(talker, CHATS[0], GenerationSettings(num_beams=2))
    assert len(generate(talker, CHATS[:2], GenerationSettings(num_beams=2, max_new_tokens=3))) == 2


def test_a_literal_placeholder_in_the_text_is_text(talker):
    plain, tricky = chat("What is <image> this?", images=1), chat("What is this?", images=1)
    coded = talker.encoder.encode(plain, add_generation_prompt=True)
    ordinary = talker.encoder.encode(tricky, add_generation_prompt=True)
    count = [int(np.sum(one.input_ids == talker.encoder.image_token_id)) for one in (coded, ordinary)]
    assert count[0] == count[1]
    assert len(generate(talker, [plain], GenerationSettings(max_new_tokens=2))) == 1


@pytest.mark.parametrize("settings", [{}, {"top_k": 5}, {"top_p": 0.8}])
def test_what_is_drawn_for_a_chat_does_not_depend_on_its_neighbours(talker, settings):
    warm = GenerationSettings(max_new_tokens=8, temperature=1.0, seed=3, **settings)
    together = generate(talker, CHATS, warm, batch_size=16)
    assert together == generate(talker, CHATS, warm, batch_size=2)
    assert together[::-1] == generate(talker, CHATS[::-1], warm, batch_size=3)
    assert [together[2]] == generate(talker, CHATS[2:3], warm)
    assert len({reply.tokens for reply in together}) == len(CHATS)


ABOUT_TWO = [
    *(chat("What is this? " * (1 + n % 3), images=2, seed=n // 4) for n in range(7)),
    chat("What is this?", images=1, seed=9),
    chat("What is this?", images=0),
]
"""Four questions about one pair of pictures, three about another, one about a third picture, one about none."""


@pytest.fixture
def looked(talker, monkeypatch):
    """How many pictures went through the tower, a list of one number."""
    tower, count = talker.model.tower, [0]
    forward = tower.forward

    def counting(pixels, *args, **kwargs):
        count[0] += len(pixels)
        return forward(pixels, *args, **kwargs)

    monkeypatch.setattr(tower, "forward", counting)
    return count


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.0, "top_k": 9, "seed": 3}, {"repetition_penalty": 1.5}]
)
def test_questions_about_the_same_pictures_look_at_them_once(talker, looked, settings):
    chosen = GenerationSettings(max_new_tokens=8, **settings)
    alone = [generate(talker, [one], chosen)[0] for one in ABOUT_TWO]
    assert looked == [15] and len({reply.tokens for reply in alone}) > 4
    for batch_size, pictures in ((16, 5), (3, 7), (2, 9)):
        looked[0] = 0
        assert generate(talker, ABOUT_TWO, chosen, batch_size=batch_size) == alone
        assert looked == [pictures], batch_size
    turned = generate(talker, ABOUT_TWO[::-1], chosen, batch_size=4)
    assert turned[::-1] == alone


def test_a_penalty_on_repetition_does_not_fall_on_padding(talker, monkeypatch):
    # transformers leaves padding out of the penalty since 5.23; for earlier ones there is none of it.
    chosen = GenerationSettings(max_new_tokens=8, repetition_penalty=3.0)
    alone = [generate(talker, [one], chosen)[0] for one in CHATS]
    asked, own = [], talker.model.generate
    monkeypatch.setattr(talker.model, "generate", lambda **given: asked.append(given) or own(**given))
    assert generate(talker, CHATS, chosen, batch_size=len(CHATS)) == alone
    (given,) = asked
    padding = ~given["attention_mask"].bool()
    assert padding.any() and (given["input_ids"][padding] != talker.pad_token_id).all()


def test_what_may_look_at_the_question_is_forwarded_with_it(talker, looked):
    from vitrail.models.surgery import operating
    from vitrail.models.surgery.standing_rule import undo

    chosen = GenerationSettings(max_new_tokens=4)
    assert why_not_shared(talker.model, chosen) == ""
    assert "beams" in why_not_shared(talker.model, GenerationSettings(num_beams=2))
    handle = talker.model.language.register_forward_pre_hook(lambda *_: None)
    assert "hooks" in why_not_shared(talker.model, chosen)
    generate(talker, ABOUT_TWO, chosen)
    assert looked == [15]
    handle.remove()
    operating.operate(talker.model, "ee_mllm")
    assert "ee_mllm stands in it" in why_not_shared(talker.model, chosen)
    undo(talker.model, "ee_mllm")
    assert why_not_shared(talker.model, chosen) == ""


def test_draws_follow_the_distribution():
    from vitrail.inference.drawing import RowDraws

    logits = torch.tensor([0.0, 1.0, 2.0, -float("inf")]).expand(20_000, -1)
    drawn = RowDraws(list(range(20_000)))(torch.empty(0), logits).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(shares, logits[0].softmax(-1), atol=0.015) and shares[3] == 0
