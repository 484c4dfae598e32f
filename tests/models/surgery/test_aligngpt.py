"""The surgery aligngpt in our model and in tiny LLaVA, Qwen2.5-VL and SmolVLM."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

import families
from conftest import chat, picture
from vitrail.data.records import Chat
from vitrail.inference.generation import GenerationSettings, generate_from
from vitrail.inference.inputs import extended, model_inputs
from vitrail.inference.likelihood import option_logprobs
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.models.rules.applied import applied
from vitrail.models.rules.masks import causal
from vitrail.models.surgery.alignment_hooks import without_token
from vitrail.models.surgery.operating import operate, outline
from vitrail.objectives.next_token import NextToken

NAMES = ("nano", "llava", "qwen2_5_vl", "smolvlm")
TOKENS = {"nano": 4, "llava": 16, "qwen2_5_vl": 4, "smolvlm": 40}
each = pytest.mark.parametrize("name", NAMES)


def aligned(folder, name, *, plain=False, **settings):
    bundle = load(folder)
    if plain:
        return bundle
    given = {"image_tokens": TOKENS[name], "resample": True} | settings
    operate(
        bundle.model, "aligngpt", {key: value for key, value in given.items() if value is not None}, seed=0
    )
    with torch.no_grad():  # tiny weights draw tiny tokens: the picture must matter
        bundle.model.aligngpt.levels.weight.mul_(20)
    return bundle


def records():
    two = [
        picture(50, (70, 20)),
        {"type": "text", "text": "and"},
        picture(51, (15, 40)),
        {"type": "text", "text": "?"},
    ]
    return [
        chat("hello there", "good day", images=0),
        Chat(messages=[{"role": "user", "content": two}, {"role": "assistant", "content": "yes, they do"}]),
        chat("what is this?", "a cat"),
        chat("and now?", "two dogs", "where?", "left", seed=1),
    ]


def encoded(bundle, some=None):
    return [bundle.encoder.encode(record) for record in some or records()]


def prompts(bundle):
    return [
        bundle.encoder.encode(Chat(messages=r.messages[:1]), add_generation_prompt=True) for r in records()
    ]


def forward(bundle, batch, **more):
    return bundle.model(**model_inputs(bundle.model, batch), use_cache=False, **more)


def logits(bundle, some, side="right", **more):
    batch = bundle.collator(side)(some)
    with torch.inference_mode():
        found = forward(bundle, batch, **more).logits
    return [row[mask.bool()] for row, mask in zip(found, batch["attention_mask"], strict=True)]


@each
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mixed_batch_says_what_its_rows_say_alone(saved_family, name, side):
    bundle = aligned(saved_family(name), name)
    some = encoded(bundle)
    for one, row in zip(some, logits(bundle, some, side), strict=True):
        (alone,) = logits(bundle, [one])
        torch.testing.assert_close(row.log_softmax(-1), alone.log_softmax(-1), atol=1e-5, rtol=0)
    plain = aligned(saved_family(name), name, plain=True)
    (text,), (before,) = logits(bundle, some[:1]), logits(plain, some[:1])
    assert torch.equal(text, before)
    assert (logits(bundle, some[2:3])[0] - logits(plain, some[2:3])[0]).abs().max() > 1e-3
    with without_token(bundle.model):
        for row, before in zip(logits(bundle, some, side), logits(plain, some, side), strict=True):
            assert torch.equal(row, before)


@pytest.mark.parametrize("name", ["nano", "llava"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_text_are_those_of_the_plain_model_to_the_bit(saved_family, name, side):
    """Beside a row with a picture: the plain model in a batch that is as wide."""
    bundle, plain = aligned(saved_family(name), name), aligned(saved_family(name), name, plain=True)
    batch = bundle.collator(side)(encoded(bundle))
    assert not bool((batch["input_ids"][0] == bundle.model.config.image_token_id).any())
    with torch.inference_mode():
        found = forward(bundle, batch).logits[0]
        inner = plain.model
        embeds = inner.get_input_embeddings()(batch["input_ids"])
        wide, mask = F.pad(embeds, (0, 0, 0, 1)), F.pad(batch["attention_mask"], (0, 1))
        positions = None
        if name == "nano":
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
        hidden = inner.get_decoder()(
            inputs_embeds=wide, attention_mask=mask, position_ids=positions
        ).last_hidden_state
        expected = inner.get_output_embeddings()(hidden)[0, :-1]
    real = batch["attention_mask"][0].bool()
    assert torch.equal(found[real], expected[real])


@each
def test_the_token_is_where_the_paper_has_it(saved_family, name):
    """The decoder by hand: [first] [h] [rest], with the plain model's embeddings and positions."""
    bundle = aligned(saved_family(name), name)
    one = prompts(bundle)[2]
    seen = {}
    decoder = bundle.model.get_decoder()
    handle = decoder.layers[0].register_forward_pre_hook(lambda _, args: seen.update(wide=args[0]))
    found = logits(bundle, [one])[0]
    with without_token(bundle.model):
        logits(bundle, [one])
        plain = seen["wide"]
        logits_plain = logits(bundle, [one])[0]
    logits(bundle, [one])
    wide = seen["wide"]
    handle.remove()
    assert wide.shape[1] == plain.shape[1] + 1
    assert torch.equal(wide[:, :1], plain[:, :1]) and torch.equal(wide[:, 2:], plain[:, 1:])
    token = bundle.model.aligngpt
    ids = torch.as_tensor(one.input_ids)
    image = ids == bundle.model.config.image_token_id
    text = ~image & (torch.arange(len(ids)) > 0)
    with torch.no_grad():
        V, t = plain[0][image], plain[0][text].mean(0)
        r = F.adaptive_avg_pool1d((V @ t)[None], TOKENS[name])[0]
        alpha = token.gate.down(F.gelu(token.gate.up(r))).softmax(-1)
        H = token.levels.weight
        h = sum(alpha[i] * H[i] for i in range(7)) + H[7]
    torch.testing.assert_close(wide[0, 1], h, atol=1e-4, rtol=1e-4)
    assert found.shape == logits_plain.shape


