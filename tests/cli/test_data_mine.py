"""``vitrail data mine``: a file of translations out of two files of texts."""

from __future__ import annotations

import json

import encoders
from vitrail.cli.main import main
from vitrail.data.readers import open_source


def test_equal_texts_find_each_other(tmp_path, capsys):
    texts = encoders.corpus()[:16:2]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    (tmp_path / "b.txt").write_text("\n".join([*reversed(texts), texts[0]]))
    model = str(encoders.save("xlm-roberta", tmp_path / "encoder"))
    files = [str(tmp_path / name) for name in ("a.txt", "b.txt", "out.jsonl")]
    words = ["data", "mine", *files, "--model", model, "--languages", "en", "xx", "--top", "5"]
    assert main(words) == 0
    assert "5 pairs of 8 and 8 texts" in capsys.readouterr().out
    pairs = list(open_source(files[2]))
    assert [pair.relation for pair in pairs] == ["translation"] * 5
    assert all(pair.items[0][0].text == pair.items[1][0].text for pair in pairs)
    assert pairs[0].meta["languages"] == ["en", "xx"] and pairs[0].meta["margin"] >= pairs[4].meta["margin"]
    assert main(words) == 2 and "is there already" in capsys.readouterr().err
    none = [*files[:2], str(tmp_path / "none.jsonl"), "--model", model, "--threshold", "9", "--json"]
    assert main(["data", "mine", *none]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 0
    wrong = [files[2], files[1], str(tmp_path / "wrong.jsonl"), "--model", model]
    assert main(["data", "mine", *wrong]) == 2 and "give one text a row" in capsys.readouterr().err
