"""``vitrail data check`` and ``data convert`` on files of other people's formats."""

import json

import pytest

from conftest import picture
from vitrail.data.readers import open_source
from vitrail.papers import meaning


@pytest.fixture
def llava(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(1).bytes)
    rows = [
        {
            "id": str(n),
            "image": "a.png",
            "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"{n}"}],
        }
        for n in range(4)
    ]
    rows[2]["image"] = "none.png"
    rows[3]["conversations"][0]["value"] = "What?"
    rows.append({"text": "a cat", "image": "a.png"})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path / "rows.json"


def test_check_says_what_was_recognised_and_what_is_wrong(run, llava):
    code, out, _ = run("data", "check", llava)
    assert code == 1
    assert "json array; recognised: caption (1), llava (2). 5 rows read: 3 used, 2 set aside" in out
    assert "does not exist" in out and "no human turn holds '<image>'" in out
    code, out, _ = run("data", "check", llava, "--no-images", "--json")
    said = json.loads(out)
    assert code == 1 and said["container"] == "json array" and said["formats"] == {"caption": 1, "llava": 3}
    assert (said["seen"], said["used"], said["lines_are"]) == (5, 4, "rows")
    (bad,) = said["set_aside"]
    assert (bad["file"], bad["line"], bad["id"], bad["field"]) == ("rows.json", 4, "3", "conversations")
    assert run("data", "check", llava.parent / "none.json")[0] == 2


def test_paths_may_begin_elsewhere(run, llava, tmp_path):
    (tmp_path / "notes").mkdir()
    moved = llava.rename(tmp_path / "notes" / "rows.json")
    assert "0 used, 5 set aside" in run("data", "check", moved)[1]
    assert "3 used, 2 set aside" in run("data", "check", moved, "--root", tmp_path)[1]


OUT = {"trl": "t.jsonl", "swift": "s.jsonl", "sharegpt": "g.json", "openai": "o.jsonl"}


@pytest.mark.parametrize("to, out", OUT.items())
def test_convert_writes_what_can_be_read_and_counts_the_rest(run, llava, tmp_path, to, out):
    code, _, err = run("data", "convert", llava, tmp_path / out, "--to", to)
    assert code == 2 and "row 4, conversations" in err and not (tmp_path / out).exists()
    code, said, _ = run("data", "convert", llava, tmp_path / out, "--to", to, "--on-error", "set_aside")
    assert code == 0 and f"3 records as {to}, 2 left out" in said
    source = open_source(tmp_path / out, check_images=True)
    assert [record.messages[1].text for record in source] == ["0", "1", "a cat"]
    assert all(len(record.images) == 1 for record in source)
    assert run("data", "check", tmp_path / out)[0] == 0


def test_convert_to_containers(run, llava, tmp_path):
    for to, out in (("webdataset", "w"), ("datasets", "d"), ("parquet", "p.parquet"), ("jsonl", "j.jsonl")):
        words = ("data", "convert", llava, tmp_path / out, "--to", to, "--on-error", "set_aside", "--json")
        code, said, err = run(*words)
        assert code == 0, err
        assert json.loads(said)["written"] == 3 and len(json.loads(said)["set_aside"]) == 2
        assert len(open_source(tmp_path / out, check_images=True)) == 3
    code, _, err = run(
        "data", "convert", llava, tmp_path / "w", "--to", "webdataset", "--on-error", "set_aside"
    )
    assert code == 2 and "is there already" in err
    assert run("data", "convert", llava, tmp_path / "x", "--to", "lava")[0] == 2


@pytest.mark.skipif(meaning.folder() is None, reason="needs vitrail[search]")
def test_diversity_tells_many_texts_from_one(run, tmp_path):
    texts = {
        "same": ["A cat."] * 4,
        "many": ["A cat.", "Tax law in Peru", "x² + 1 = 0", "Snow fell all night."],
    }
    found = {}
    for name, rows in texts.items():
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
        found[name] = json.loads(run("data", "stats", file, "--diversity", 9, "--json")[1])["diversity"]
    assert found["same"]["texts_compared"] == 4 and found["same"]["vendi_score"] == pytest.approx(1, abs=1e-3)
    assert (
        found["many"]["vendi_score"] > 3
        and found["many"]["distinct_1-grams"] > found["same"]["distinct_1-grams"]
    )
