"""Routed layers: against a plain loop over tokens, with caches of their own, in training and at inference."""

import copy

import pytest
import torch

import families
from conftest import chat
from models.rules import samples
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.models import anatomy
from vitrail.models.caching import cache_argument, cache_of
from vitrail.models.loading import load
from vitrail.models.surgery import operating
from vitrail.models.surgery.routing import recorded
from vitrail.models.surgery.routing_costs import kept_in_training, routed_flops, statistics
from vitrail.models.testbeds import nano

FAMILIES = ("llava", "qwen2_5_vl", "smolvlm", "ours")


def settings(family, **more):
    positions = "original" if family == "qwen2_5_vl" else "reindex"
    return {"layers": [0, 2], "positions": positions, **more}


def routed(family, **more):
    model = samples.build(family)
    operating.operate(model, "gamma_mod", settings(family, **more), seed=1)
    with torch.no_grad():  # far from an even chance, so that thresholds tell tokens apart
        for router in model.gamma_mod.router.values():
            router.weight.mul_(4)
    return model


def two(model, family, side="right"):
    rows = [[samples.sample(model, family, 1, words=5)], [samples.sample(model, family, 2, words=8)]]
    return samples.batch(rows, side)


@torch.no_grad()
def run(model, inputs, **more):
    samples.forget(model)
    with recorded() as passes:
        logits = model(**inputs, use_cache=False, **more).logits
    return logits, passes[-1]


def force(model, monkeypatch, p=1.0):
    """Every router says p, with certainty."""
    logits = torch.tensor([0.0, 60.0] if p == 1.0 else [60.0, 0.0])
    for router in model.gamma_mod.router.values():
        monkeypatch.setattr(router, "forward", lambda x: logits.expand(*x.shape[:-1], 2))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_with_nothing_skipped_and_p_of_one_it_is_the_original(family, training, monkeypatch):
    plain = samples.build(family)
    model = routed(family, skip=0.0)
    force(model, monkeypatch)
    inputs, _ = samples.batch([[samples.sample(plain, family, 1)]])
    plain.train(training), model.train(training)
    assert torch.equal(run(model, inputs)[0], samples.logits(plain, inputs, use_cache=False))


@torch.no_grad()
def loop(layer, hidden, kept, p, positions):
    """One routed layer for one row, token by token, by the layer's own parts."""
    result = hidden.clone()
    states = layer.input_layernorm(hidden)
    attention = layer.self_attn
    heads, shape = attention.config.num_attention_heads, (-1, attention.head_dim)
    cos, sin = positions

    def turned(x, at):
        half = x.shape[-1] // 2
        return x * cos[at] + torch.cat([-x[..., half:], x[..., :half]], -1) * sin[at]

    keys, values = [], []
    for place, token in enumerate(kept):
        x = states[token]
        keys.append(turned(attention.k_proj(x).view(shape), place))
        values.append(attention.v_proj(x).view(shape))
        q = turned(attention.q_proj(x).view(shape), place)
        times = heads // keys[0].shape[0]
        k = torch.stack(keys).repeat_interleave(times, 1)
        v = torch.stack(values).repeat_interleave(times, 1)
        weights = (torch.einsum("hd,khd->hk", q, k) * attention.scaling).softmax(-1)
        y = hidden[token] + attention.o_proj(torch.einsum("hk,khd->hd", weights, v).flatten())
        result[token] = y + p[token] * layer.mlp(layer.post_attention_layernorm(y))
    return result


