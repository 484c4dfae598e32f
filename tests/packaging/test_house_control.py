"""The scripts of the nano testbed: the suite's file is theirs, and the tables say what was measured."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def house():
    spec = importlib.util.spec_from_file_location("house_control", ROOT / "scripts" / "house_control.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(**changes):
    def scores(trained):
        return {
            name: {"accuracy": value, "chance": 0.25, "by_kind": {"what": value, "count": value / 2}}
            for name, value in (("trained", trained), ("blind", 0.25))
        }

    cells = [{"scores": {"known": scores(value), "held-out": scores(0.4)}} for value in (0.6, 0.7)]
    return {
        "tuning": {"seeds": [9, 10], "accuracy": {"0.001": [0.5, 0.6], "0.002": [0.7, 0.5]}, "rate": 0.002},
        "test": {"seeds": [0, 1], "questions": 360, "cells": cells},
        "seconds a cell": {"processor": 41.0, "clock": 60.0},
        "machine": {"threads": 1, "torch": "2", "transformers": "5"},
        **changes,
    }


def test_the_file_of_the_suite_is_what_the_script_makes():
    script = str(ROOT / "scripts" / "nano_suite.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_best_rate_is_that_of_the_highest_mean_and_an_edge_is_said(house):
    grid = {"0.001": [0.5, 0.5], "0.002": [0.9, 0.4], "0.004": [0.6, 0.6]}
    assert house.tuned(grid) == (0.002, True)
    assert house.tuned({**grid, "0.004": [0.7, 0.7]}) == (0.004, False)


def test_the_tables_say_what_was_measured(house):
    text = house.tables(found())
    assert "| **0.002** | 70.0% | 50.0% | 60.0% |" in text and "| 0.001 | 50.0% | 60.0% | 55.0% |" in text
    assert "| what | 65.0% | 25.0% | |" in text and "| count | 32.5% | 12.5% | |" in text
    assert "| **all** | 65.0% | 25.0% | 25.0% |" in text and "41 s of processor time" in text
    assert "over 2 seeds: 65.0%" in text and "standard deviation 7.1%" in text


def test_drawing_keeps_the_text_around_the_figures(house, tmp_path, monkeypatch):
    document = tmp_path / "house.md"
    document.write_text(f"before\n{house.BEGIN}\nstale\n{house.END}\nafter\n")
    monkeypatch.setattr(house, "DOCUMENT", document)
    monkeypatch.setattr(house, "PICTURE", tmp_path / "pictures" / "house.svg")
    house.draw(found())
    first = document.read_text(), house.PICTURE.read_bytes()
    house.draw(found())
    assert (document.read_text(), house.PICTURE.read_bytes()) == first
    assert first[0].startswith("before\n") and first[0].endswith("\nafter\n") and "stale" not in first[0]


def test_the_document_has_a_place_for_the_figures(house):
    text = house.DOCUMENT.read_text(encoding="utf-8")
    assert text.count(house.BEGIN) == 1 and text.count(house.END) == 1
