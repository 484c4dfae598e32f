import numpy as np
import pytest

from vitrail.data.mixtures.keeper import LLAMA, EpochPlan, Kept, MixtureKeeper

rng = np.random.default_rng(0)
LENGTHS = {name: rng.integers(20, 200, 400).tolist() for name in LLAMA if name not in ("commoncrawl", "c4")}
DOMAIN = rng.integers(20, 200, 3000).tolist()


def keeper(**changes):
    settings = {"replace": ["commoncrawl", "c4"], "domain": DOMAIN, "seed": 0}
    return MixtureKeeper(changes.pop("proportions", LLAMA), LENGTHS, **{**settings, **changes})


def test_each_source_has_its_share_of_tokens_within_a_document():
    made = keeper()
    for epoch in range(3):
        tokens = made.tokens(made.epoch(epoch, 50_000))
        assert set(tokens) == {"domain", "github", "wikipedia", "books", "arxiv", "stackexchange"}
        for name, share in made.shares.items():
            assert 0 <= tokens[name] - share * 50_000 < 200
    assert made.shares["domain"] == pytest.approx(0.82)


def test_dynamic_reads_on_and_fixed_shuffles():
    dynamic = [{index for name, index in keeper().epoch(e, 50_000) if name == "domain"} for e in (0, 1)]
    assert not dynamic[0] & dynamic[1] and max(dynamic[0] | dynamic[1]) < len(DOMAIN)
    fixed = keeper(mode="fixed")
    first, second = fixed.epoch(0, 50_000), fixed.epoch(1, 50_000)
    assert sorted(first) == sorted(second) and first != second
    assert keeper().epoch(1, 50_000) == keeper().epoch(1, 50_000)


def test_a_pool_smaller_than_an_epoch_repeats_with_a_warning():
    with pytest.warns(UserWarning, match="fewer than the 41,000 of an epoch"):
        epoch = keeper(domain=DOMAIN[:100]).epoch(0, 50_000)
    numbers = [index for name, index in epoch if name == "domain"]
    assert len(numbers) > 100 and set(numbers) == set(range(100))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"proportions": {**LLAMA, "c4": 0.3}}, "sum to 1.15"),
        ({"proportions": {**LLAMA, "c4": 0.05, "patents": 0.1}}, "'patents' has a share, but no documents"),
        ({"replace": []}, "replace is empty"),
        ({"replace": ["c5"]}, "'c5', which has no proportion"),
        ({"domain": []}, "'domain' has a share, but no documents"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        keeper(**changes)


def test_epochs_fit_into_the_budget():
    plan = EpochPlan(budget_tokens=50_000, subset_tokens=5_000, epochs=4, corpus_tokens=90_000)
    assert plan.total_tokens == 20_000 and plan.steps(512) == 40
    for changes, message in (
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 11}, "more than budget_tokens"),
        ({"corpus_tokens": 4_000}, "more than the corpus has"),
        ({"subset_tokens": 0}, "subset_tokens is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            EpochPlan(**{"budget_tokens": 50_000, "subset_tokens": 5_000, "epochs": 4, **changes})


def test_as_a_rule_the_shares_of_what_is_replaced_go_to_the_domain():
    rule = Kept(Kept.Config(replace=("web",), by="domain"))
    names, weights = ["web", "books", "domain"], [0.8, 0.2, 0.0]
    rule.check(names, weights)
    assert rule.shares(names, weights).tolist() == pytest.approx([0, 0.2, 0.8])
    assert rule.unused(names) == ["web"] and rule.redraws
    with pytest.raises(ValueError, match="must sum to 1"):
        rule.check(names, [0.8, 0.4, 0.0])
    with pytest.raises(ValueError, match="'domain' is none of the mixture's sources"):
        rule.check(["web", "books"], [0.8, 0.2])
