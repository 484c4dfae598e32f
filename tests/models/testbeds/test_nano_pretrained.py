"""The testbed of pretrained tiny parts: the files are those described, the parts know their job, and it learns."""

import hashlib
import json
from importlib import resources

import pytest
import torch

from vitrail.data.scenes import suite
from vitrail.models.testbeds import nano_pretrained
from vitrail.recipes.datasets import EncodedRecords
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage

FOLDER = resources.files("vitrail.models.testbeds").joinpath("parts")


@pytest.fixture(scope="module")
def scenes():
    return suite(nano_pretrained.SUITE)


def test_the_files_are_those_described_and_small(scenes):
    told = json.loads(FOLDER.joinpath("parts.json").read_text())
    assert set(told) == {"tower", "language", "tokenizer"}
    for part in told.values():
        data = FOLDER.joinpath(part["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == part["sha256"]
        assert part["suite"] == scenes.fingerprint and part["fold"] == "train"
        assert part["names"] == ["known", "helpers"] and part["command"].startswith(
            "python scripts/nano_parts.py"
        )
    assert sum(len(entry.read_bytes()) for entry in FOLDER.iterdir() if entry.is_file()) < 4_000_000


def test_another_file_is_refused(monkeypatch):
    told = {**nano_pretrained.parts(), "tower": {**nano_pretrained.parts()["tower"], "sha256": "0" * 64}}
    monkeypatch.setattr(nano_pretrained, "parts", lambda: told)
    with pytest.raises(ValueError, match=r"tower.safetensors .* not 000.*scripts/nano_parts.py"):
        nano_pretrained.load_tower()


def test_equal_seeds_give_equal_models_and_only_the_connector_is_fresh():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (nano_pretrained.build(seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert differing and all(name.startswith("connector.") for name in differing)


def test_it_survives_saving_and_answers_the_same(tmp_path, scenes):
    from vitrail.models.loading import load

    bundle = nano_pretrained.build()
    bundle.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    batch = bundle.collator("left")(
        [bundle.encoder.encode(scenes.questions(n=1)[0], add_generation_prompt=True)]
    )
    batch.pop("labels")
    said = [
        one.model.generate(**batch, max_new_tokens=4, do_sample=False).tolist() for one in (bundle, loaded)
    ]
    assert said[0] == said[1]


def test_the_tower_tells_things_apart(scenes):
    """Each thing alone in a new scene is nearest to the mean of its own name over other scenes."""
    tower = nano_pretrained.load_tower()
    chosen = scenes.conversations("development", seed=0, n=300)
    found = [scene for scene in map(chosen.scene, range(300)) if len(scene.objects) == 1]
    pixels = torch.stack([torch.from_numpy(scene.pixels.transpose(2, 0, 1).copy()) for scene in found])
    with torch.no_grad():
        cells = tower(pixels.float() / 127.5 - 1).tokens.reshape(len(found), 8, 8, -1)
    seen = []
    for scene, grid in zip(found, cells, strict=True):
        x1, y1, x2, y2 = scene.objects[0].box
        seen.append(grid[(y1 + y2) // 16, (x1 + x2) // 16])
    names = [scene.objects[0].name for scene in found]
    vectors = torch.nn.functional.normalize(torch.stack(seen), dim=-1)
    alike = vectors @ vectors.T - 2 * torch.eye(len(names))
    right = [
        names[int(row.argmax())] == name
        for name, row in zip(names, alike, strict=True)
        if names.count(name) > 1
    ]
    assert len(right) > 40 and sum(right) / len(right) > 0.9


def test_the_image_processor_gives_what_the_tower_was_trained_on(scenes):
    scene = scenes.conversations(n=1).scene(0)
    processor = nano_pretrained.load_tower().image_processor()
    made = processor(images=[scene.image().open()], return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(
        made, torch.from_numpy(scene.pixels.transpose(2, 0, 1).copy()).float() / 127.5 - 1, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("text", ["What is in the top left?", "naïve 日本 🙂", "a\n\nb  c"])
def test_any_text_survives_the_tokenizer(text):
    tokenizer = nano_pretrained.tokenizer()
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_every_known_name_is_short_and_the_tokenizer_is_ones_own(scenes):
    tokenizer = nano_pretrained.tokenizer()
    lengths = [
        len(tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) for name in scenes.names("known")
    ]
    assert max(lengths) <= 3
    size = len(tokenizer)
    tokenizer.add_tokens(["<mine>"])
    assert len(nano_pretrained.tokenizer()) == size


def test_the_language_model_reads(scenes):
    """Told in words what a scene holds, it knows the answer; the same question without them leaves it guessing."""
    bundle = nano_pretrained.build()
    question = "What is in the {}?"
    right = {True: 0, False: 0}
    cases = [("top left", "owl"), ("bottom right", "pear"), ("center", "tractor"), ("top right", "panda")] * 2
    for index, (place, name) in enumerate(cases):
        other = (
            "bottom left: lobster, red, bottom left." if index % 2 else "bottom left: grapes, bottom left."
        )
        for told in right:
            text = f"{place}: {name}, {place}. {other}\n" * told + question.format(place)
            prompt = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
            ids = torch.tensor([bundle.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
            mask = torch.ones_like(ids)
            out = bundle.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
            right[told] += name in bundle.tokenizer.decode(out[0, ids.shape[1] :])
    assert right[True] >= 6 and right[False] <= 3


def test_ten_seconds_of_training_lower_the_loss(tmp_path, scenes):
    bundle = nano_pretrained.build()
    records = EncodedRecords(scenes.conversations(n=120, turns=(2, 2)), bundle.encoder)
    stage = StageConfig(
        name="tune",
        trains=["connector", "language"],
        learning_rate=2e-3,
        batch_size=16,
        max_steps=25,
        warmup=0.1,
    )
    from vitrail.objectives.next_token import NextToken

    tower = {name: value.clone() for name, value in bundle.model.tower.state_dict().items()}
    train_stage(
        bundle.model, records, bundle.collator(), NextToken(), stage, tmp_path / "stage", device="cpu",
        fingerprint=records.fingerprint,
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "stage" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])
    assert all(torch.equal(value, tower[name]) for name, value in bundle.model.tower.state_dict().items())
