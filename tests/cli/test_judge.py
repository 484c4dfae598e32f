"""``vitrail judge`` and ``vitrail judge prepare``, with tiny models of transformers."""

import json

import pytest

import dual_encoders
from conftest import picture
from vitrail.inference.constitution import Constitution
from vitrail.models.testbeds import nano as testbed

RULES = [
    {
        "id": "a",
        "text": "No dogs.",
        "clauses": [["a dog is there"]],
        "central_words": {"a dog is there": ["dog"]},
    }
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("judge")
    testbed.build(seed=0).save(root / "model")
    dual_encoders.save("clip", root / "clip", context=48)
    (root / "rules.json").write_text(json.dumps(RULES))
    (root / "pictures").mkdir()
    for number in range(3):
        (root / "pictures" / f"{number}.png").write_bytes(picture(number).bytes)
    (root / "pictures" / "3.png").write_bytes(b"broken")
    return root


def test_pictures_are_judged_and_a_later_start_goes_on(run, places, tmp_path):
    words = ["judge", places / "model", "--constitution", places / "rules.json", "--undecided", "prior"]
    words += ["--clip", places / "clip", "--relevance", "-1", "--out", tmp_path / "v.jsonl"]
    code, out, err = run(*words, places / "pictures", "--json", "--report", tmp_path / "page.html")
    told = json.loads(out)
    assert code == 0, err
    assert told["set_aside"] == 1 and told["safe"] + told["unsafe"] == 3 and told["calls"]["embeddings"] == 3
    assert told["pictures"][0]["verdict"]["trace"][0]["relevance"] is not None
    assert (tmp_path / "page.html").read_text().count("data:image/png") == 3
    before = (tmp_path / "v.jsonl").read_bytes()
    code, out, err = run(*words, places / "pictures", "--quiet")
    assert code == 0 and (tmp_path / "v.jsonl").read_bytes() == before, err
    assert "set aside" in out and "cannot be decoded" in out and "1 set aside" in out
    code, out, err = run(*words, places / "pictures" / "0.png", "--trace", "--quiet")
    assert code == 0 and "a dog is there:" in out and "prior" in out, err


def test_wrong_command_lines_name_the_word(run, places, tmp_path):
    (tmp_path / "bare.json").write_text('["No dogs."]')
    base = ["judge", places / "model", places / "pictures", "--constitution"]
    for words, message in (
        ((*base, tmp_path / "none.json"), "there is no constitution"),
        ((*base, tmp_path / "bare.json"), "rule 'rule-1' has no clauses; write them"),
        ((*base, places / "rules.json", "--relevance", "0.2"), "name one with --clip"),
        ((*base, places / "rules.json", "--set", "alfa1=1"), "did you mean 'alpha1'"),
        ((*base, places / "rules.json", "--set", "alpha1=1"), "alpha1 is 1"),
        (("judge", places / "model", "--constitution", places / "rules.json"), "PICTURE"),
        (("serve", places / "model", "--clip", "x"), "--clip goes with --constitution"),
        (
            ("judge", "prepare", tmp_path / "bare.json", "--llm", "x", "--out", "y", "--max-tokens", "3"),
            "--address",
        ),
    ):
        code, _, err = run(*words)
        assert code == 2 and message in err, (words, err)


def test_rules_are_judged_whole(run, places, tmp_path):
    (tmp_path / "bare.json").write_text('["No dogs."]')
    words = (
        "judge",
        places / "model",
        places / "pictures" / "0.png",
        "--constitution",
        tmp_path / "bare.json",
        "--whole",
    )
    code, out, err = run(*words, "--set", "contrasts=[]", "--trace", "--quiet")
    assert code == 0 and "This rule is broken: No dogs." in out, err


def test_rules_are_prepared_by_a_model_at_an_address(run, places, tmp_path, monkeypatch):
    replies = {
        "impartial judge": "Rating: [[10]]",
        "apart": '{"clauses": [["a dog"]]}',
        "Statement": '{"words": ["dog"]}',
    }
    monkeypatch.setattr(
        "vitrail.inference.remote.RemoteAnswerer._post",
        lambda self, body: {
            "choices": [{"message": {"content": _said(body, replies)}, "finish_reason": "stop"}]
        },
    )
    (tmp_path / "bare.json").write_text('["No dogs."]')
    words = ("judge", "prepare", tmp_path / "bare.json", "--llm", "m", "--address", "http://127.0.0.1:9/v1")
    code, out, err = run(*words, "--out", tmp_path / "o.json")
    assert code == 0 and "read it before you use it" in out, err
    found = Constitution.read(tmp_path / "o.json")
    assert found.rules[0].clauses == (("a dog",),) and found.rules[0].objectiveness == 10


def _said(body, replies):
    text = body["messages"][-1]["content"]
    return next(reply for word, reply in replies.items() if word in text)


def test_a_benchmark_is_asked_with_settings_of_the_judge(run, places, tmp_path):
    words = (
        "eval",
        places / "model",
        "--benchmark",
        "offline_rules",
        "n=2",
        "suite=nano-scenes-v1",
        "--no-blind",
    )
    chosen = ("--inferencer", "clue:undecided=prior,detector=given", "--out", tmp_path, "--json")
    code, out, err = run(*words, *chosen)
    assert code == 0, err
    official = json.loads(out)["offline_rules"]["trained"]["official"]
    assert official["answered"] == 2 and "calls of the model a picture" in official["notes"][-1]
    code, _, err = run(*words, "--inferencer", "clue:undecided", "--out", tmp_path)
    assert code == 2 and "'undecided' is no field=value" in err
