import warnings

import numpy as np
import pytest

from vitrail.data.mixtures.skill_graph import SkillGraph
from vitrail.data.mixtures.skill_it import SkillIt, SkillItSampler

NAMES = ["a", "b", "c"]


def graph(matrix, train=None, evaluated=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix = np.array(matrix, dtype=float)
        train = train or [f"s{i}" for i in range(len(matrix))]
        return SkillGraph(matrix, train, evaluated)


def sampler(matrix, eta=0.5, evaluated=None, **options):
    return SkillItSampler(graph(matrix, evaluated=evaluated), eta, **options)


def test_a_plain_reference_gives_the_same_shares():
    rng = np.random.default_rng(0)
    matrix, prior = rng.normal(size=(4, 4)), rng.random(4)
    made, history = sampler(matrix, eta=0.3, window=3, prior=prior), []

    def reference(losses):
        weights = [prior[i] * np.exp(0.3 * sum(matrix[i, j] * losses[j] for j in range(4))) for i in range(4)]
        return [weight / sum(weights) for weight in weights]

    assert made.mixture == pytest.approx(reference(np.ones(4)))
    for _ in range(6):
        history.append(rng.random(4))
        assert made.update(history[-1]) == pytest.approx(reference(sum(history[-3:])))


def test_an_identity_graph_with_equal_losses_is_even_and_no_step_size_keeps_the_prior():
    made = sampler(np.eye(3))
    assert made.mixture == pytest.approx([1 / 3] * 3) and made.update([2, 2, 2]) == pytest.approx([1 / 3] * 3)
    still = sampler(np.random.default_rng(0).random((3, 3)), eta=0.0, prior=[1, 2, 5])
    assert still.update([9, 1, 4]) == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_a_higher_loss_favours_what_influences_it():
    matrix = np.random.default_rng(1).random((3, 3))
    low, high = sampler(matrix).update([1, 1, 1]), sampler(matrix).update([1, 3, 1])
    for i in range(3):
        for k in range(3):
            if matrix[i, 1] > matrix[k, 1]:
                assert high[i] / high[k] >= low[i] / low[k]
    even = matrix / matrix.sum(axis=1, keepdims=True)
    assert sampler(even).update([1, 2, 3]) == pytest.approx(sampler(even).update([8, 9, 10]))


def test_only_the_window_counts():
    matrix = np.random.default_rng(2).random((3, 3))
    one, other = sampler(matrix, window=1), sampler(matrix, window=1)
    one.update([5, 1, 1])
    assert one.update([1, 2, 3]) == pytest.approx(other.update([1, 2, 3]))
    one, other = sampler(matrix, window=2), sampler(matrix, window=2)
    for losses in ([5, 1, 1], [1, 2, 3], [3, 2, 1]):
        one.update(losses)
    for losses in ([0, 7, 2], [1, 2, 3], [3, 2, 1]):
        other.update(losses)
    assert one.mixture == pytest.approx(other.mixture)


def test_skills_that_help_the_target_alike_have_equal_shares():
    rule = SkillIt(SkillIt.Config(graph=((1, 0, 1), (0, 1, 1), (0, 0, 1)), every=10, targets=("c",)))
    made = rule.sampler(NAMES, [1, 1, 1])
    assert rule.evaluated(NAMES) == ["c"] and made.graph.matrix.tolist() == [[0.5], [0.5], [1.0]]
    made.update([2.0])
    after = made.update([4.0])
    assert after[0] == after[1] and after[2] / after[0] == pytest.approx(np.exp(0.5 * 0.5 * 3.0))


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_losses_of_any_size_give_shares(scale):
    found = sampler(np.random.default_rng(3).normal(size=(5, 5))).update(scale * np.arange(1.0, 6))
    assert found.min() >= 0 and found.sum() == pytest.approx(1) and np.isfinite(found).all()


def test_a_resumed_sampler_gives_the_same_shares():
    matrix, losses = np.random.default_rng(4).random((3, 3)), np.random.default_rng(5).random((9, 3))
    options = {
        "window": 2,
        "damping": True,
        "normalise": True,
        "eta_schedule": True,
        "initial_losses": [3, 2, 1],
    }
    whole = sampler(matrix, **options)
    expected = [whole.update(row).tolist() for row in losses]
    first = sampler(matrix, **options)
    for row in losses[:4]:
        first.update(row)
    second = sampler(matrix, **options)
    second.load_state_dict(first.state_dict())
    assert [second.update(row).tolist() for row in losses[4:]] == expected[4:]
    with pytest.raises(ValueError, match="of other skills"):
        sampler(np.eye(2)).load_state_dict(first.state_dict())


def test_options_do_what_they_say():
    matrix = [[1.0, 0.9, 0], [0, 1.0, 0], [0, 0, 1.0]]
    assert sampler(matrix, keep_isolated=True).update([9, 1, 50])[2] == pytest.approx(1 / 3)
    halved = sampler(matrix, damping=True)
    halved.update([1, 1, 1])
    after = halved.update([2, 2, 2])
    assert np.log(after[0] / after[1]) == pytest.approx(0.5 * 0.9 * 0.25 * 3)
    scaled = sampler(matrix, normalise=True)
    scaled.update([10, 1, 1])
    assert scaled.update([10, 1, 1]) == pytest.approx(sampler(matrix, window=2).update([2, 2, 2]))
    grown = sampler(matrix, eta_schedule=True, window=1)
    grown.update([4, 4, 4])
    assert grown.update([1, 1, 1]) == pytest.approx(sampler(matrix, eta=2.0, window=1).update([1, 1, 1]))


def test_on_a_chain_it_learns_faster_than_equal_shares():
    k, alpha, rounds = 5, 0.3, 12
    chain = np.eye(k) + 0.9 * np.eye(k, k=1)
    made, own, even = sampler(chain, eta=0.5, window=1), np.ones(k), np.ones(k)
    for _ in range(rounds):
        own = own * (1 - alpha * chain.T @ made.mixture)
        even = even * (1 - alpha * chain.T @ np.full(k, 1 / k))
        made.update(own)
    assert own.mean() < even.mean() - 0.003


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"window": 0}, "window is 0"),
        ({"eta": -1}, "eta is -1"),
        ({"prior": [1, 1]}, "2 shares for 3 training skills"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sampler(np.eye(3), **settings)


def test_losses_that_are_none_are_refused():
    with pytest.raises(ValueError, match="2 losses for the 3 evaluated skills"):
        sampler(np.eye(3)).update([1, 2])
    with pytest.raises(ValueError, match="loss of 's1' is not a finite number"):
        sampler(np.eye(3)).update([1, float("nan"), 2])


def test_graphs_are_checked():
    with pytest.raises(ValueError, match=r"graph\[0\]\[1\] is nan"):
        SkillGraph([[1, np.nan], [0, 1]], ["a", "b"])
    with pytest.raises(ValueError, match=r"shape \(2, 2\).*\(2, 3\)"):
        SkillGraph([[1, 0], [0, 1]], ["a", "b"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="different lengths"):
        SkillGraph([[1, 0], [0]], ["a", "b"])
    with pytest.raises(ValueError, match="'a' is named twice"):
        SkillGraph([[1, 0], [0, 1]], ["a", "a"])
    with pytest.warns(UserWarning, match="no skill of the graph helps"):
        SkillGraph([[-1, 0], [0, -2]], ["a", "b"])
    with pytest.warns(UserWarning, match="no order to exploit"):
        SkillGraph(np.ones((3, 3)), NAMES)
    with pytest.warns(UserWarning, match="hardly a skill helps another"):
        SkillGraph(np.eye(3), NAMES)


def test_a_binary_graph_is_damped_and_a_weighted_one_is_not():
    assert graph([[0, 1], [0, 1]]).damped().matrix.tolist() == [[1, 0.5], [0, 1]]
    published = [[1.342, 0], [0.732, 0.875]]
    assert graph(published).damped().matrix.tolist() == published


def test_a_graph_is_learnt_from_runs():
    """Losses fall by what the true graph says, so that the linear method finds it up to scale."""
    true, calls = np.array([[1.0, 0.5], [0.0, 1.0]]), []

    def train(mixture, steps, seed):
        calls.append((tuple(mixture), steps))
        p = np.array([mixture.get(name, 0.0) for name in ("a", "b")])
        return np.ones(2) * (1 - 0.01 * true.T @ p) ** steps

    def evaluate(losses):
        return {"a": losses[0], "b": losses[1]}

    learnt = SkillGraph.learn(train, evaluate, ["a", "b"], steps=10, seeds=(0, 1))
    assert (
        learnt.matrix[0, 1] / learnt.matrix[1, 1] == pytest.approx(0.5, abs=0.03) and learnt.matrix[1, 0] == 0
    )
    assert len(calls) == 2 * 3
    pairs = SkillGraph.learn(train, evaluate, ["a", "b"], steps=10, method="pairwise", binary=True)
    assert pairs.matrix.tolist() == [[1, 0], [0, 1]]  # half the steps on b, with half the help, are not more
    with pytest.raises(ValueError, match="use 'linear'"):
        SkillGraph.learn(train, evaluate, ["a", "b"], ["c"], steps=10, method="pairwise")
