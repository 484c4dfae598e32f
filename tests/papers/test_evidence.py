"""Evidence is read where it lies, and a broken file is refused with what to do."""

import json

import pytest

from catalogue_files import measured
from vitrail.papers import evidence
from vitrail.papers.evidence import evidence_of, newest, summary


def test_what_was_measured(tmp_path):
    measured(tmp_path)
    measured(
        tmp_path,
        testbed="small",
        verdict="not seen",
        effect=-1,
        interval=[-2, -0.5],
        date="2026-04-01T10:00:00",
    )
    nano, small = evidence_of("ovis", tmp_path)
    assert (nano.testbed, nano.verdict, nano.interval, nano.n, nano.harm) == (
        "nano",
        "seen",
        (1.1, 5.3),
        8,
        False,
    )
    assert nano.scope["data"] == "scenes-v1" and nano.cells and nano.path.name == "nano.json"
    assert small.harm and small.date == "2026-04-01"
    measured(tmp_path, "mir", verdict="undecided", interval=[-1, 4])
    assert not evidence_of("mir", tmp_path)[0].harm, "an interval across zero is no harm"
    assert summary((nano,)) == "seen" and summary((nano, small)) == "mixed" and summary(()) == ""
    assert evidence_of("sltrain", tmp_path) == ()


def test_the_newest_comes_first(tmp_path):
    measured(tmp_path, date="2026-03-04")
    measured(tmp_path, "mir", date="2026-03-06")
    measured(tmp_path, "s2", date="2026-03-04")
    assert [one.paper for one in newest(tmp_path)] == ["mir", "ovis", "s2"]


def test_not_testable_needs_no_interval(tmp_path):
    measured(
        tmp_path,
        verdict="not testable here",
        effect=None,
        interval=None,
        reason="the control is at the floor",
    )
    assert evidence_of("ovis", tmp_path)[0].interval is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paper": "mir"}, "paper is 'mir', but the file's place says 'ovis'"),
        ({"testbed": "small"}, "testbed is 'small'"),
        ({"verdict": "refuted"}, "verdict is 'refuted'; known: seen"),
        ({"date": "yesterday"}, "date is 'yesterday', not year-month-day"),
        ({"scope": {"data": "x"}}, "a verdict needs its parameters, tokens, data, hardware"),
        ({"interval": [5, 1]}, "interval is [5, 1], not its two ends in order"),
        ({"interval": [1, float("nan")]}, "not its two ends in order"),
        ({"effect": "3"}, "effect is '3', not a number"),
        ({"effect": None}, "without effect and interval"),
        ({"claim_kind": "superior"}, "did you mean 'superiority'?"),
    ],
)  # fmt: skip
def test_a_broken_file(tmp_path, changes, said):
    file = measured(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ValueError) as error:
        evidence_of("ovis", tmp_path)
    assert said in str(error.value) and str(error.value).startswith("evidence/ovis/nano.json: ")
    assert "vitrail study ovis" in str(error.value)


def test_half_a_file(tmp_path):
    file = measured(tmp_path)
    file.write_text(file.read_text()[:50])
    with pytest.raises(ValueError, match="is not JSON"):
        evidence_of("ovis", tmp_path)


def test_what_is_committed_can_be_read():
    from vitrail.papers import read

    found = newest() if evidence.place() else []
    assert {one.paper for one in found} <= set(read())
