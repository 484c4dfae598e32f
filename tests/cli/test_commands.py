"""The commands on real files and a nano model."""

import io
import json

import pytest

from conftest import chat, picture
from vitrail.cli.main import main
from vitrail.data.readers import open_source, write_jsonl
from vitrail.data.records import Choices


def question(seed):
    options = tuple(({"type": "text", "text": text},) for text in ("a cat", "a dog", "two birds"))
    asked = chat("what is it?", seed=seed, id=f"q{seed}")
    return asked.model_copy(
        update={"choices": Choices(options=options, answer=seed % 3), "meta": {"kind": "what"}}
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, a picture, a recipe and its finished run ``first``."""
    folder = tmp_path_factory.mktemp("cli")
    chats = [chat("what is it?", "a cat on a mat", seed=i, id=f"c{i}") for i in range(16)]
    write_jsonl(chats, folder / "chats.jsonl", images="inline")
    write_jsonl([question(i) for i in range(8)], folder / "questions.jsonl", images="inline")
    (folder / "a cat.png").write_bytes(picture().bytes)
    (folder / "mine.yaml").write_text(
        "name: mine\nmodel: {testbed: nano}\ndata:\n  train: {kind: file, path: chats.jsonl}\n"
        "  questions: {kind: file, path: questions.jsonl}\n"
        "stages:\n  - {name: tune, trains: [connector, language], max_steps: 3}\n"
        "evaluation:\n  - {name: asked, data: questions}\n"
    )
    assert main(["train", str(folder / "mine.yaml"), "--run", str(folder / "first"), "--quiet"]) == 0
    return folder


def test_train_says_what_comes_next_and_resumes(place, run):
    code, out, _ = run("train", place / "mine.yaml", "--run", place / "second", "seed=1")
    assert code == 0 and "asked: right answers" in out and f"vitrail chat {place}/second" in out
    code, out, _ = run("train", place / "second", "--json")
    found = json.loads(out)
    assert (
        code == 0 and found["run"] == str(place / "second") and found["scores"]["asked"]["trained"]["n"] == 8
    )
    code, _, err = run("train", place / "mine.yaml", "seed=2", "--run", place / "second")
    assert code == 2 and "seed: 1 in the run, 2 now" in err
    code, _, err = run("train", place / "mine.yaml", "seed=1", "--run", place / "second", "--resume", "never")
    assert code == 2 and "holds a run already" in err


def test_train_on_ones_own_file(place, run):
    words = ("--data", place / "chats.jsonl", "--model", place / "first", "--eval", place / "questions.jsonl")
    code, out, err = run("train", "stages.tune.max_steps=2", *words, "--run", place / "own", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["recipe"] == "chats" and found["stages"]["tune"]["step"] == 2
    assert found["scores"]["mine"]["trained"]["n"] == 8
    code, _, err = run("train", "--model", place / "first")
    assert code == 2 and "--model goes with --data" in err
    assert run("train")[0] == 2


def test_ctrl_c_says_how_to_go_on(place, run, monkeypatch):
    from vitrail.recipes import run as recipe_run

    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_run, "_run", stop)
    code, _, err = run("train", place / "mine.yaml", "--run", place / "third")
    assert code == 130 and f"go on with: vitrail train {place}/third" in err


def test_eval_on_a_file_and_again(place, run):
    words = (
        "eval",
        place / "first",
        "--data",
        place / "questions.jsonl",
        "--out",
        place / "answers",
        "--json",
    )
    code, out, err = run(*words)
    assert code == 0, err
    scores = json.loads(out)["questions"]
    assert set(scores) == {"trained", "blind"} and scores["trained"]["n"] == 8
    assert json.loads(run(*words)[1])["questions"] == scores
    again = json.loads(run("eval", place / "first", "--json")[1])
    assert again["asked"]["trained"]["accuracy"] == scores["trained"]["accuracy"]
    code, _, err = run("eval", place / "first", "--metric", "match")
    assert code == 2 and "--metric goes with --data" in err
    code, _, err = run(
        "eval", place / "first", "--data", place / "questions.jsonl", "--inferencer", "likelyhood"
    )
    assert code == 2 and "did you mean 'likelihood'" in err


def test_compare_two_runs(place, run):
    run("train", place / "mine.yaml", "--run", place / "other", "seed=5", "--quiet")
    code, out, _ = run("compare", place / "first", place / "other")
    assert code == 0 and "first − second" in out and "p (paired)" in out
    found = json.loads(run("compare", place / "first", place / "first", "--json")[1])
    assert found["asked"]["overall"]["difference"] == 0 and found["asked"]["overall"]["n"] == 8
    code, _, err = run("compare", place / "first", place / "first", "--task", "none")
    assert code == 2 and "first has asked" in err


def test_chat_answers_one_question(place, run):
    words = ("chat", place / "first", "--image", place / "a cat.png", "what is it?", "--max-new-tokens", 4)
    code, out, err = run(*words)
    assert code == 0 and out.endswith("\n"), err
    answer = json.loads(run(*words, "--json")[1])
    assert answer["answer"].strip() == out.strip() and answer["images"] == [str(place / "a cat.png")]
    code, _, err = run("chat", place / "first", "--image", place / "no.png", "what?")
    assert code == 2 and "there is no file" in err
    code, _, err = run("chat", place / "first", "--image", place / "mine.yaml", "what?")
    assert code == 2 and "cannot be decoded" in err


def test_chat_through_a_pipe(place, run, monkeypatch, tmp_path):
    path = str(place / "a cat.png").replace(" ", "\\ ")
    lines = f"{path} what is it?\n\nand now?\n/undo\n/save {tmp_path}/talk.jsonl\n/exit\nnever asked\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    code, _out, err = run("chat", place / "first", "--max-new-tokens", 3, "--system", "Be brief.")
    assert code == 0, err
    talk = open_source(tmp_path / "talk.jsonl")[0]
    assert [message.role for message in talk.messages] == ["system", "user", "assistant"]
    assert talk.messages[1].text == "what is it?" and len(talk.images) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("/imge x\n"))
    code, _, err = run("chat", place / "first")
    assert code == 2 and "did you mean /image" in err


def test_an_error_does_not_end_a_talk_on_a_terminal(place, capsys, tmp_path):
    from vitrail.cli.chat import Chatting

    class Echo:
        dropped, undone = 0, 0

        def say(self, text, images=()):
            if text == "refuse":
                raise ValueError("too long")
            yield f"{text} with {len(images)} pictures"

        def undo(self):
            self.undone += 1

    talk = Echo()
    lines = [f"/image {place}/a cat.png", "refuse", "/imag", "hello", "/image x.png", "/undo", "/help"]
    assert Chatting(talk, []).loop(lines, terminal=True) == 0
    out = capsys.readouterr().out
    assert "too long" in out and "did you mean /image?" in out and "there is no file x.png" in out
    assert "hello with 1 pictures" in out  # the picture of the refused question was not lost
    assert talk.undone == 1 and "/reset" in out


def test_show(place, run):
    found = json.loads(run("show", place / "first", "--json")[1])
    assert [part["name"] for part in found["parts"]] == ["tower", "connector", "language"]
    assert found["tokens_an_image"] == 4
    code, out, _ = run("show", place / "mine.yaml", "--layers")
    assert code == 0 and "connector.up" in out
    code, _, err = run("show", place)
    assert code == 2 and "neither a model" in err


def test_plan(place, run):
    found = json.loads(run("plan", place / "mine.yaml", "stages.0.max_steps=7", "--no-speed", "--json")[1])
    assert found["stages"][0]["steps"] == 7 and found["seconds"] is None
    code, out, _ = run("plan", place / "mine.yaml")
    assert code == 0 and "frozen" in out and "FLOP" in out


def test_report_again(place, run, tmp_path):
    code, _out, _ = run("report", place / "first", "--out", tmp_path / "r.html")
    assert code == 0 and (tmp_path / "r.html").read_bytes() == (place / "first" / "report.html").read_bytes()
    code, _, err = run("report", place)
    assert code == 2 and "is not a run" in err


def test_recipes(run, tmp_path):
    assert "quickstart" in run("recipe", "list")[1]
    names = [one["name"] for one in json.loads(run("recipe", "list", "--json")[1])]
    assert names == [
        "house-dual-encoder",
        "house-nano",
        "house-small",
        "llava-1.5-7b-lora",
        "nano",
        "own-data",
        "pretrain-text",
        "quickstart",
        "qwen2.5-vl-7b-lora",
        "tune",
    ]
    shown = run("recipe", "show", "nano", "seed=7", "--json")[1]
    assert json.loads(shown)["seed"] == 7
    assert run("recipe", "show", "nano", "--source")[1].startswith("# ")
    assert run("recipe", "schema", "--out", tmp_path / "s.json")[0] == 0
    assert json.loads((tmp_path / "s.json").read_text()) == json.loads(run("recipe", "schema")[1])


def test_data(place, run, tmp_path):
    code, out, _ = run("data", "check", place / "chats.jsonl")
    assert code == 0 and "16 rows read, all used" in out
    bad = tmp_path / "bad.jsonl"
    bad.write_text((place / "chats.jsonl").read_text() + '{"messages": 3}\n')
    code, out, _ = run("data", "check", bad, "--json")
    assert code == 1 and json.loads(out)["set_aside"][0]["line"] == 17
    counts = json.loads(run("data", "stats", place / "questions.jsonl", "--json")[1])
    assert counts["records"] == counts["multiple_choice"] == 8 and counts["roles"] == {"user": 8}
    code, _, err = run("data", "stats", place / "questions.jsonl", "--diversity", 4)
    assert code == 2 and "needs two records with text; 0 of 4" in err
    code, out, _ = run("data", "look", place / "chats.jsonl", "--out", tmp_path / "look.html", "-n", 3)
    assert code == 0 and "3 of 16 records" in out and (tmp_path / "look.html").read_text().count("<img") == 3
    code, out, _ = run("data", "look", place / "mine.yaml", "--source", "train", "--out", tmp_path / "l.html")
    assert code == 0
    code, _, err = run("data", "look", place / "mine.yaml", "--source", "trian")
    assert code == 2 and "did you mean 'train'" in err
