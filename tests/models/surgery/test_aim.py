"""The surgery aim in our model and in tiny LLaVA, LLaVA-NeXT and Qwen2.5-VL."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import families
from conftest import chat, picture
from vitrail.data.demonstrations import APART, shown
from vitrail.data.records import Chat
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.inputs import extended, model_inputs
from vitrail.inference.likelihood import option_logprobs
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.surgery.aim import AIM, FusionProjection
from vitrail.models.surgery.operating import operate
from vitrail.models.surgery.reading_apart import demonstrations_of, fused, readings, segments, text_length

NAMES = ("nano", "llava", "llava_next", "qwen2_5_vl")
each = pytest.mark.parametrize("name", NAMES)


def operated(folder, **settings):
    bundle = load(folder)
    return bundle.operated("aim", settings)


def few_shot(k=2, seed=0, last="user", words=("a cat", "two dogs", "the sea")):
    turns = []
    for n in range(k + 1):
        turns.append(
            {"role": "user", "content": [picture(seed + n), {"type": "text", "text": "What is it?"}]}
        )
        turns.append({"role": "assistant", "content": words[n % len(words)], "weight": float(n == k)})
    return Chat(messages=turns[: None if last == "assistant" else -1])


def logits(bundle, chats, side="right", prompt=True, **more):
    some = [bundle.encoder.encode(one, add_generation_prompt=prompt) for one in chats]
    batch = bundle.collator(side)(some)
    with torch.no_grad():
        found = bundle.model(**model_inputs(bundle.model, batch), use_cache=False, **more).logits
    return [row[mask.bool()] for row, mask in zip(found, batch["attention_mask"], strict=True)]


def close(one, other):
    torch.testing.assert_close(one.log_softmax(-1), other.log_softmax(-1), atol=1e-5, rtol=0)


@each
def test_embeddings_and_the_identity_are_the_prompt_with_text_alone(saved_family, name):
    plain, bundle = load(saved_family(name)), operated(saved_family(name), read_layer=0)
    apart, text = shown(few_shot(), "apart"), shown(few_shot(), "text")
    for side in ("left", "right"):
        found, expected = logits(bundle, [apart], side)[0], logits(plain, [text], side)[0]
        assert torch.equal(found, expected)


@each
def test_without_demonstrations_it_is_the_base_model_to_the_bit(saved_family, name):
    plain, bundle = load(saved_family(name)), operated(saved_family(name))
    for one in (chat("what is this?"), few_shot(2)):
        assert torch.equal(logits(bundle, [one])[0], logits(plain, [one])[0])


@each
def test_rows_are_as_many_as_the_text_has_tokens_and_stand_there(saved_family, name):
    bundle = operated(saved_family(name))
    prompt = bundle.encoder.encode(shown(few_shot(), "apart"), add_generation_prompt=True)
    text = bundle.encoder.encode(shown(few_shot(), "text"), add_generation_prompt=True)
    full = bundle.encoder.encode(few_shot(), add_generation_prompt=True)
    assert prompt.length == text.length < full.length
    seen = {}
    handle = bundle.model.get_decoder().layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: seen.setdefault("runs", []).append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )  # fmt: skip
    logits(bundle, [shown(few_shot(), "apart")])
    handle.remove()
    reading, final = seen["runs"]
    assert len(reading) == 2 and final.shape[1] == prompt.length
    some = demonstrations_of(bundle, [prompt])
    rows = fused(bundle.model, some, bundle.model.forward)
    places = segments(prompt, 2)
    assert some.length.tolist() == [stop - start for start, stop in places] and len(rows) == sum(some.length)
    first = 0
    for (start, stop), one in zip(places, readings(bundle, prompt), strict=True):
        assert text_length(one[1]) == stop - start
        assert torch.equal(rows[first : first + stop - start], final[0, start:stop])
        assert one[1].input_ids[-(stop - start) :].tolist() == prompt.input_ids[start:stop].tolist()
        assert bundle.tokenizer.decode(prompt.input_ids[start:stop]).startswith("What is it?")
        first += stop - start


@each
def test_a_picture_changes_its_own_rows_alone(saved_family, name):
    bundle = operated(saved_family(name))

    def rows(one):
        prompt = bundle.encoder.encode(shown(one, "apart"), add_generation_prompt=True)
        some = demonstrations_of(bundle, [prompt])
        return fused(bundle.model, some, bundle.model.forward).split(some.length.tolist())

    first, second = few_shot(), few_shot()
    other = list(second.messages)
    other[2] = other[2].model_copy(update={"content": (picture(77), *other[2].content[1:])})
    before, after = rows(first), rows(second.model_copy(update={"messages": tuple(other)}))
    torch.testing.assert_close(before[0], after[0], atol=1e-5, rtol=0)
    assert (before[1] - after[1]).abs().max() > 1e-3


@each
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_says_what_its_rows_say_alone(saved_family, name, side):
    bundle = operated(saved_family(name))
    some = [
        shown(few_shot(2), "apart"),
        chat("what is this?"),
        shown(few_shot(1, seed=20, words=("red",)), "apart"),
    ]
    for one, found in zip(some, logits(bundle, some, side), strict=True):
        close(found, logits(bundle, [one])[0])


@each
def test_generation_and_options_follow_the_rows(saved_family, name):
    """Cached decoding says what one forward says, beams included; options behind a prompt are those of whole rows."""
    bundle = operated(saved_family(name))
    apart = [shown(few_shot(2), "apart"), shown(few_shot(1, seed=9), "apart")]
    alone = [generate(bundle, [one], GenerationSettings(max_new_tokens=4))[0].tokens for one in apart]
    both = generate(bundle, apart, GenerationSettings(max_new_tokens=4))
    assert [one.tokens for one in both] == alone
    prompt = bundle.encoder.encode(apart[0], add_generation_prompt=True)
    assert alone[0]
    for place, token in enumerate(alone[0]):
        batch = bundle.collator()([extended(prompt, alone[0][:place])])
        with torch.no_grad():
            whole = bundle.model(**model_inputs(bundle.model, batch), use_cache=False).logits
        assert int(whole[0, -1].argmax()) == token, "cached decoding says what one forward says"
    beams = generate(bundle, apart, GenerationSettings(max_new_tokens=3, num_beams=2))
    one = generate(bundle, apart[:1], GenerationSettings(max_new_tokens=3, num_beams=2))
    assert beams[0].tokens == one[0].tokens
    items = [(prompt, [(5, 6), (7, 8, 9)])]
    shared = option_logprobs(bundle.model, bundle.collator(), items)
    apiece = option_logprobs(bundle.model, bundle.collator(), items, share_prompt=False)
    for a, b in zip(shared[0].tokens, apiece[0].tokens, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


@each
def test_permuted_demonstrations_of_equal_text_are_told_apart(saved_family, name):
    """Same tokens, same question: only the demonstrations' pictures differ, and nothing may be shared between them."""
    bundle = operated(saved_family(name))
    one = shown(few_shot(2, words=("a", "a", "a")), "apart")
    other = one.model_copy(update={"meta": {APART: one.meta[APART][::-1]}})
    prompts = [bundle.encoder.encode(some, add_generation_prompt=True) for some in (one, other)]
    items = [(prompt, [(5,), (6,)]) for prompt in prompts]
    together = option_logprobs(bundle.model, bundle.collator(), items)
    for item, found in zip(items, together, strict=True):
        (alone,) = option_logprobs(bundle.model, bundle.collator(), [item])
        for a, b in zip(alone.tokens, found.tokens, strict=True):
            assert a == pytest.approx(b, abs=1e-5)
    assert abs(together[0].sums[0] - together[1].sums[0]) > 1e-4