@each
def test_levels_choose_their_row_and_only_that_one_learns(saved_family, name):
    bundle = aligned(saved_family(name), name)
    bundle.model.train()
    batch = bundle.collator()(encoded(bundle))
    levels = torch.tensor([-1, 3, 3, 6])
    objective = NextToken()
    loss = objective(bundle.model, {**batch, "alignment_levels": levels})
    loss.total().backward()
    gradient = bundle.model.aligngpt.levels.weight.grad
    assert [bool(row.any()) for row in gradient] == [n in (3, 6) for n in range(8)]
    assert not any(bool(p.grad.any()) for p in bundle.model.aligngpt.gate.parameters())
    by_hand = forward(bundle, batch, alignment_levels=levels, labels=batch["labels"]).loss
    torch.testing.assert_close(loss.total(), by_hand)
    bundle.model.eval()
    some = encoded(bundle)
    total, count = 0.0, 0
    for one, level in zip(some, levels, strict=True):
        own = bundle.collator()([one])
        with torch.no_grad():
            alone = objective(bundle.model, {**own, "alignment_levels": level[None]})
        total += float(alone.sums["next_token"])
        count += alone.counts["next_token"]
    for side in ("left", "right"):
        own = bundle.collator(side)(some)
        with torch.no_grad():
            together = objective(bundle.model, {**own, "alignment_levels": levels})
        assert together.counts["next_token"] == count
        assert float(together.sums["next_token"]) == pytest.approx(total, abs=1e-4)


@each
def test_instructions_teach_the_gate_and_not_the_levels(saved_family, name):
    bundle = aligned(saved_family(name), name)
    token = bundle.model.aligngpt
    token.levels.requires_grad_(False)
    bundle.model.train()
    batch = bundle.collator()(encoded(bundle))
    NextToken()(bundle.model, batch).total().backward()
    assert token.levels.weight.grad is None
    assert all(bool(p.grad.any()) for p in token.gate.parameters())
    assert any(
        p.grad is not None and bool(p.grad.any())
        for p in anatomy.part(bundle.model, "connector").parameters()
    )
    assert set(anatomy.parts(bundle.model)) >= {"aligngpt", "aligngpt.levels", "aligngpt.gate"}
    bundle.model.zero_grad()
    text = bundle.collator()(encoded(bundle)[:1])
    NextToken()(bundle.model, text).total().backward()
    assert all(p.grad is not None and not bool(p.grad.any()) for p in token.gate.parameters())


@pytest.mark.parametrize("name", ["nano", "llava"])
def test_the_answer_does_not_reach_the_token(saved_family, name):
    for scope, same in (("instruction", True), ("all", False)):
        bundle = aligned(saved_family(name), name, text_scope=scope)
        bundle.model.aligngpt.levels.requires_grad_(False)
        bundle.model.train()
        seen = []
        layer = bundle.model.get_decoder().layers[0]
        layer.register_forward_pre_hook(lambda _, args, into=seen: into.append(args[0][0, 1].detach()))
        for answer in ("a cat", "two dogs on the left"):
            batch = bundle.collator()(encoded(bundle, [chat("what is this?", answer)]))
            NextToken()(bundle.model, batch)
            forward(bundle, batch, labels=batch["labels"])
        assert torch.allclose(seen[0], seen[1], atol=1e-6)  # by labels as by what is to be predicted
        assert torch.allclose(seen[0], seen[2], atol=1e-6) is same
        bundle.model.eval()
        (asked,) = [bundle.encoder.encode(chat("what is this?"), add_generation_prompt=True)]
        logits(bundle, [asked])
        if same:
            torch.testing.assert_close(seen[-1], seen[0], atol=1e-4, rtol=1e-4)


