"""``vitrail data challenging``: a file of the records that an early model finds hard but learnable."""

import argparse
import json

import pytest

from conftest import chat
from vitrail.cli import data_challenging
from vitrail.data.readers import open_source, write_jsonl


def run(*words):
    parser = argparse.ArgumentParser()
    data_challenging.arguments(parser)
    return data_challenging.run(parser.parse_args([str(word) for word in words]))


def test_it_writes_the_chosen_records_and_says_how_many(tmp_path, saved_family, capsys):
    model = saved_family("llava")
    rows = [chat(f"what is it? {i}", f"thing {i} " * (i + 1), seed=i) for i in range(6)]
    write_jsonl(rows, tmp_path / "in.jsonl", images="inline")
    out = tmp_path / "out.jsonl"
    assert run(tmp_path / "in.jsonl", out, "--model", model, "--tokens", 150, "--k", 300, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] == len(open_source(out)) > 0 and found["tokens"] <= 150 and found["records"] == 6
    texts = [record.messages[1].text for record in open_source(out)]
    assert texts == sorted(texts, key=lambda text: int(text.split()[1]))  # in the order of the file
    with pytest.raises(ValueError, match="is there already"):
        run(tmp_path / "in.jsonl", out, "--model", model, "--tokens", 150)
    with pytest.raises(ValueError, match="at most"):
        run(tmp_path / "in.jsonl", tmp_path / "b.jsonl", "--model", model, "--tokens", 10**9, "--k", 300)
