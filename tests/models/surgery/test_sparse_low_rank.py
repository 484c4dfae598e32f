"""The layer: its product and its gradients are those of plain operations, and no whole matrix is kept."""

import pytest
import torch
import torch.nn.functional as F

from vitrail.models.surgery.sparse_low_rank import LowRankLinear, SparseLowRankLinear, draw_places

N, M = 12, 10


def layer(seed=0, *, dtype=torch.float64, filled=True, **settings):
    generator = torch.Generator().manual_seed(seed)
    settings = {"rank": 3, "density": 0.2, "alpha": 6.0, "bias": True, **settings}
    made = SparseLowRankLinear(N, M, generator=generator, dtype=dtype, **settings)
    if filled:
        with torch.no_grad():
            made.B.copy_(torch.randn(made.B.shape, generator=generator))
    return made


def inputs(seed=1, dtype=torch.float64):
    return torch.randn(2, 5, N, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def sparse(made):
    flat = torch.zeros(M * N, dtype=made.values.dtype)
    for place, value in zip(made.places.tolist(), made.values.tolist(), strict=True):
        flat[place] += value
    return flat.view(M, N)


def test_without_the_product_it_is_the_sparse_matrix():
    made = layer(filled=False)
    assert torch.equal(made.dense_weight(), sparse(made))
    torch.testing.assert_close(made(inputs()), F.linear(inputs(), sparse(made), made.bias))


def test_without_values_it_is_the_scaled_product():
    made = layer()
    torch.nn.init.zeros_(made.values)
    torch.testing.assert_close(made(inputs()), F.linear(inputs(), 2.0 * made.B @ made.A, made.bias))


@pytest.mark.parametrize("trained_scale", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_are_those_of_plain_operations(bias, trained_scale):
    made = layer(bias=bias, trained_scale=trained_scale)
    found = []
    for run in (made.forward, made.plain):
        x = inputs().requires_grad_()
        made.zero_grad()
        run(x).sin().sum().backward()
        found.append({"x": x.grad, **{name: p.grad for name, p in made.named_parameters()}})
    assert found[0].keys() == found[1].keys() and len(found[0]) == 4 + bias + trained_scale
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, msg=name)


def test_gradcheck():
    made = layer(trained_scale=True)
    tensors = (inputs(), made.B, made.A, made.scale, made.values)
    from vitrail.models.surgery.sparse_low_rank import _Product

    assert torch.autograd.gradcheck(
        lambda x, B, A, scale, values: _Product.apply(x, B, A, torch.tanh(scale), values, made.places, None),
        tuple(one.detach().clone().requires_grad_() for one in tensors),
    )


def test_no_whole_matrix_is_kept_for_the_backward_pass():
    kept = {}
    for name in ("forward", "plain"):
        made, seen = layer(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, seen=seen: (seen.append(t.shape), t)[1], lambda t: t
        ):
            getattr(made, name)(inputs().requires_grad_())
        kept[name] = seen
    whole = {(M, N), (N, M), (M * N,)}
    assert not whole & {tuple(shape) for shape in kept["forward"]}
    assert whole & {tuple(shape) for shape in kept["plain"]}  # the plain way does, so the test can see it


def test_any_matrix_can_be_held_and_becomes_a_linear_layer():
    torch.manual_seed(0)
    wanted = torch.randn(M, N, dtype=torch.float64)
    made = layer(rank=min(M, N))
    u, s, vh = torch.linalg.svd(wanted - sparse(made), full_matrices=False)
    with torch.no_grad():
        made.B.copy_(u * s / (6.0 / min(M, N)))
        made.A.copy_(vh)
    linear = made.to_linear()
    assert type(linear) is torch.nn.Linear
    torch.testing.assert_close(linear.weight.detach(), wanted)
    torch.testing.assert_close(linear(inputs()), made(inputs()))


def test_places_are_different_inside_and_stay():
    made = layer()
    places = made.places.clone()
    assert (
        len(places) == int(0.2 * M * N) == len(places.unique()) and places.min() >= 0 and places.max() < M * N
    )
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.1, weight_decay=0.1)
    values = made.values.detach().clone()
    for step in range(4):
        optimizer.zero_grad()
        made(inputs(step)).square().sum().backward()
        optimizer.step()
    assert torch.equal(made.places, places) and not torch.equal(made.values, values)
    rest = (made.dense_weight() - 2.0 * made.B @ made.A).detach().flatten()
    off = torch.ones(M * N, dtype=torch.bool)
    off[places] = False
    assert float(rest[off].abs().max()) < 1e-15


def test_places_depend_on_the_generator_alone():
    assert torch.equal(layer(3).places, layer(3).places)
    assert not torch.equal(layer(3).places, layer(4).places)


@pytest.mark.parametrize(("total", "count"), [(1000, 3), (1000, 400), (50_000, 7000), (7, 6)])
def test_drawing_is_uniform_without_repetition(total, count):
    generator = torch.Generator().manual_seed(0)
    hits = torch.zeros(total)
    for _ in range(30):
        drawn = draw_places(total, count, generator)
        assert len(drawn) == count == len(drawn.unique()) and torch.equal(drawn, drawn.sort().values)
        hits[drawn] += 1
    halves = hits[: total // 2].mean() / hits[total // 2 :].mean().clamp(min=1e-9)
    assert count < 100 or 0.95 < float(halves) < 1.05


def test_parameters_follow_the_formula():
    for bias in (False, True):
        made = layer(bias=bias)
        assert sum(p.numel() for p in made.parameters()) == 3 * (M + N) + int(0.2 * M * N) + bias * M


def test_low_rank_is_the_same_without_values():
    made = LowRankLinear(N, M, rank=3, alpha=6.0, bias=True, dtype=torch.float64)
    assert made.values is None and sum(p.numel() for p in made.parameters()) == 3 * (M + N) + M
    torch.testing.assert_close(made(inputs()), F.linear(inputs(), 2.0 * made.B @ made.A, made.bias))
    x = inputs().requires_grad_()
    made(x).sum().backward()
    assert float(x.grad.abs().max()) > 0 and float(made.A.grad.abs().max()) > 0


def test_autocast_runs_in_its_type_and_gradients_in_the_parameters():
    made = layer(dtype=torch.float32)
    x = inputs(dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = made(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert {p.grad.dtype for p in made.parameters()} == {torch.float32} and x.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        linear = made.to_linear()(inputs(dtype=torch.float32))
    torch.testing.assert_close(y, linear, atol=0.05, rtol=0.05)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="rank is 0"):
        layer(rank=0)
    with pytest.warns(UserWarning, match="rank 11 of a matrix of 10 × 12"):
        layer(rank=11)
    for density in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match="density is"):
            layer(density=density)
    with pytest.raises(ValueError, match=r"leaves no value in a matrix of 10 × 12; give 8\.3e-03"):
        layer(density=1e-4)


def test_a_state_of_other_places_is_refused():
    state = layer(0).state_dict()
    again = layer(5)
    again.load_state_dict(state)
    assert torch.equal(again.places, layer(0).places)
    with pytest.raises(RuntimeError, match="size mismatch for places"):
        layer(0, density=0.3).load_state_dict(state)
    for broken in (state["places"].flip(0), state["places"] + M * N):
        with pytest.raises(ValueError, match="must be different, sorted and below 120"):
            layer(0).load_state_dict({**state, "places": broken})
