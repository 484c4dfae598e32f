"""Preparation: the same tokens, in pieces that survive a kill; refused where anything they depend on is another."""

import json

import pytest

from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.models.encoding import ChatEncoder
from vitrail.recipes import loading, prepared
from vitrail.recipes.prepared import processor_fingerprint
from vitrail.recipes.preparing import prepare
from vitrail.recipes.run import run
from vitrail.training.progress import QuietProgress


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    chats = [
        chat("what is it?", "a " + "red " * (i % 4) + "cat", images=i % 3, seed=i, id=f"r{i}")
        for i in range(10)
    ]
    write_jsonl([*chats, chat("what?", "a very " * 60 + "long cat", id="long")], path, images="inline")
    return path


def recipe(data, **changes):
    stage = {
        "name": "tune",
        "trains": ["tower", "connector"],
        "max_steps": 3,
        "batch_size": 2,
        "precision": "float32",
    }
    source = {"kind": "file", "path": str(data), "max_length": 60, "too_long": "drop", **changes}
    return loading.load(
        {"name": "ready", "model": {"testbed": "nano"}, "data": {"train": source}, "stages": [stage]}
    )


class Notes(QuietProgress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def trained(values, folder):
    listener = Notes()
    run(values, folder, device="cpu", report=False, progress=listener)
    weights = (folder / "stages" / "tune" / "final.safetensors").read_bytes()
    return weights, " ".join(listener.notes)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(prepared, "SHARD", 4)


def test_a_prepared_run_trains_as_any_other_and_encodes_nothing(data, tmp_path, monkeypatch):
    whole, _ = trained(recipe(data), tmp_path / "whole")
    counts = prepare(recipe(data), tmp_path / "run")
    assert counts["train"] == {"used": 10, "set_aside": 1, "too_long": 1, "cut": 0, "turns_cut": 0}
    assert len(list((tmp_path / "run" / "prepared" / "train").glob("shard-*"))) == 3
    monkeypatch.setattr(ChatEncoder, "encode", None)
    ready, said = trained(recipe(data), tmp_path / "run")
    assert ready == whole
    assert "11 records were prepared before, 0 now" in said and "1 set aside, 1 of them too long" in said


def test_a_killed_preparation_goes_on(data, tmp_path, monkeypatch):
    encode, calls = ChatEncoder.encode, []

    def counted(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return encode(self, *arguments, **options)

    monkeypatch.setattr(ChatEncoder, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(recipe(data), tmp_path / "run")
    folder = tmp_path / "run" / "prepared" / "train"
    first = {path.name: path.read_bytes() for path in folder.glob("shard-*")}
    assert list(first) == ["shard-00000.safetensors"]
    prepare(recipe(data), tmp_path / "run")
    assert len(calls) == 8 + 7
    assert first.items() <= {path.name: path.read_bytes() for path in folder.glob("shard-*")}.items()


def test_other_data_another_processor_and_other_settings_are_refused(data, tmp_path):
    prepare(recipe(data), tmp_path / "run")
    manifest = tmp_path / "run" / "prepared" / "train" / "prepared.json"
    made_from = manifest.read_text()
    for name, other in (("processor", "0" * 64), ("settings", {"context": 3}), ("data", "another")):
        manifest.write_text(json.dumps({**json.loads(made_from), name: other}))
        with pytest.raises(
            ValueError, match=f"prepared from another {name} than there is now; set it back, or rem"
        ):
            trained(recipe(data), tmp_path / "run")
    manifest.write_text(made_from)
    lines = data.read_text().splitlines()
    data.write_text("\n".join([*lines, lines[0]]) + "\n")
    with pytest.raises(ValueError, match="prepared from another data than there is now"):
        trained(recipe(data), tmp_path / "run")
    with pytest.raises(ValueError, match="begun with another recipe"):
        prepare(recipe(data, max_length=50), tmp_path / "run")


def test_a_damaged_shard_is_named(data, tmp_path):
    prepare(recipe(data), tmp_path / "run")
    path = tmp_path / "run" / "prepared" / "train" / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors is damaged; remove it"):
        trained(recipe(data), tmp_path / "run")
    path.unlink()
    _, said = trained(recipe(data), tmp_path / "run")
    assert "7 records were prepared before, 4 now" in said and path.exists()


def test_the_processors_fingerprint_sees_template_words_and_pictures(nano, fresh_nano):
    known = processor_fingerprint(nano)
    assert processor_fingerprint(fresh_nano) == known
    fresh_nano.encoder.chat_template += " "
    assert processor_fingerprint(fresh_nano) != known
    fresh_nano.encoder.chat_template = nano.encoder.chat_template
    fresh_nano.processor.image_processor.size = {"height": 48, "width": 48}
    assert processor_fingerprint(fresh_nano) != known