@each
def test_only_the_projection_learns_and_it_is_saved(saved_family, name, tmp_path):
    bundle = operated(saved_family(name), init="random")
    model = bundle.model.requires_grad_(False).train()
    anatomy.part(model, "aim").requires_grad_(True)
    batch = bundle.collator()([bundle.encoder.encode(shown(few_shot(last="assistant"), "apart"))])
    inputs = model_inputs(model, batch)
    model(**inputs, labels=batch["labels"], use_cache=False).loss.backward()
    assert {key for key, one in model.named_parameters() if one.grad is not None} == {
        "aim.projection.weight", "aim.projection.bias",
    }  # fmt: skip
    assert model.aim.projection.weight.grad.abs().max() > 0 and model.training
    model.zero_grad()
    empty = bundle.collator()([bundle.encoder.encode(chat("what?", "a cat"))])
    model(**model_inputs(model, empty), labels=empty["labels"], use_cache=False).loss.backward()
    assert not model.aim.projection.weight.grad.any(), (
        "touched with zero weight where there is no demonstration"
    )
    apart = shown(few_shot(), "apart")
    before = logits(Bundled(bundle), [apart])[0]
    bundle.save(tmp_path / "saved")
    assert torch.equal(logits(load(tmp_path / "saved"), [apart])[0], before)


