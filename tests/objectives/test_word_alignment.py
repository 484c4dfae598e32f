"""Word alignment: equal to the plain sums of its equations, and it teaches a connector to name."""

from __future__ import annotations

import math

import pytest
import torch

from conftest import chat
from vitrail.objectives.word_alignment import WordAlignment, best_match, word_weights


def batch_of(bundle, *records):
    return bundle.collator()([bundle.encoder.encode(record) for record in records])


def records():
    return [
        chat("what?", "a red cat", seed=1),
        chat("what?", "a blue dog", seed=2),
        chat("what?", "a red dog", images=2, seed=3),
    ]


def test_terms_equal_the_slow_sums(nano):
    objective = WordAlignment(WordAlignment.Config(temperature=0.1))
    batch = batch_of(nano, *records())
    loss = objective(nano.model, batch)
    table = nano.model.get_input_embeddings().weight.detach()
    mean = table.mean(0)
    visual = nano.model(pixel_values=batch["pixel_values"]).image_hidden_states.detach()
    per_row = [4, 4, 8]
    tokens = list(torch.split(visual - mean, per_row))
    end = nano.model.generation_config.eos_token_id
    texts = [sorted({int(t) for t in row if t not in (-100, end)}) for row in batch["labels"]]
    vocabulary = sorted({word for text in texts for word in text})

    def match(i, word):
        e = table[word] - mean
        return max(float(torch.cosine_similarity(v, e, dim=0)) for v in tokens[i])

    rarity = {w: math.log(3 / sum(w in text for text in texts)) for w in vocabulary}
    share = [{w: rarity[w] / sum(rarity[x] for x in text) for w in text} for text in texts]
    m = [[match(i, w) / 0.1 for w in vocabulary] for i in range(3)]
    words = -sum(
        share[i].get(w, 0) * (m[i][k] - math.log(sum(math.exp(x) for x in m[i])))
        for i in range(3)
        for k, w in enumerate(vocabulary)
    )
    s = torch.tensor(
        [[sum(a * match(i, w) for w, a in share[j].items()) / 0.1 for j in range(3)] for i in range(3)]
    )
    pairs = -(s.log_softmax(1).diagonal().sum() + s.log_softmax(0).diagonal().sum()) / 2
    assert float(loss.sums["words"]) == pytest.approx(words, abs=1e-4)
    assert float(loss.sums["pairs"]) == pytest.approx(float(pairs), abs=1e-4)
    assert loss.counts["words"] == objective.count(batch) == 3
    usual = (table[vocabulary] - mean).norm(dim=-1).mean()
    norm = ((visual - mean).norm(dim=-1) / usual - 1).square().mean() * 3
    assert float(loss.sums["norm"]) == pytest.approx(float(norm), rel=1e-4)


def test_rows_without_a_picture_or_a_text_change_nothing(nano):
    objective = WordAlignment()
    plain = objective(nano.model, batch_of(nano, *records()))
    extra = [chat("hello", "good day", images=0), chat("what is this?", images=1, seed=9)]
    mixed = objective(nano.model, batch_of(nano, extra[0], *records(), extra[1]))
    assert float(mixed.sums["words"]) == pytest.approx(float(plain.sums["words"]), abs=1e-4)
    assert float(mixed.sums["pairs"]) == pytest.approx(float(plain.sums["pairs"]), abs=1e-4)
    assert mixed.counts["words"] == 3


def test_gradients_reach_connector_and_temperature_only(fresh_nano):
    objective = WordAlignment()
    model = fresh_nano.model
    model.requires_grad_(True)
    objective(model, batch_of(fresh_nano, *records())).total().backward()
    reached = {
        name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert reached == {"tower", "connector"} and objective.log_scale.grad != 0


def test_a_connector_learns_to_name_what_it_sees(fresh_nano):
    torch.manual_seed(0)
    objective, model = WordAlignment(), fresh_nano.model
    batch = batch_of(
        fresh_nano,
        *(chat("what?", f"a {word}", seed=s) for s, word in enumerate(("cat", "dog", "tree", "car"))),
    )
    optimiser = torch.optim.Adam([*model.connector.parameters(), *objective.parameters()], lr=1e-2)
    first = None
    for _ in range(60):
        loss = objective(model, batch).total()
        first = first if first is not None else float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < first / 3


def test_word_weights_prefer_rare_words():
    labels = torch.tensor([[-100, 5, 7, 2], [5, 8, -100, 2], [5, 5, 8, 2]])
    vocabulary, weights = word_weights(labels, special=2)
    assert vocabulary.tolist() == [5, 7, 8]
    assert weights[0].tolist() == pytest.approx([0, 1, 0]) and weights[1].tolist() == pytest.approx([0, 0, 1])
    _, uniform = word_weights(torch.tensor([[5, 6], [5, 6]]), special=2)
    assert uniform.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_best_match_is_a_maximum_over_the_rows_own_tokens():
    tokens, words = torch.randn(5, 4), torch.randn(3, 4)
    found = best_match(tokens, torch.tensor([2, 0, 3]), words)
    cosine = torch.cosine_similarity(tokens[:, None], words[None], dim=-1)
    torch.testing.assert_close(found[0], cosine[:2].amax(0))
    torch.testing.assert_close(found[2], cosine[2:].amax(0))
    assert (found[1] == -1).all()


def test_a_batch_of_one_cannot_be_contrasted(nano):
    with pytest.raises(
        ValueError, match="fewer than two records with a picture and a text; raise batch_size"
    ):
        WordAlignment()(nano.model, batch_of(nano, records()[0]))
