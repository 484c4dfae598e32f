"""docs/families.md says what is registered and tested, and its example works."""

import re
import subprocess
import sys
from pathlib import Path

from vitrail import registry

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")


def test_the_table_is_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "families.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_family_of_ours_has_a_row():
    import vitrail.models.families.table  # noqa: F401

    table = DOCUMENT.partition("<!-- families:")[2].partition("<!-- /families -->")[0]
    named = set(re.findall(r"\| `([\w-]+)` \|", table)) - {"model_type"}
    ours = {
        name
        for name in registry.names("family")
        if registry.reference("family", name).target.startswith("vitrail.models.families.")
    }
    assert ours == named


def test_the_example_runs(tmp_path):
    """The lines as printed, as the module that they say they are."""
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert len(example.strip().splitlines()) <= 10
    (tmp_path / "my_package.py").write_text(example)
    code = (
        "import my_package; from types import SimpleNamespace; from vitrail.models.families.table import family_of;"
        "print(family_of(SimpleNamespace(model_type='my_llava')).connector[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "model.bridge", done.stderr


def test_the_fields_that_it_names_are_there():
    from vitrail.recipes.schema import File, Lora, Model
    from vitrail.training.stages import StageConfig

    kinds = {"model": Model, "data": File, "stages": StageConfig}
    rows = re.findall(r"^\| `(model|data|stages)\.(?:<name>\.)?(\w+)`", DOCUMENT, flags=re.MULTILINE)
    assert len(rows) >= 7
    assert all(field in kinds[group].model_fields for group, field in rows)
    assert {"where", "save"} <= set(Lora.model_fields)
