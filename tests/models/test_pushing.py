"""A model and its processor go to a hub as a folder that loads; here the hub is a folder."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError

from conftest import chat
from vitrail.models.loading import load


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Where commits go. Nothing is asked from a network."""
    place = tmp_path / "hub"

    def create_repo(self, repo_id, **options):
        (place / repo_id).mkdir(parents=True, exist_ok=True)
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def create_commit(self, repo_id, operations, **options):
        for operation in operations:
            target = place / repo_id / operation.path_in_repo
            target.parent.mkdir(parents=True, exist_ok=True)
            with operation.as_file() as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)

    def no_card(*_, **__):
        raise EntryNotFoundError("there is no card")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", create_commit)
    monkeypatch.setattr(huggingface_hub.ModelCard, "load", no_card)
    return place


def test_what_is_pushed_loads_and_says_the_same(nano, hub):
    nano.model.push_to_hub("somebody/window")
    nano.processor.push_to_hub("somebody/window")
    folder = hub / "somebody" / "window"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "vitrail"
    assert not [path.name for path in Path(folder).rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    again = load(folder)
    batch = nano.collator()([nano.encoder.encode(chat("what is it?", "a cat", images=2))])
    assert batch["input_ids"].equal(
        again.collator()([again.encoder.encode(chat("what is it?", "a cat", images=2))])["input_ids"]
    )
    with torch.no_grad():
        assert torch.equal(nano.model(**batch).logits, again.model(**batch).logits)
