"""An answer token by token is the answer that generation gives; its pieces join to it; chances are the model's own."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import chat
from vitrail.inference import prompt_logprobs as reading
from vitrail.inference.completion import GrowingText, complete
from vitrail.inference.generation import GenerationSettings, generate_from
from vitrail.inference.inputs import extended, model_inputs
from vitrail.inference.prompt_logprobs import prompt_logprobs


def prompt(nano, text="What is it?", images=1):
    return nano.encoder.encode(chat(text, images=images), add_generation_prompt=True)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("images", [0, 2])
def test_it_is_the_answer_of_generate(nano, temperature, images):
    chosen = GenerationSettings(max_new_tokens=12, temperature=temperature, seed=3)
    asked, pieces = prompt(nano, images=images), []
    found = complete(nano, asked, chosen, emit=pieces.append)
    (expected,) = generate_from(nano, [asked], chosen)
    assert tuple(token.id for token in found.tokens) == expected.tokens
    assert found.text == expected.text == "".join(piece.text for piece in pieces)
    assert found.tokens == tuple(token for piece in pieces for token in piece.tokens)
    assert found.reason == ("stop" if expected.finished else "length")


def test_chances_are_those_of_one_forward(nano):
    asked = prompt(nano)
    chosen = GenerationSettings(max_new_tokens=6, temperature=1.3, top_p=0.9, seed=1)
    found = complete(nano, asked, chosen, top_logprobs=3)
    whole = extended(asked, [token.id for token in found.tokens])
    with torch.inference_mode():
        logits = nano.model(**model_inputs(nano.model, nano.collator()([whole]))).logits[0]
    rows = logits.float().log_softmax(-1)[asked.length - 1 : -1]
    for token, row in zip(found.tokens, rows, strict=True):
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
        values, ids = row.topk(3)
        assert [one for one, _ in token.top] == ids.tolist()
        assert [value for _, value in token.top] == pytest.approx(values.tolist(), abs=1e-4)


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(nano):
    asked, chosen = prompt(nano), GenerationSettings(max_new_tokens=24, temperature=1.0, seed=5)
    whole = complete(nano, asked, chosen, strip=False)
    stop = whole.text[len(whole.text) // 2 :][:2]
    found = complete(nano, asked, chosen, stop=(stop, "never there"), strip=False)
    assert found.text == whole.text[: whole.text.index(stop)] and found.reason == "stop"
    assert found.made < whole.made


def test_cancelled_at_the_next_token(nano):
    gone, pieces = threading.Event(), []

    def hang_up(piece):
        pieces.append(piece)
        gone.set()

    chosen = GenerationSettings(max_new_tokens=60, temperature=1.0, seed=5)
    found = complete(nano, prompt(nano), chosen, cancelled=gone, emit=hang_up, strip=False)
    assert found.reason == "cancelled" and found.made < 60


def test_what_it_refuses(nano):
    with pytest.raises(ValueError, match="num_beams is 2"):
        complete(nano, prompt(nano), GenerationSettings(num_beams=2))
    with pytest.raises(ValueError, match="an empty text ends"):
        complete(nano, prompt(nano), GenerationSettings(), stop=("",))


@given(
    tokens=st.lists(st.text("ab \ufffd\n", max_size=4), max_size=12),
    stop=st.lists(st.text("ab ", min_size=1, max_size=3), max_size=2),
    strip=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_growing_text_equals_the_text_cut_at_the_end(tokens, stop, strip):
    """Whatever the tokens: what was given out is the beginning of what comes out, and that is the plain rule's."""
    growing, given_out, whole = GrowingText(stop, strip), "", ""
    for token in tokens:
        whole += token
        given_out += growing.grow(whole)
        if growing.stopped:
            break
    else:
        given_out += growing.grow(whole, last=True)
    places = [whole.index(one) for one in stop if one in whole]
    expected = whole[: min(places)] if places else whole
    assert given_out == growing.text == (expected.strip() if strip else expected)
    assert growing.stopped == bool(places)


def test_chances_of_a_prompt(nano, monkeypatch):
    asked = prompt(nano)
    found = prompt_logprobs(nano, asked, top=2)
    assert found[0].logprob is None and len(found) == asked.length
    monkeypatch.setattr(reading, "VALUES", 3 * len(nano.tokenizer))
    again = prompt_logprobs(nano, asked, top=2)
    assert [token.logprob for token in again[1:]] == pytest.approx([t.logprob for t in found[1:]], abs=1e-5)
    with torch.inference_mode():
        logits = nano.model(**model_inputs(nano.model, nano.collator()([asked]))).logits[0]
    expected = (
        logits.float().log_softmax(-1)[:-1].gather(-1, torch.tensor(asked.input_ids[1:])[:, None].long())
    )
    assert [token.logprob for token in found[1:]] == pytest.approx(expected[:, 0].tolist(), abs=1e-4)
