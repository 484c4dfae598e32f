"""An entry is read whole or refused with a sentence for each fault."""

import copy
import tomllib

import pytest

from catalogue_files import WHOLE, planned, toml
from vitrail.papers.entry import CatalogueError, parse


def read(values):
    return parse(toml(values), "ovis", "ovis.toml")


def test_the_test_writes_what_toml_reads():
    assert tomllib.loads(toml(WHOLE)) == WHOLE


def test_a_whole_entry():
    paper = read(WHOLE)
    assert (paper.id, paper.name, paper.seam, paper.year) == ("ovis", "Ovis", "connector", 2024)
    assert paper.method.set == {"model.connector": {"name": "ovis"}} and paper.method.needs == (
        "fresh model",
    )
    assert paper.control.about == "An MLP with as many parameters." and paper.grid == {}
    assert paper.reference.licence == "Apache-2.0" and paper.claim.shows == "capability"
    with pytest.raises(AttributeError):
        paper.year = 2025


def spoil(path, value):
    values = copy.deepcopy(WHOLE)
    *parents, last = path.split("/")
    place = values
    for name in parents:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("id", "ovi", "id is 'ovi'; write 'ovis', the file's own name"),
        ("title", None, "title is missing; give a text"),
        ("title", " ", "title is ''; write it"),
        ("year", "2024", "year is '2024'; give the year as a number"),
        ("year", 24, "year is 24; give the year of publication"),
        ("arxiv", "arXiv:2405", "arxiv is 'arXiv:2405'; write it as 2405.20797"),
        ("kind", "architectur", "kind is 'architectur'; did you mean 'architecture'?"),
        ("seams", ["conector"], "seams is 'conector'; did you mean 'connector'?"),
        ("seams", [], "seams is []; name at least one"),
        ("seams", ["head", "head"], "name each once"),
        ("anatomy", ["language.layer"], "anatomy is 'language.layer'; did you mean 'language.layers'?"),
        ("state", "done", "state is 'done'; known: built, planned"),
        ("files", [], "a paper that is built has files"),
        ("files", [3], "give texts only"),
        ("use", "", "use is ''; write it"),
        ("bibtex", "Ovis 2024", "write one whole BibTeX entry"),
        ("reference", None, "reference is missing; give the table [reference]"),
        ("reference/repository", "https://x/AIDC-AI/Ovis", "reference.repository is"),
        ("reference/licence", None, "reference.licence is missing"),
        ("claim/kind", "superior", "claim.kind is 'superior'; did you mean 'superiority'?"),
        ("claim/shows", "capabilty", "claim.shows is 'capabilty'; did you mean 'capability'?"),
        ("claim/study", None, "claim.study is missing"),
        ("method/set", ["x"], "method.set is ['x']; give a table"),
        ("method/add", {"model.surgeries": "x"}, "method.add.model.surgeries is 'x'; give the list"),
        ("method/set", {"model..x": 1}, "write a field of the recipe"),
        ("control", None, "a method needs its matched control"),
        ("method", None, "a control without its method"),
        ("grid", {"model.connector.words": [1, 2, 3, 4]}, "words is [1, 2, 3, 4]; give a list of one"),
        ("abut", "x", "there is no such field; did you mean 'about'?"),
        ("claim/txt", "x", "claim.txt is 'x'; there is no such field; did you mean 'text'?"),
    ],
)  # fmt: skip
def test_faults_name_file_field_value_and_remedy(path, value, said):
    with pytest.raises(CatalogueError) as error:
        read(spoil(path, value))
    assert len(error.value.faults) == 1, error.value.faults
    assert error.value.faults[0].startswith("ovis.toml: ") and said in error.value.faults[0]


def test_all_faults_are_told_at_once():
    with pytest.raises(CatalogueError) as error:
        read({**WHOLE, "kind": "x", "year": 3, "claim": {**WHOLE["claim"], "kind": "y"}})
    assert len(error.value.faults) == 3


def test_what_is_no_toml():
    with pytest.raises(ValueError, match=r"ovis\.toml: is not TOML: .* mend that line"):
        parse("id = ", "ovis", "ovis.toml")


@pytest.mark.parametrize("name", ["files", "use", "method", "grid"])
def test_a_planned_paper_promises_nothing(name):
    values = planned("ovis")
    assert read(values).state == "planned"
    extra = {"files": ["src/x.py"], "use": "import x", "grid": {"a": [1]}}
    extra["method"] = WHOLE["method"]
    more = {"control": WHOLE["control"]} if name == "method" else {}
    with pytest.raises(CatalogueError, match="nothing of a planned paper runs"):
        read({**values, name: extra[name], **more})


def test_a_survey_claims_nothing():
    assert read(planned("ovis", claim={"kind": "none"})).claim.text == ""


@pytest.mark.parametrize(
    ("id", "title", "about", "name"),
    [
        ("mir", "Deciphering Alignment", "MIR is a number.", "MIR"),
        ("gamma_mod", "γ-MoD: Exploring Depth", "x", "γ-MoD"),
        ("video_ccam", "Video-CCAM: Masks", "x", "Video-CCAM"),
        ("skill_it", "Skill-it! A Framework", "x", "Skill-it"),
        ("stability_gap", "Efficient Continual Pre-training", "x", "stability gap"),
    ],
)
def test_names_as_people_write_them(id, title, about, name):
    text = toml(planned(id, title=title, about=about, changes="x"))
    assert parse(text, id, f"{id}.toml").name == name
