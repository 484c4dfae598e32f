"""Checkpoints added and subtracted on disk: exact, in pieces, and refused where they do not belong together."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints import copied, moved, rewrite, tensors
from vitrail.models.loading import load
from vitrail.models.weights import difference as module
from vitrail.models.weights.checkpoint import Checkpoint, selected
from vitrail.models.weights.difference import Difference, SavedDifference, pieces
from vitrail.models.weights.norms import norms
from vitrail.models.weights.streaming import add, write_difference


def pair(versions, name="llava"):
    base, tuned = versions(name)
    return Checkpoint.open(base), Checkpoint.open(tuned)


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "internvl", "gemma3"])
def test_base_and_residual_are_the_tuned_model_to_the_bit(name, versions, tmp_path):
    base, tuned = pair(versions, name)
    done = add(base, [Difference(tuned, base)], tmp_path / "sum")
    own, wanted, start = tensors(tmp_path / "sum"), tensors(tuned.folder), tensors(base.folder)
    assert done.changed == done.tensors == len(own)
    assert all(torch.equal(value, wanted[name]) for name, value in own.items())
    # Arithmetic in bfloat16 does not do it.
    naive = {name: start[name] + (wanted[name] - start[name]) for name in own}
    assert not all(torch.equal(naive[name], wanted[name]) for name in own)
    config = load(tmp_path / "sum").model.config
    assert config.vitrail_weights["added"][0]["plus"] == str(tuned.folder)
    assert "base_model_relation: merge" in (tmp_path / "sum" / "README.md").read_text()


def test_a_restored_model_is_the_trained_base_moved_by_the_residual(versions, tmp_path):
    base, tuned = pair(versions)
    moved(copied(base.folder, tmp_path / "trained"), seed=7, size=0.01)
    trained = Checkpoint.open(tmp_path / "trained")
    add(trained, [Difference(tuned, base, scale=0.5)], tmp_path / "sum")
    now, a, b, t = (tensors(f) for f in (tmp_path / "sum", base.folder, tuned.folder, trained.folder))
    for name, value in now.items():
        wanted = t[name].double() + 0.5 * (b[name].double() - a[name].double())
        assert torch.equal(value, wanted.to(value.dtype)), name


def test_a_difference_of_equal_models_is_zero_and_both_ways_cancel(versions, tmp_path):
    base, tuned = pair(versions)
    assert norms(Difference(base, base))[-1].norm == 0
    both = [Difference(tuned, base), Difference(base, tuned)]
    add(base, both, tmp_path / "sum")
    assert Checkpoint.open(tmp_path / "sum").fingerprint == base.fingerprint
    forth, back = (norms(one)[-1] for one in both)
    assert forth.norm == back.norm > 0 and 0 <= forth.unchanged < 0.1


def test_a_saved_difference_is_the_same_and_small_pieces_are_too(versions, tmp_path, monkeypatch):
    base, tuned = pair(versions)
    difference = Difference(tuned, base)
    write_difference(difference, tmp_path / "delta", "float64")
    saved = SavedDifference.open(tmp_path / "delta")
    assert saved.fingerprint == difference.fingerprint and set(saved.names) == set(difference.names)
    add(base, [saved], tmp_path / "sum")
    monkeypatch.setattr(module, "VALUES_A_PIECE", 50)
    add(base, [difference], tmp_path / "pieces")
    one, other = (Checkpoint.open(tmp_path / name).fingerprint for name in ("sum", "pieces"))
    assert one == other == tuned.fingerprint
    assert list(pieces((5, 20), 50)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(pieces((), 50)) == [None]


def test_float32_holds_what_bfloat16_differs_by(versions, tmp_path):
    base, tuned = pair(versions)
    write_difference(Difference(tuned, base), tmp_path / "delta")
    add(base, [SavedDifference.open(tmp_path / "delta")], tmp_path / "sum")
    own, wanted = tensors(tmp_path / "sum"), tensors(tuned.folder)
    differing = sum(int((own[name] != wanted[name]).sum()) for name in own)
    assert differing <= sum(value.numel() for value in own.values()) // 1000


def test_what_is_left_out_stays_and_shards_stay_shards(versions, tmp_path):
    base, tuned = pair(versions)
    sharded = copied(base.folder, tmp_path / "sharded")
    whole = load_file(sharded / "model.safetensors")
    names = list(whole)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in files.items():
        save_file({name: whole[name] for name in own}, sharded / file)
    (sharded / "model.safetensors").unlink()
    weight_map = {name: file for file, own in files.items() for name in own}
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert Checkpoint.open(sharded).fingerprint == base.fingerprint
    tower = Difference(tuned, base, exclude=("vision_tower", "*projector*"))
    add(Checkpoint.open(sharded), [tower], tmp_path / "sum")
    index = json.loads((tmp_path / "sum" / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == weight_map
    now, wanted = tensors(tmp_path / "sum"), tensors(tuned.folder)
    for name, value in now.items():
        kept = name.startswith("vision_tower") or "projector" in name
        assert torch.equal(value, (whole if kept else wanted)[name]), name
    load(tmp_path / "sum")
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model-00002-of-00002\.safetensors"):
        Checkpoint.open(sharded)


def test_a_language_models_difference_goes_into_a_multimodal_one(versions, tmp_path):
    base, tuned = pair(versions)
    inner = "language_model."

    def alone(folder, out):
        place = copied(folder, out)
        own = {n.removeprefix(inner): v for n, v in tensors(folder).items() if n.startswith(inner)}
        save_file(own, place / "model.safetensors")
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config["text_config"], "architectures": None}))
        return Checkpoint.open(place)

    plus, minus = alone(tuned.folder, tmp_path / "plus"), alone(base.folder, tmp_path / "minus")
    with pytest.raises(ValueError, match=r"begin with 'language_model\.'"):
        add(base, [Difference(plus, minus)], tmp_path / "sum")
    add(base, [Difference(plus, minus, into=inner)], tmp_path / "sum")
    now, a, b = tensors(tmp_path / "sum"), tensors(base.folder), tensors(tuned.folder)
    assert all(torch.equal(v, (b if n.startswith(inner) else a)[n]) for n, v in now.items())


def test_rows_of_the_vocabulary_that_only_the_tuned_side_has(versions, tmp_path):
    base, tuned = pair(versions, "qwen2_vl")
    more = copied(tuned.folder, tmp_path / "more")
    rows = base.vocabulary + 3

    def longer(name, value):
        grows = value.shape[:1] == (base.vocabulary,)
        return torch.cat([value, value[:3] + 1]) if grows else value

    rewrite(more, longer)
    config = json.loads((more / "config.json").read_text())
    config["text_config"]["vocab_size"] = rows
    (more / "config.json").write_text(json.dumps(config))
    add(base, [Difference(Checkpoint.open(more), base)], tmp_path / "sum")
    made = Checkpoint.open(tmp_path / "sum")
    assert made.vocabulary == rows and made.fingerprint == Checkpoint.open(more).fingerprint
    assert load(tmp_path / "sum").model.get_input_embeddings().weight.shape[0] == rows
    with pytest.raises(ValueError, match="only rows of the vocabulary may be added"):
        Difference(base, Checkpoint.open(more))


def test_what_does_not_belong_together_is_refused(versions, tmp_path):
    base, tuned = pair(versions)
    other = Checkpoint.open(versions("qwen2_vl")[0])
    with pytest.raises(ValueError, match=r"'qwen2_vl' and .* 'llava': a difference needs one architecture"):
        Difference(other, base)
    for scale in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="give a finite number"):
            Difference(tuned, base, scale=scale)
    with pytest.raises(ValueError, match="leave no tensor"):
        Difference(tuned, base, only=("lenguage_model",))
    with pytest.raises(ValueError, match="nothing is added"):
        add(base, [], tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no delta\.json"):
        SavedDifference.open(base.folder)
    broken = copied(tuned.folder, tmp_path / "broken")
    rewrite(broken, lambda name, value: value / 0 if name.endswith("q_proj.weight") else value)
    with pytest.raises(ValueError, match=r"q_proj\.weight .* values that are not finite"):
        add(base, [Difference(Checkpoint.open(broken), base)], tmp_path / "sum")
    assert not (tmp_path / "sum").exists()
    vocabulary = copied(tuned.folder, tmp_path / "vocabulary")
    told = json.loads((vocabulary / "tokenizer.json").read_text())
    *_, first, second = told["model"]["vocab"]
    vocab = told["model"]["vocab"]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (vocabulary / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="their tokenizers differ"):
        Difference(Checkpoint.open(vocabulary), base)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, value: value.to(torch.int8), "which cannot be added to"),
        (None, "adapters that are not merged"),
    ],
)
def test_quantised_weights_and_adapters_are_refused(change, message, versions, tmp_path):
    place = copied(versions("llava")[0], tmp_path / "other")
    if change is not None:
        rewrite(place, change)
    else:
        save_file({"base_model.model.x.lora_A.weight": torch.ones(2)}, place / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        Checkpoint.open(place)
    config = json.loads((place / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (place / "config.json").write_text(json.dumps(config))
    if change is not None:
        with pytest.raises(ValueError, match="quantised weights"):
            Checkpoint.open(place)
    (place / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="merge it first"):
        Checkpoint.open(place)


def test_a_cut_off_file_and_what_was_added_before_are_told(versions, tmp_path):
    base, tuned = pair(versions)
    add(base, [Difference(tuned, base)], tmp_path / "once")
    done = add(Checkpoint.open(tmp_path / "once"), [Difference(tuned, base)], tmp_path / "twice")
    assert "already; it is added once more" in done.notes[0]
    file = tmp_path / "once" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cut off"):
        Checkpoint.open(tmp_path / "once")


def test_names_are_chosen_by_beginnings_and_patterns():
    fits = selected(("model.layers", "*.norm.*"), ("model.layers.1",))
    assert [fits(name) for name in ("model.layers.0.a", "model.layers.1.a", "model.layers.10.a")] == [1, 0, 1]
    assert fits("x.norm.weight") and not fits("model.layers2.a")
