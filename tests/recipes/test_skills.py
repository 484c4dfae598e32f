"""A graph from short runs: the skills, the losses on held-out data, and what is refused."""

import pytest

from vitrail.recipes import loading, skills


@pytest.fixture(scope="module")
def recipe():
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    puzzle = {"kind": "puzzle", "task": "addition", "size": 2, "n": 40}
    data = {f"digit-{skill}": {**puzzle, "skill": skill} for skill in (0, 1)}
    data |= {f"{name}-held": {**one, "fold": "development", "n": 8} for name, one in data.items()}
    mixture = {"kind": "mixture", "sources": {"digit-0": 1, "digit-1": 1}}
    stage = {"name": "tune", "data": "digits", "trains": ["all"], "batch_size": 4, "precision": "float32"}
    return loading.load(
        {
            "name": "sums",
            "model": {
                "language": {"config": {"model_type": "llama", **sizes}, "tokenizer": "nano_pretrained"}
            },
            "data": {**data, "digits": mixture},
            "stages": [{**stage, "max_steps": 4, "learning_rate": 1e-2}],
        }
    )


def test_linear_graphs_have_a_row_for_each_source_and_a_column_for_each_held_out_one(recipe):
    held = ["digit-0-held", "digit-1-held"]
    found = skills.learn_graph(recipe, "digits", steps=3, evaluate=held, records=8)
    assert found.train_skills == ["digit-0", "digit-1"] and found.eval_skills == held
    assert (found.matrix > 0).all()  # answers are digits, whichever skill they are learnt from
    again = skills.learn_graph(recipe, "digits", steps=3, evaluate=held, records=8)
    assert found.matrix.tolist() == again.matrix.tolist()


def test_pairs_are_trained_in_equal_shares(recipe, monkeypatch):
    runs = []

    def trained(recipe, place, shares, steps, seed, device):
        runs.append((dict(shares), steps))
        return {"digit-0": 2.0, "digit-1": 1.0 if len(shares) == 2 else 1.5}

    monkeypatch.setattr(skills, "_trained", trained)
    monkeypatch.setattr(skills, "_losses", lambda recipe, names, bundle, records: bundle)
    found = skills.learn_graph(recipe, "digits", steps=3, method="pairwise")
    assert found.matrix.tolist() == [[0.0, 0.5], [0.0, 0.0]]
    assert ({"digit-0": 0.5, "digit-1": 0.5}, 3) in runs


@pytest.mark.parametrize(
    ("mixture", "settings", "message"),
    [
        ("digit", {}, "no stage trains on a mixture called 'digit'; did you mean 'digits'"),
        ("digits", {"evaluate": ["digit-9"]}, "no source called 'digit-9'"),
        ("digits", {"evaluate": ["digit-0"], "method": "pairwise"}, "held-out data for each source"),
    ],
)
def test_what_does_not_fit(recipe, mixture, settings, message):
    with pytest.raises(ValueError, match=message):
        skills.learn_graph(recipe, mixture, steps=2, **settings)
