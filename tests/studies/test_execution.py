"""One cell in its folder, whatever was killed around it."""

import pytest

from vitrail.recipes import run as running
from vitrail.recipes.loading import load, plain
from vitrail.studies import execution
from vitrail.studies.arms import Arm
from vitrail.studies.setting_up import cell


@pytest.fixture(scope="module")
def base():
    return plain(load("nano", {"stages.tune.max_steps": 2, "data.known.n": 8, "data.scenes.n": 16}))


def test_a_study_killed_between_a_cell_and_its_result_goes_on(base, tmp_path, monkeypatch):
    """Workers finish what they have under way when the study that would keep the result is gone."""
    one = cell(Arm("plain", base), "primary", evaluation="known", draw=1, precision="float32")
    found = execution.run_cell(one, tmp_path / one.name, threads=1)
    assert not (tmp_path / one.name / "model").exists()
    monkeypatch.setattr(running, "_run", None)  # nothing may be run again
    assert execution.run_cell(one, tmp_path / one.name, threads=1) == found


def test_a_cell_killed_while_it_forgets_its_weights_goes_on(base, tmp_path, monkeypatch):
    one = cell(Arm("plain", base), "primary", evaluation="known", draw=1, precision="float32")
    place = tmp_path / one.name

    def killed(run):
        next((run.path / "stages").glob("*/*.safetensors")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution, "_forget_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            execution.run_cell(one, place, threads=1)
    assert execution.run_cell(one, place, threads=1)["steps"] > 0
    assert not list(place.rglob("*.safetensors"))
