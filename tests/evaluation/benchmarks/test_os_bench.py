"""OS Bench's layouts, every way of asking on a nano model, figures of a judge whose answers are known."""

import json

import pytest

from official_files import write_json, write_picture
from vitrail import registry
from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.os_bench import MODES, OSBench

RULES = [
    {
        "id": "fire", "text": "Nothing burns.", "clauses": [["something burns"]],
        "central_words": {"something burns": ["fire"]},
    },
    {"id": "decay", "text": "Nothing decays.", "clauses": [["a plant", "an animal"], ["it decays"]]},
]  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    write_json(tmp_path / "constitution.json", RULES)
    places = (
        "fire/unsafe/a.png",
        "fire/borderline/b.png",
        "decay/Violating/c.jpg",
        "decay/safe/deep/d.png",
        "fire/x/e.png",
    )
    for number, place in enumerate(places):
        write_picture(tmp_path / place, number)
    (tmp_path / "fire" / "unsafe" / "notes.txt").write_text("no picture")
    return tmp_path


def opened(folder, **settings):
    return OSBench(OSBench.Config(path=str(folder), **settings)).source()


def test_folders_and_labels_are_the_same_questions(folders, tmp_path_factory):
    plain = opened(folders)
    found = {(one.cluster, one.answer, one.kind) for one in plain.questions}
    assert found == {
        ("fire/unsafe/a.png", 0, "fire"),
        ("fire/borderline/b.png", 1, "fire"),
        ("decay/Violating/c.jpg", 0, "decay"),
        ("decay/safe/deep/d.png", 1, "decay"),
    }
    rows = [
        {"image": cluster, "label": ("unsafe", "safe")[answer], "rule": rule}
        for cluster, answer, rule in sorted(found)
    ]
    rows[0]["boxes"] = {"fire": [[0, 0, 9, 9]]}
    (folders / "labels.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    table = opened(folders)
    assert {(one.cluster, one.answer, one.kind) for one in table.questions} == found
    assert (
        table[0].meta["boxes"] == {"fire": [[0, 0, 9, 9]]}
        and "2. Nothing decays." in table[0].messages[0].text
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image": "fire/unsafe/a.png", "label": "bad"}, "label: is 'bad'; write unsafe or safe"),
        (
            {"image": "fire/unsafe/a.png", "label": "safe", "rule": "x"},
            "the constitution has not; known: fire, decay",
        ),
        ({"image": "none.png", "label": "safe"}, "'none.png' is missing"),
        ({"image": "fire/unsafe/a.png", "label": "safe", "boxes": [1]}, "lists of boxes by central word"),
    ],
)
def test_a_row_that_cannot_be_used_is_set_aside(folders, row, said):
    good = {"image": "fire/unsafe/a.png", "label": "unsafe"}
    (folders / "labels.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n")
    source = opened(folders)
    assert len(source) == 1 and said in str(source.set_aside.rows[0]), source.set_aside.rows
    (folders / "labels.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match="none of 1 rows can be used"):
        opened(folders)


def test_what_rules_say_is_in_the_fingerprint(folders):
    before = opened(folders).fingerprint
    write_json(folders / "constitution.json", RULES[:1] + [{**RULES[1], "clauses": [["it decays"]]}])
    assert opened(folders).fingerprint != before
    write_json(folders / "constitution.json", RULES[:1])
    source = opened(folders)
    assert len(source) == 2 and len(source.set_aside.rows) == 2
    with pytest.raises(ValueError, match="there is no constitution"):
        opened(folders, constitution="other.json")


@pytest.mark.parametrize("mode", ["clue", "rules", "direct", "cot"])
def test_every_way_of_asking(nano, folders, tmp_path_factory, mode):
    scenario = {"name": "benchmark", "benchmark": "os_bench", "path": str(folders)}
    parts = dict(OSBench.parts(mode))
    if mode == "clue":
        parts["inferencer"] = {**parts["inferencer"], "undecided": "leave"}
    if mode == "cot":
        parts["inferencer"] = {"name": "cot", "max_new_tokens": 4}
    path = run_task(Task(name=mode, scenario=scenario, **parts), nano, tmp_path_factory.mktemp("out"))
    official = score(path).official
    assert official.answered == 4 and {"recall", "accuracy", "F1", "fire: accuracy"} <= {
        f.name for f in official.figures
    }
    assert any("calls of the model" in note for note in official.notes) == (mode in ("clue", "rules"))
    rows = read_answers(path).rows
    if mode == "clue":
        assert all(row["verdict"]["trace"][0]["rule"] == "fire" for row in rows)
        assert all(row["choice"] == (1 if row["verdict"]["safe"] else 0) for row in rows)
    if mode == "rules":
        assert rows[0]["verdict"]["trace"][0]["clauses"][0]["conditions"][0]["condition"].startswith(
            "This rule is broken"
        )


def test_figures_of_known_answers():
    rows = [
        {"answer": answer, "correct": said == answer, "prediction": said, "kind": "fire", "cluster": number}
        for number, (answer, said) in enumerate([(0, 0), (0, 0), (0, 1), (1, 0), (1, 1), (1, 1)])
    ]
    found = {one.name: one for one in OSBench.figures(rows)}
    assert found["recall"].value == found["precision"].value == found["F1"].value == pytest.approx(2 / 3)
    assert found["accuracy"].value == pytest.approx(4 / 6) and found["F1"].interval is not None


def test_composed_rules_have_the_same_modes(nano, tmp_path):
    benchmark = registry.get("benchmark", "offline_rules")
    assert benchmark.modes == MODES
    scenario = {
        "name": "benchmark",
        "benchmark": "offline_rules",
        "settings": {"n": 4, "suite": "nano-scenes-v1"},
    }
    task = Task(
        name="x", scenario=scenario, inferencer={"name": "clue", "undecided": "prior", "detector": "given"}
    )
    rows = read_answers(run_task(task, nano, tmp_path)).rows
    assert [row["groups"]["form"] for row in rows] == ["violating", "borderline"] * 2
    conditions = benchmark_of("offline_conditions", n=3)
    assert [one.meta["kind"] for one in conditions] == ["thing", "kind", "colour"]


def benchmark_of(name, **settings):
    benchmark = registry.get("benchmark", name)
    return benchmark(benchmark.Config(suite="nano-scenes-v1", **settings)).source()