def Bundled(bundle):
    bundle.model.eval()
    return bundle


def test_other_states_are_read_where_asked(saved_family):
    last = [
        operated(saved_family("llava"), **one) for one in ({}, {"use_final_norm": False}, {"read_layer": 1})
    ]
    apart = shown(few_shot(), "apart")
    found = [logits(one, [apart])[0] for one in last]
    assert (found[0] - found[1]).abs().max() > 1e-3 and (found[0] - found[2]).abs().max() > 1e-3


def test_reading_leaves_the_offset_of_positions_and_the_mode_as_they_were(saved_family):
    bundle = operated(saved_family("qwen2_5_vl"))
    inner = bundle.model.model
    prompt = bundle.encoder.encode(shown(few_shot(), "apart"), add_generation_prompt=True)
    inner.rope_deltas = torch.tensor([[7]])
    bundle.model.train()
    fused(bundle.model, demonstrations_of(bundle, [prompt]), bundle.model.forward)
    assert inner.rope_deltas.tolist() == [[7]]
    assert all(module.training for module in bundle.model.modules())


def test_the_question_is_as_long_as_texts_whatever_pictures_cost(saved_family):
    bundle = operated(saved_family("llava"))

    def length(k, how):
        chat = shown(few_shot(k, words=("a cat",)), how)
        return bundle.encoder.encode(chat, add_generation_prompt=True).length

    for k in (1, 2, 4):
        assert length(k, "apart") == length(k, "text") <= length(k, "pictures") - 16 * k


def test_bad_input(saved_family):
    bundle = load(saved_family("llava"))
    with pytest.raises(ValueError, match="read_layer is 9; this model has 0"):
        bundle.operated("aim", {"read_layer": 9})
    with pytest.raises(ValueError, match="use_final_norm has no effect with read_layer=1"):
        AIM.Config(read_layer=1, use_final_norm=False)
    bundle = bundle.operated("aim")
    with pytest.raises(ValueError, match="has undergone aim already"):
        operate(bundle.model, "aim")
    with pytest.raises(ValueError, match="takes no pictures"):
        AIM(AIM.Config()).check(families.llama())
    apart = shown(few_shot(), "apart")
    one_more = apart.model_copy(update={"meta": {APART: [*apart.meta[APART], apart.meta[APART][0]]}})
    with pytest.raises(ValueError, match="the prompt has 3 demonstrations, but its tokens show 2 exchanges"):
        bundle.collator()([bundle.encoder.encode(one_more, add_generation_prompt=True)])
    both = few_shot().model_copy(update={"meta": apart.meta})
    with pytest.raises(ValueError, match="demonstration 0 has its picture in the prompt and in meta"):
        bundle.collator()([bundle.encoder.encode(both, add_generation_prompt=True)])
    with pytest.raises(ValueError, match="give those, not inputs_embeds"):
        bundle.model(inputs_embeds=torch.zeros(1, 3, 32), demonstrations=demonstrations_of(
            bundle, [bundle.encoder.encode(apart, add_generation_prompt=True)]))  # fmt: skip
    with pytest.raises(RuntimeError, match=r"size|shape|mat1"):
        FusionProjection(8)(torch.zeros(2, 32))
    with pytest.raises(ValueError, match="some prompts of a batch have ready rows"):
        prompt = bundle.encoder.encode(apart, add_generation_prompt=True)
        ready = dataclasses.replace(
            prompt, meta={**prompt.meta, "demonstration_rows": [torch.zeros(1, 32)] * 2}
        )
        demonstrations_of(bundle, [prompt, ready])