@each
def test_cached_generation_equals_recomputation(saved_family, name):
    bundle = aligned(saved_family(name), name)
    asked = prompts(bundle)
    settings = GenerationSettings(max_new_tokens=4)
    replies = generate_from(bundle, asked, settings)
    ends = {*bundle.encoder.end_of_turn, bundle.tokenizer.eos_token_id}
    for prompt, reply in zip(asked, replies, strict=True):
        inputs = model_inputs(bundle.model, bundle.collator("left")([prompt]))
        with torch.inference_mode():
            uncached = bundle.model.generate(
                **inputs,
                max_new_tokens=4,
                do_sample=False,
                use_cache=False,
                eos_token_id=list(ends),
                pad_token_id=0,
            )[0, prompt.length :].tolist()
        cut = next((n for n, token in enumerate(uncached) if token in ends), len(uncached))
        assert list(reply.tokens) == uncached[:cut]
    plain = generate_from(aligned(saved_family(name), name, plain=True), asked, settings)
    assert plain[0].tokens == replies[0].tokens
    if name != "nano":  # which says one word whatever it sees
        assert [r.tokens for r in plain[1:]] != [r.tokens for r in replies[1:]]
    beams = GenerationSettings(max_new_tokens=3, num_beams=2)
    together = [reply.tokens for reply in generate_from(bundle, asked, beams)]
    assert together == [generate_from(bundle, [prompt], beams)[0].tokens for prompt in asked]


@each
def test_a_level_can_be_asked_for(saved_family, name):
    bundle = aligned(saved_family(name), name)
    (prompt,) = prompts(bundle)[2:3]
    inputs = model_inputs(bundle.model, bundle.collator("left")([prompt]))
    said = []
    for level in range(8):
        with torch.inference_mode():
            kept = bundle.model.generate(**inputs, alignment_levels=level, max_new_tokens=3, do_sample=False)
            given = torch.tensor([level])
            row = logits(bundle, [prompt], alignment_levels=given)[0][-1]
        assert int(kept[0, prompt.length]) == int(row.argmax())
        said.append(row)
    assert (said[0] - said[7]).abs().max() > 1e-3
    assert torch.equal(
        logits(bundle, [prompt], record_levels=torch.tensor([3]))[0], logits(bundle, [prompt])[0]
    )


@each
def test_likelihoods_equal_a_plain_forward(saved_family, name):
    bundle = aligned(saved_family(name), name)
    asked, options = (
        prompts(bundle),
        [bundle.encoder.answer_ids(text) for text in ("a cat", "no", "two of them")],
    )
    for shared in (None, False):
        found = option_logprobs(
            bundle.model, bundle.collator(), [(prompt, options) for prompt in asked], share_prompt=shared
        )
        for prompt, scores in zip(asked, found, strict=True):
            for option, values in zip(options, scores.tokens, strict=True):
                whole = bundle.collator()([extended(prompt, option)])
                learnt = torch.full_like(whole["input_ids"], -100)
                learnt[0, prompt.length :] = torch.tensor(option)
                with torch.inference_mode():
                    row = forward(bundle, whole, labels=learnt).logits[0].log_softmax(-1)
                plain = row[prompt.length - 1 : -1].gather(-1, torch.tensor(option)[:, None])[:, 0]
                torch.testing.assert_close(torch.tensor(values), plain, atol=1e-5, rtol=0)


@each
def test_saved_and_loaded_it_is_the_same(saved_family, name, tmp_path):
    bundle = aligned(saved_family(name), name)
    bundle.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.model.state_dict().keys() == bundle.model.state_dict().keys()
    some = encoded(bundle)
    for one, other in zip(logits(bundle, some), logits(again, some), strict=True):
        assert torch.equal(one, other)
    assert type(again.model).__name__ == type(bundle.model).__name__
    clone = copy.deepcopy(again.model)
    with torch.no_grad():
        again.model.aligngpt.levels.weight.zero_()
    again.model = clone
    assert torch.equal(logits(again, some)[2], logits(bundle, some)[2])


