"""Every format that is read trains every family, with one command and no other preparation."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import families
from vitrail.cli.main import main
from vitrail.recipes import loading
from vitrail.storage.runs import RunFolder

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"
PICTURE = re.compile(r"[\w./-]+\.(?:png|jpe?g)")


def examples() -> dict[str, dict]:
    """The documentation's row for each format."""
    rows = [line.split("|") for line in DOCUMENT.read_text(encoding="utf-8").splitlines()]
    cells = [row for row in rows if len(row) == 5 and row[1].startswith(" `") and "{" in row[3]]
    return {row[1].strip(" `"): json.loads(row[3].strip(" `")) for row in cells}


def written(row: dict, folder: Path) -> Path:
    """The row three times in a file, with the pictures that it names beside it."""
    file = folder / "mine.jsonl"
    # Nothing is fetched: the picture is beside the file.
    text = json.dumps(row).replace("https://example.org/", "")
    row = json.loads(text)
    for index, name in enumerate(sorted(set(PICTURE.findall(text)))):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (40 * index, 90, 120)).save(place)
    lines = []
    for copy in range(3):
        named = {**row, **({"id": f"{row['id']}-{copy}"} if "id" in row else {})}
        lines.append(json.dumps(named))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_the_document_has_an_example_of_every_format():
    import vitrail.data.readers  # noqa: F401  (registers the formats)
    from vitrail import registry

    assert sorted(examples()) == registry.names("format")


def trained(model, file, folder):
    words = ["train", "--data", str(file), "--model", str(model), "--run", str(folder), "--quiet"]
    code = main([*words, "stages.tune.max_steps=1", "stages.tune.batch_size=2", "model.lora.r=2"])
    assert code == 0
    run = RunFolder(folder)
    done = json.loads((run.stage("tune") / "done.json").read_text())
    assert done["step"] == 1 and done["tokens"] > 0
    assert loading.load(folder).model.path == str(model)
    return run


@pytest.mark.long
@pytest.mark.parametrize(
    "form", sorted(set(examples()) - {"record", "translation"})
)  # pairs are for encoders
@pytest.mark.parametrize("family", families.MULTIMODAL)
def test_a_file_and_a_model_are_enough(form, family, saved_family, tmp_path, capsys):
    file = written(examples()[form], tmp_path)
    if (form, family) == ("interleaved", "paligemma"):  # whose pictures all stand in front
        place = str(tmp_path / "run")
        asked = ["--data", str(file), "--model", str(saved_family(family)), "--run", place, "--quiet"]
        assert main(["train", *asked]) == 2
        assert "documents with pictures are not for this model" in capsys.readouterr().err
        return
    run = trained(saved_family(family), file, tmp_path / "run")
    assert (run.model_path / "config.json").exists(), capsys.readouterr().err