@pytest.mark.parametrize("positions", ["reindex", "original"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", ["llava", "smolvlm", "ours"])
def test_it_equals_a_loop_over_tokens(family, training, positions):
    model = routed(family, positions=positions, prompt_threshold=0.5).train(training)
    seen = {}
    layer = model.get_decoder().layers[2]
    # prepended: before the tokens leave; and after they came back
    layer.register_forward_pre_hook(
        lambda _, args, kw: seen.update(before=args[0]), with_kwargs=True, prepend=True
    )
    layer.register_forward_hook(lambda _, args, out: seen.update(after=out))
    inputs, _ = samples.batch([[samples.sample(model, family, 1)]])
    _, made = run(model, inputs)
    kept = made.kept[2][0].tolist()
    assert 0 < len(kept) < inputs["input_ids"].shape[1]
    p = made.logits[2][0].softmax(-1)[:, 1]
    places = torch.arange(len(kept))[None] if positions == "reindex" else torch.tensor([kept])
    cos, sin = model.get_decoder().rotary_emb(seen["before"], places)
    wanted = loop(layer, seen["before"][0], kept, p, (cos[0], sin[0]))
    torch.testing.assert_close(seen["after"][0], wanted, atol=1e-5, rtol=1e-5)
    skipped = [token for token in range(len(wanted)) if token not in kept]
    assert torch.equal(seen["after"][0][skipped], seen["before"][0][skipped])
    assert not torch.equal(seen["after"][0][kept], seen["before"][0][kept])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_equal_single_runs(family, training, side):
    model = routed(family, prompt_threshold=0.5).train(training)
    inputs, layout = two(model, family, side)
    together, made = run(model, inputs)
    for row, words in enumerate((5, 8)):
        one = samples.sample(model, family, row + 1, words=words)
        alone, single = run(model, samples.batch([[one]])[0])
        there = layout.present[row]
        assert samples.apart(together[row][there], alone[0]) < samples.CLOSE
        for layer in (0, 2):
            assert torch.equal(made.mask(layer)[row][there], single.mask(layer)[0])


@pytest.mark.parametrize("skip", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_kept_and_the_count_is_exact(family, skip):
    model = routed(family, skip=skip).train()
    inputs, layout = two(model, family)
    _, made = run(model, inputs)
    for layer in (0, 2):
        mask = made.mask(layer)
        assert bool(mask[layout.present & ~layout.visual].all()) and not mask[~layout.present].any()
        for row in range(2):
            tokens, pictures = int(layout.present[row].sum()), int(layout.visual[row].sum())
            wanted = kept_in_training(model.gamma_mod, tokens, pictures)[layer]
            assert int(mask[row].sum()) == wanted == tokens - int(skip * pictures)
        p = made.logits[layer].softmax(-1)[..., 1]
        kept, left = p[mask & layout.visual], p[~mask & layout.visual]
        assert len(left) and (not len(kept) or kept.max() >= left.min())
    shares = {one.layer: one for one in statistics([made])}
    assert shares[0].others == 1 and shares[0].droppable == pytest.approx(1 - skip, abs=0.3)


def test_later_tokens_change_nothing_before_when_the_choice_stands():
    model = routed("llava", prompt_threshold=0.5)
    inputs, _ = samples.batch([[samples.sample(model, "llava", 1)]])
    before, _ = run(model, inputs)
    inputs["input_ids"][0, -1] += 1
    after, _ = run(model, inputs)
    assert torch.equal(before[:, :-1], after[:, :-1]) and not torch.equal(before[:, -1], after[:, -1])


@pytest.mark.parametrize("kind", ["shared", "per_layer", "modality"])
def test_routers_and_their_gradients(kind):
    model = routed("llava", router=kind).train()
    inputs, _ = two(model, "llava")
    routers = {"shared": 1, "per_layer": 2, "modality": 2}[kind]
    names = [name for name, _ in model.named_parameters(remove_duplicate=False) if "gamma_mod" in name]
    assert len(names) == routers == len(list(anatomy.part(model, "gamma_mod.router").parameters()))
    for part in ("words", "routing"):
        model.zero_grad()
        with recorded() as passes:
            logits = model(**inputs, use_cache=False).logits
        loss = logits.logsumexp(-1).sum() if part == "words" else passes[-1].loss()
        loss.backward()
        for parameter in model.gamma_mod.parameters():
            assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, part


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_nothing(family):
    inputs, found = None, []
    for checkpointing in (False, True):
        model = routed(family).train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        inputs, _ = two(model, family)
        samples.forget(model)
        with recorded() as passes:
            logits = model(**inputs, use_cache=False).logits
        (logits.logsumexp(-1).mean() + passes[-1].loss() * 0.01).backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, msg=name, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", ["single", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_with_caches_equals_decoding_without(family, side):
    model = routed(family, prompt_threshold=0.5, threshold=0.5)
    one = samples.batch([[samples.sample(model, family, 1)]])[0]
    inputs = one if side == "single" else two(model, family, "left")[0]
    with recorded() as passes:
        cached = samples.generate(model, inputs, 6)
    lengths = [layer.keys.shape[-2] for layer in cache_of(cached).layers] if side == "single" else None
    whole = inputs["input_ids"].shape[1] + 5
    if lengths:
        kept = {layer: sum(int((run.kept[layer] >= 0).sum()) for run in passes) for layer in (0, 2)}
        assert lengths == [kept[0], whole, kept[2]] and min(lengths) < whole
    bare = samples.generate(model, inputs, 6, use_cache=False)
    assert torch.equal(cached.sequences, bare.sequences)
    for step, wanted in zip(cached.logits, bare.logits, strict=True):
        assert samples.apart(step, wanted) < samples.CLOSE


def test_a_token_that_skips_leaves_the_cache_as_it_was(monkeypatch):
    model = routed("llava")
    inputs, _ = samples.batch([[samples.sample(model, "llava", 1)]])
    with torch.no_grad():
        force(model, monkeypatch)
        output = model(**inputs, use_cache=True)
        cache = cache_of(output)
        before = cache.layers[0].keys.clone()
        force(model, monkeypatch, p=0.0)
        model(input_ids=torch.tensor([[7]]), **{cache_argument(model): cache})
    assert torch.equal(cache.layers[0].keys, before)
    assert cache.layers[1].keys.shape[-2] == before.shape[-2] + 1 == cache.get_seq_length()


def test_beams_follow_their_caches():
    model = routed("llava", prompt_threshold=0.5)
    inputs, _ = two(model, "llava", "left")
    cached = samples.generate(model, inputs, 5, num_beams=3)
    bare = samples.generate(model, inputs, 5, num_beams=3, use_cache=False)
    assert torch.equal(cached.sequences, bare.sequences)


def test_eager_attention_gives_the_same():
    found = []
    for attention in ("sdpa", "eager"):
        model = samples.build("llava", attention)
        operating.operate(model, "gamma_mod", settings("llava"), seed=1)
        inputs, layout = two(model, "llava")
        found.append(run(model.train(), inputs)[0][layout.present])
    assert samples.apart(*found) < samples.CLOSE


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_it_comes_back_from_a_folder(family, tmp_path):
    bundle = load(families.save_family(family, tmp_path / "base"))
    operating.operate(bundle.model, "gamma_mod", settings(family, router="per_layer"), seed=2)
    bundle.save(tmp_path / "changed")
    again = load(tmp_path / "changed")
    limits = GenerationSettings(max_new_tokens=5)
    questions = [chat("What is it?", seed=3), chat("And what colour is this one?", seed=4)]
    assert generate(again, questions, limits) == generate(bundle, questions, limits)
    for a, b in zip(again.model.gamma_mod.parameters(), bundle.model.gamma_mod.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_copy_routes_by_its_own_routers():
    model = routed("llava", prompt_threshold=0.5)
    inputs, _ = samples.batch([[samples.sample(model, "llava", 1)]])
    before, made = run(model, inputs)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.gamma_mod.router["shared"].weight.neg_()
    after, changed = run(other, inputs)
    assert torch.equal(changed.mask(0), ~made.mask(0)) and not torch.equal(before, after)
    assert torch.equal(run(model, inputs)[0], before)


def test_operations_fall_as_predicted():
    from torch.utils.flop_counter import FlopCounterMode

    counted, predicted = [], []
    for skip in (0.0, 0.9):
        model = routed("llava", skip=skip).train()
        inputs, layout = samples.batch([[samples.sample(model, "llava", 1)]])
        tokens, pictures = layout.shape[1], int(layout.visual.sum())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(**inputs, use_cache=False, logits_to_keep=1)
        kept = kept_in_training(model.gamma_mod, tokens, pictures)
        linear = 2 * sum(
            m.in_features * m.out_features
            for m in model.get_decoder().layers[0].modules()
            if hasattr(m, "in_features")
        )
        counted.append(counter.get_total_flops())
        predicted.append(routed_flops(model, tokens, kept))
    gone, pairs = tokens - kept[0], tokens * (tokens + 1) - kept[0] * (kept[0] + 1)
    assert kept[0] < tokens
    assert predicted[0] - predicted[1] == 2 * (linear * gone + 2 * 32 * pairs)
    # The counter sees the linear layers, and no product inside attention on a CPU, or the whole square of it.
    rotary = 2 * gone * 4 * 2
    square = 2 * 4 * 32 * (tokens**2 - kept[0] ** 2)
    less = counted[0] - counted[1] - 2 * linear * gone
    assert less in (0, square, rotary, square + rotary)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"layers": "auto"}, "choose_layers"),
        ({"layers": [3]}, "layers names 3, but this model has layers 0 to 2"),
        ({"layers": [-1]}, "layers names -1"),
        ({"layers": "inner"}, "none of this model's 3"),
    ],
)
def test_layers_that_are_not_there_are_refused(more, said):
    with pytest.raises(ValueError, match=said):
        operating.operate(samples.build("llava"), "gamma_mod", settings("llava", **more))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"three axes.*set positions: original"):
        operating.operate(samples.build("qwen2_5_vl"), "gamma_mod", {"layers": [1]})
    with pytest.raises(ValueError, match="norms behind its branches"):
        operating.operate(samples.build("gemma3"), "gamma_mod", {"layers": [1]})
    with pytest.raises(ValueError, match="skip"):
        operating.build("gamma_mod", {"skip": 1.0})
    model = routed("llava")
    with pytest.raises(ValueError, match="routed layers already"):
        operating.operate(model, "gamma_mod", settings("llava"))
    model.train()
    with pytest.raises(ValueError, match="which tokens may skip"):
        model(inputs_embeds=torch.randn(1, 6, 32), use_cache=False)
    model.eval()
    prompt = {"input_ids": torch.arange(5, 12)[None], "attention_mask": torch.ones(1, 7, dtype=torch.long)}
    with pytest.raises(ValueError, match="a StaticCache cannot hold"):
        model.generate(**prompt, cache_implementation="static", max_new_tokens=2, disable_compile=True)


def test_a_rule_that_drops_tokens_is_refused_and_one_that_masks_is_not():
    from vitrail.models.rules import applied, keep_attended, visual_isolated

    model = routed("llava").train()
    inputs, layout = two(model, "llava")
    with applied(model, keep_attended(1, 0.5), layout), pytest.raises(ValueError, match="use one of the two"):
        model(**inputs, use_cache=False)
    plain, _ = run(model, inputs)
    with applied(model, visual_isolated(), layout):
        masked, _ = run(model, inputs)
    assert not torch.allclose(plain[layout.present], masked[layout.present])


def test_a_batch_without_pictures_keeps_every_token():
    model = nano.build(seed=0).model
    operating.operate(model, "gamma_mod", {"layers": [1]})
    ids = torch.arange(5, 15)[None]
    _, made = run(model.train(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert bool(made.mask(1).all())