def test_half_precision_and_checkpointing(saved_family):
    bundle = aligned(saved_family("llava"), "llava", learn_levels="mixture")
    batch = bundle.collator()(encoded(bundle))
    bundle.model.train()
    wanted = NextToken()(bundle.model, batch).total()
    wanted.backward()
    gradient = bundle.model.aligngpt.gate.up.weight.grad.clone()
    assert bool(bundle.model.aligngpt.levels.weight.grad.any())
    bundle.model.zero_grad()
    bundle.model.gradient_checkpointing_enable()
    again = NextToken()(bundle.model, batch).total()
    again.backward()
    torch.testing.assert_close(again, wanted)
    torch.testing.assert_close(bundle.model.aligngpt.gate.up.weight.grad, gradient)
    half = bundle.model.to(torch.bfloat16).eval()
    with torch.inference_mode():
        assert torch.isfinite(half(**model_inputs(half, batch)).logits.float()).all()


def test_equal_weights_are_one_constant_token(saved_family):
    bundle = aligned(saved_family("llava"), "llava", weights="uniform", resample=None, image_tokens=None)
    assert set(anatomy.parts(bundle.model)) >= {"aligngpt.levels"} and bundle.model.aligngpt.gate is None
    seen = []
    layer = bundle.model.get_decoder().layers[0]
    layer.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 1].detach()))
    logits(bundle, encoded(bundle)[1:])
    H = bundle.model.aligngpt.levels.weight.detach()
    torch.testing.assert_close(seen[0], (H[:7].mean(0) + H[7]).expand(3, -1))


def test_what_cannot_be_is_said(saved_family):
    bundle = aligned(saved_family("llava"), "llava", resample=None)
    some, model = encoded(bundle), bundle.model
    with pytest.raises(ValueError, match="has 32 visual tokens, the gate was built for 16"):
        logits(bundle, some[1:2])
    model.train()
    batch = bundle.collator()(some[2:])
    with pytest.raises(ValueError, match=r"no alignment level, but aligngpt\.levels trains"):
        NextToken()(model, batch)
    for levels, message in (
        (torch.tensor([8, 0]), "levels go from 0 to 7; got 0 to 8"),
        (torch.tensor([0]), r"one a row; got \(1,\)"),
        (torch.tensor([0, -2]), "an alignment level is -2"),
    ):
        with pytest.raises(ValueError, match=message):
            forward(bundle, batch, alignment_levels=levels)
    model.aligngpt.levels.requires_grad_(False)
    with pytest.raises(ValueError, match="cannot see which tokens are answers"):
        forward(bundle, batch)
    model.eval()
    with pytest.raises(ValueError, match="give those, not inputs_embeds"):
        model(inputs_embeds=torch.zeros(1, 3, 32))
    with (
        applied(model, causal(), batch["layout"]),
        pytest.raises(ValueError, match="aligngpt cannot hold at once"),
    ):
        forward(bundle, batch)
    with pytest.raises(ValueError, match="undergone aligngpt already"):
        operate(model, "aligngpt", {"image_tokens": 4})
    with pytest.raises(ValueError, match="image_tokens is missing"):
        operate(load(saved_family("llava")).model, "aligngpt", {})
    with pytest.raises(ValueError, match="not defined for it"):
        operate(families.build("paligemma"), "aligngpt", {"image_tokens": 4})
    with pytest.raises(ValueError, match="takes no pictures"):
        operate(families.llama(), "aligngpt", {"image_tokens": 4})
    with pytest.raises(ValueError, match="image_tokens has no effect with weights='uniform'"):
        operate(load(saved_family("llava")).model, "aligngpt", {"weights": "uniform", "image_tokens": 4})
    with pytest.raises(ValueError, match="n_levels"):
        operate(load(saved_family("llava")).model, "aligngpt", {"n_levels": 1})


def test_a_plan_needs_no_weights_and_adapters_come_on_top(saved_family):
    from peft import LoraConfig, get_peft_model

    bundle = aligned(saved_family("llava"), "llava")
    with torch.device("meta"):
        shape = families.build("llava", text={"vocab_size": bundle.model.config.get_text_config().vocab_size})
        outline(shape, "aligngpt", {"image_tokens": 16, "resample": True})
    assert {k: v.shape for k, v in shape.aligngpt.state_dict().items()} == {
        k: v.shape for k, v in bundle.model.aligngpt.state_dict().items()
    }
    some = encoded(bundle)
    before = logits(bundle, some)
    bundle.model = get_peft_model(bundle.model, LoraConfig(target_modules=r".*language_model.*q_proj"))
    for row, own in zip(logits(bundle, some), before, strict=True):
        assert torch.equal(row, own)
    assert len(generate_from(bundle, prompts(bundle), GenerationSettings(max_new_tokens=2))) == 4
