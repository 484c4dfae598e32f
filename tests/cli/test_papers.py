"""`vitrail papers`: lists, filters, searches and explains, and says of what is planned that it is."""

import json
import subprocess
import sys

import pytest

from catalogue_files import WHOLE, measured, planned, write
from vitrail.cli.commands import COMMANDS, Command
from vitrail.cli.main import main
from vitrail.papers import catalogue, evidence, meaning


@pytest.fixture(autouse=True)
def few(tmp_path, monkeypatch):
    """A catalogue of three, one of them measured."""
    monkeypatch.setitem(COMMANDS, "papers", Command("the catalogue of methods", "papers"))
    later = planned(
        "later", kind="data", seams=["curation", "connector"], year=2023, about="It drops visual tokens."
    )
    folder = write(tmp_path / "papers", WHOLE, later, planned("never", kind="survey", claim={"kind": "none"}))
    monkeypatch.setattr(catalogue, "SHIPPED", folder)
    measured(tmp_path / "evidence")
    monkeypatch.setattr(evidence, "place", lambda: tmp_path / "evidence")
    monkeypatch.setattr(meaning, "folder", lambda: None)
    return folder


def listed(capsys, *words):
    assert main(["papers", *words, "--json"]) == 0
    return [one["id"] for one in json.loads(capsys.readouterr().out)]


def test_the_list(capsys):
    assert main(["papers"]) == 0
    out = capsys.readouterr().out
    assert "ovis" in out and "seen" in out and "3 papers: 1 built, 2 planned (not built yet" in out


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], ["later", "never", "ovis"]),
        (["--kind", "data"], ["later"]),
        (["--seam", "connector"], ["later", "never", "ovis"]),
        (["--seam", "curation"], ["later"]),
        (["--state", "built"], ["ovis"]),
        (["--year", "2023"], ["later"]),
        (["--verdict", "seen"], ["ovis"]),
        (["--verdict", "none"], ["later", "never"]),
        (["--state", "planned", "--kind", "survey"], ["never"]),
        (["--search", "dropping visual tokens"], ["later", "never", "ovis"]),
        (["--search", "dropping visual tokens", "--limit", "1"], ["later"]),
        (["--search", "tokens", "--state", "built"], []),
    ],
)
def test_filters(capsys, words, ids):
    assert listed(capsys, *words) == ids


def test_search_by_words_says_that_it_is_one(capsys):
    assert main(["papers", "--search", "tokens"]) == 0
    out = capsys.readouterr().out
    assert "found by words alone (BM25), not by meaning; for that: pip install 'vitrail[search]'" in out


def test_search_by_meaning_keeps_its_vectors(capsys, monkeypatch):
    import numpy as np

    calls = []

    def encode(texts):
        calls.append(list(texts))
        return np.stack([np.eye(384, dtype=np.float32)[int("visual tokens" in text)] for text in texts])

    monkeypatch.setattr(meaning, "folder", lambda: "here")
    monkeypatch.setattr(meaning, "encode", encode)
    monkeypatch.setattr("vitrail.cli.libraries.prepare_libraries", lambda: None)
    for _ in range(2):
        assert main(["papers", "--search", "visual tokens"]) == 0
        out = capsys.readouterr().out
        assert "found by meaning" in out
        assert out.index("later") < out.index("ovis")
    second = calls[calls.index(["visual tokens"]) + 1 :]
    assert second == [["visual tokens"]], "what did not change is not encoded again"


def test_one_that_is_built(capsys):
    assert main(["papers", "ovis"]) == 0
    plain = capsys.readouterr().out
    out = " ".join(plain.split())
    assert "\nimport vitrail\n" in plain, "what is copied stands at the margin, unbroken"
    for said in (
        "Ovis: Structural Embedding Alignment", "arXiv 2405.20797", "built: its components are in this library",
        "import vitrail", "vitrail compare base.yaml +ovis --data mine.jsonl --budget 2h",
        "against: An MLP with as many parameters.", "needs: fresh model", "8.8 % over an MLP",
        "a small testbed can only hint at", "nano: seen; effect +3.2 points, 95 % interval +1.1 to +5.3",
        "8 paired seeds", "holds for parameters: 1100000", "hardware: 2 cores", "src/vitrail/registry.py",
        "AIDC-AI/Ovis, licence Apache-2.0", "@misc{ovis",
    ):  # fmt: skip
        assert said in out, said


def test_one_that_is_planned(capsys):
    assert main(["papers", "later"]) == 0
    out = capsys.readouterr().out
    assert "planned: not built yet: nothing of it can be run" in out and "there is nothing to run" in out
    assert "nothing yet" in out and "vitrail compare" not in out


def test_bibtex_alone(capsys):
    assert main(["papers", "ovis", "--bibtex"]) == 0
    assert capsys.readouterr().out == WHOLE["bibtex"] + "\n"
    assert main(["papers", "--bibtex"]) == 0
    assert capsys.readouterr().out.count("@misc{") == 3


def test_one_as_json(capsys):
    assert main(["papers", "ovis", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["verdict"] == "seen" and one["method"]["set"] == WHOLE["method"]["set"]
    assert one["evidence"][0]["interval"] == [1.1, 5.3] and "cells" not in one["evidence"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["oviss"], "no paper is called 'oviss'; did you mean 'ovis'?"),
        (["--kind", "dat"], "--kind 'dat' is not one of them; did you mean 'data'?"),
        (["--verdict", "refuted"], "--verdict 'refuted'"),
        (["--search", "of the"], "has no word to look for"),
        (["ovis", "--kind", "data"], "--kind chooses among papers"),
        (["--limit", "0"], "'0' is not a whole number above 0"),
    ],
)
def test_wrong_words(capsys, words, said):
    assert main(["papers", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["chef"]])
def test_no_torch(words):
    code = (
        "import sys; from vitrail.cli import papers; from vitrail.cli.parsing import Parser;"
        "parser = Parser(); papers.arguments(parser); papers.run(parser.parse_args(sys.argv[1:]));"
        "print({m.partition('.')[0] for m in sys.modules} & {'torch', 'transformers', 'numpy', 'pydantic'})"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
