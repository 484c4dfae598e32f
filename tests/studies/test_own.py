"""From the words of the command to a design, for fresh models and for ready ones."""

import pytest

from conftest import chat
from vitrail.data.readers import write_jsonl
from vitrail.papers.catalogue import read
from vitrail.recipes import assembly
from vitrail.recipes.loading import load, plain
from vitrail.studies.own import design, method_arm, on_own_file, seconds


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "mine.jsonl"
    write_jsonl([chat(f"what is it? {i}", f"thing {i}", seed=i) for i in range(24)], path, images="inline")
    return path


def ready(file, folder):
    fields = {"data.mine.path": str(file), "model.path": str(folder), "stages.tune.batch_size": 2}
    return on_own_file(plain(load("tune", fields)), "mine")


def test_a_file_becomes_three_folds_and_a_score(file, saved_family):
    base = ready(file, saved_family("llava"))
    assert base["data"]["mine"]["fold"] == "train" and base["data"]["result"]["fold"] == "test"
    (asked,) = base["evaluation"]
    assert asked["metric"]["name"] == "loss" and asked["inferencer"]["name"] == "reference"
    made = design(base, ["+ee_mllm"])
    assert not made.fresh and made.delta == 0.02 and made.evaluation == "mine"


BUILT = sorted(entry.id for entry in read().values() if entry.state == "built" and entry.method is not None)
REFUSED = {
    ("qwen2_5_vl", "tc_llava"): "time, height and width",
    ("qwen2_5_vl", "s2"): "no square native size",
    # All but the first three layers and the last, of three.
    ("llava", "gamma_mod"): "none of this model's 3",
    ("qwen2_5_vl", "gamma_mod"): "none of this model's 3",
    ("smolvlm", "gamma_mod"): "none of this model's 3",
    ("smolvlm", "s2"): "mask of patches",
    ("llava", "sltrain"): "discard_weights",
    ("qwen2_5_vl", "sltrain"): "discard_weights",
    ("smolvlm", "sltrain"): "discard_weights",
    ("qwen2_5_vl", "aligngpt"): "image_tokens",
    ("smolvlm", "aligngpt"): "image_tokens",
    ("llava", "aligngpt"): "image_tokens",
}
"""What a ready model of a family refuses, with a word of the reason."""


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_every_built_method_is_an_arm_on_ready_models_or_says_why_not(name, family, file, saved_family):
    base = ready(file, saved_family(family))
    arm, _ = method_arm(base, f"+{name}")
    wanted = load(arm.recipe).model.model_copy(update={"lora": None})
    if (family, name) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[family, name]):
            assembly.build(wanted)
        return
    bundle = assembly.build(wanted)
    if wanted.surgeries:
        assert [entry["name"] for entry in bundle.model.config.vitrail["surgeries"]]
    else:
        changed, before = load(arm.recipe), load(base)
        assert (changed.stages, changed.loop) != (before.stages, before.loop)
    encoded = bundle.encoder.encode(chat("what is it?", "a thing"))
    batch = bundle.collator()([encoded])
    from vitrail.inference.inputs import model_inputs

    assert bundle.model(**model_inputs(bundle.model, batch)).logits.shape[1] == encoded.length


def test_one_method_is_held_against_its_matched_control(file, saved_family):
    base = ready(file, saved_family("llava"))
    made = design(base, ["+ovis"])
    control = made.control.recipe["model"]["surgeries"][0]["connector"]
    assert (
        made.control.name == "control of ovis"
        and control["name"] == "mlp"
        and control["match"]["name"] == "ovis"
    )
    both = design(base, ["+ovis", "+ee_mllm"])
    assert both.control.name == base["name"] and [arm.name for arm in both.context] == ["control of ovis"]
    joined = design(base, ["+ovis+ee_mllm"])
    assert [one["name"] for one in joined.methods[0].recipe["model"]["surgeries"]] == ["connector", "ee_mllm"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+mir", "mir changes no recipe"),
        ("+oviss", "no paper is called 'oviss'; did you mean 'ovis'"),
    ],
)
def test_what_is_no_arm(word, message):
    with pytest.raises(ValueError, match=message):
        method_arm(plain(load("nano")), word)


def test_what_is_not_built_is_no_arm():
    planned = next(one.id for one in read().values() if one.state == "planned")
    with pytest.raises(ValueError, match="in the catalogue but not built yet"):
        method_arm(plain(load("nano")), f"+{planned}")


def test_other_recipes_are_arms():
    base = plain(load("nano"))
    other = {
        **base,
        "name": "wide",
        "model": {"testbed": "nano", "connector": {"name": "mlp", "hidden": 128}},
    }
    made = design(base, [], [other])
    assert [arm.name for arm in made.methods] == ["wide"] and made.control.name == "nano" and made.fresh


def test_a_file_of_two_kinds_is_refused(file, tmp_path):
    from vitrail.data.readers import open_source

    rows = list(open_source(file))
    asked = [{"type": "text", "text": "which?"}]
    options = {"options": [[{"type": "text", "text": text}] for text in ("a", "b")], "answer": 0}
    quiz = type(rows[0]).model_validate(
        {"messages": [{"role": "user", "content": asked}], "choices": options}
    )
    mixed = tmp_path / "mixed.jsonl"
    write_jsonl([*rows, quiz], mixed, images="inline")
    with pytest.raises(ValueError, match="1 of 25 records have choices"):
        on_own_file(plain(load("own-data", {"data.mine.path": str(mixed)})), "mine")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400), ("5min", 300)],
)
def test_budgets(text, wanted):
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "2", "h", "two hours", "0m", "-1h"])
def test_budgets_that_are_none(text):
    with pytest.raises(ValueError, match="budget"):
        seconds(text)
