"""The shipped catalogue tells the truth: 96 papers, files that exist, lines that compile, fields that a recipe has."""

import ast
import subprocess
import sys
import types
import typing

import pytest

from catalogue_files import WHOLE, planned, write
from vitrail.papers import catalogue
from vitrail.papers.catalogue import missing_files, paper, read

IDS = [
    "afrolm", "aim", "aligngpt", "bilingual_education", "bioptimus", "chef", "cloc", "clue", "coco_ift",
    "cross_lingual_prompting", "cube_llm", "data_synergy", "dreamlip", "ee_mllm", "gamma_mod",
    "gemquad", "genixer", "geopix", "gpt4image", "gsearch", "illume", "infinite_lr", "instruct_cir",
    "instruct_residual", "jaber", "langsamp", "layerwise_unmasking", "lem", "libra", "lid",
    "link_context", "llava_kd", "llava_mod", "llm2llm", "lmmrotate", "mask_instruct", "mc_bench", "mcl",
    "med_mat", "merlin", "mibench", "min_k", "mini_monkey", "minicpm_v", "mir", "mllm_dataengine",
    "mllm_tool", "mme_survey", "mmmamba", "mmneedle", "mmr", "mono_internvl", "moscar", "mova",
    "multilingual_survey", "multimodal_textbook", "notellm2", "ola_vlm", "oryx", "ovis", "pcb", "pink",
    "promac", "provable_pretraining", "proximity_qa", "pseudo_pretraining", "q_bench", "ragllava",
    "rap", "regionblip", "rlaif_v", "robofume", "s2", "salt", "seed_bench", "seed_bench_2",
    "seed_bench_2_plus", "semihvision", "skill_it", "sltrain", "sparse_scaling", "spdf",
    "stability_gap", "structural_ssl", "swift", "t2i_eval", "t2vid", "tc_llava", "tpo", "vicrop",
    "video_ccam", "video_mme", "vision_therapy", "web2code", "webmath", "x2dfd",
]  # fmt: skip


@pytest.fixture(scope="module")
def papers():
    return read()


def test_the_96(papers):
    assert len(IDS) == len(set(IDS)) == 96
    assert sorted(papers) == IDS


def test_every_file_of_a_built_paper_is_there(papers):
    assert missing_files(papers.values(), catalogue.checkout()) == []


def test_python_to_use_compiles(papers):
    python = {
        one.id: one.use
        for one in papers.values()
        if any(line.startswith(("import ", "from ")) for line in one.use.strip().splitlines())
    }
    imported = {id: {type(node) for node in ast.walk(ast.parse(use))} for id, use in python.items()}
    assert len(imported) >= 7 and all(ast.ImportFrom in nodes for nodes in imported.values())


def test_arms_change_fields_that_a_recipe_has(papers):
    from vitrail.recipes.schema import Recipe

    assert not unknown_field(Recipe, "model.surgeries") and not unknown_field(
        Recipe, "stages.0.objective.weight"
    )
    assert not unknown_field(Recipe, "model.connector.words") and not unknown_field(
        Recipe, "stages.tune.learning_rate"
    )
    assert unknown_field(Recipe, "model.conector") == "conector"
    assert unknown_field(Recipe, "stages.0.lr") == "lr"
    wrong = []
    for one in papers.values():
        sides = [arm for arm in (one.method, one.control) if arm]
        arms = sides + [arm.ready for arm in sides if arm.ready]
        for name in [*(name for arm in arms for name in (*arm.set, *arm.add)), *one.grid]:
            part = unknown_field(Recipe, name)
            if part:
                wrong.append(f"{one.id}.toml: {name!r} has no field {part!r}")
    assert wrong == []


def unknown_field(model, dotted):
    """The first part of a dotted field that the recipe's model does not have, or None.

    What lies inside a component (its settings) or a plain mapping is not known to the schema; a list's items are
    named by position or name.
    """
    from vitrail.settings.component import Component

    kinds = [model]
    for part in dotted.split("."):
        options = [kind for outer in kinds for kind in plain_types(outer)]
        if any(kind is dict or typing.get_origin(kind) is dict for kind in options):
            return None
        if any(isinstance(kind, type) and issubclass(kind, Component) for kind in options):
            return None
        items = [kind for kind in options if typing.get_origin(kind) in (tuple, list)]
        if items:
            kinds = [inner for kind in items for inner in typing.get_args(kind) if inner is not Ellipsis]
            continue
        fields = [kind.model_fields for kind in options if hasattr(kind, "model_fields")]
        kinds = [field[part].annotation for field in fields if part in field]
        if not kinds:
            return part
    return None


def plain_types(kind):
    """The alternatives of a union, without Annotated."""
    if typing.get_origin(kind) is typing.Annotated:
        return plain_types(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [inner for one in typing.get_args(kind) for inner in plain_types(one)]
    return [kind]


def test_a_missing_file_is_told(tmp_path):
    folder = write(tmp_path / "papers", {**WHOLE, "files": ["src/here.py", "src/gone.py", "../out.py"]})
    (tmp_path / "src").mkdir()
    (tmp_path / "src/here.py").touch()
    faults = missing_files(read(folder).values(), tmp_path)
    assert len(faults) == 2 and "files has 'src/gone.py', which is not there" in faults[0]
    assert "from the repository's root" in faults[1]


def test_faults_of_all_files_come_together(tmp_path):
    folder = write(tmp_path, WHOLE, planned("later", kind="x"), planned("never", year=3))
    (folder / "odd.toml").write_bytes(b"id = '\xff'")
    with pytest.raises(ValueError) as error:
        read(folder)
    text = str(error.value)
    assert (
        "later.toml: kind" in text and "never.toml: year" in text and "odd.toml: byte 6 is not UTF-8" in text
    )


@pytest.mark.parametrize("name", ["ovis", "+ovis", "OVIS", "video-ccam", "Video-CCAM"])
def test_a_paper_by_its_name(tmp_path, name):
    folder = write(tmp_path, WHOLE, planned("video_ccam", title="Video-CCAM: Masks"))
    assert paper(name, folder).id in ("ovis", "video_ccam")


def test_a_wrong_name(tmp_path):
    folder = write(tmp_path, WHOLE)
    with pytest.raises(ValueError, match="no paper is called 'oviss'; did you mean 'ovis'"):
        paper("oviss", folder)
    with pytest.raises(ValueError, match="'vitrail papers' lists them"):
        paper("zzz", folder)


def test_reading_imports_nothing_of_ours_and_nothing_heavy():
    code = (
        "import sys, vitrail.papers as p; p.read(); print(*sorted(m for m in sys.modules if m.startswith('vitrail.')));"
        "print(*{m.partition('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pydantic', 'rich', 'yaml', 'jinja2'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    ours, heavy = done.stdout.splitlines()
    assert all(name.startswith("vitrail.papers") for name in ours.split()), ours
    assert heavy == ""
