"""The study of a memory: arms learn from the same scenes and questions, and differ in what stands in the prompt."""

from vitrail.recipes.loading import load, plain
from vitrail.recipes.sources import open_data
from vitrail.studies import rap
from vitrail.studies.declaring import study
from vitrail.studies.house import EVALUATION
from vitrail.studies.setting_up import cell


def design():
    return study("rap").design("nano")


def conversations(arm, n=4):
    recipe = load(
        {**arm.recipe, "data": {**arm.recipe["data"], "named": {**arm.recipe["data"]["named"], "n": n}}}
    )
    return list(open_data(recipe, "named", "conversations"))


def test_with_and_without_a_memory_the_same_is_learnt():
    made = design()
    with_entries, without = conversations(made.methods[0]), conversations(made.control)
    for one, other in zip(with_entries, without, strict=True):
        assert one.images[0] == other.images[0] and len(other.images) == 1 < len(one.images)
        assert one.messages[1:] == other.messages[1:]
    assert made.control.recipe["stages"] == made.methods[0].recipe["stages"]
    assert made.control.recipe["evaluation"][0]["methods"] == []


def test_questions_are_about_things_that_no_stage_has_seen():
    made = design()
    one = cell(made.methods[0], "primary", evaluation=EVALUATION, draw=7)
    recipe = load(one.recipe)
    learnt = open_data(recipe, recipe.stages[-1].data, "conversations")
    asked = open_data(recipe, "asked", "questions")
    assert set(asked.pool.names).isdisjoint(learnt.pool.names) and len(asked.pool.names) == 16
    assert recipe.seed_of("asked") == recipe.seed_of("named") == 7
    tuning = cell(made.methods[0], "tuning", evaluation=EVALUATION, draw=9, fold="development")
    tuned = open_data(load(tuning.recipe), "asked", "questions")
    assert set(tuned.pool.names).isdisjoint({*asked.pool.names, *learnt.pool.names})


def test_context_arms_change_one_thing_each():
    made = design()
    method = made.methods[0].recipe
    arms = {arm.name: arm.recipe for arm in made.context}
    trained = [name for name, one in arms.items() if one["data"]["named"] == method["data"]["named"]]
    assert trained == ["mixed up"]
    assert arms["lines alone"]["evaluation"][0]["methods"][0]["pictures"] is False
    assert all(one["stages"] == method["stages"] for one in arms.values())


def test_names_that_were_learnt_are_not_those_that_are_asked():
    arm = next(one for one in design().context if one.name == "renamed")
    recipe = load(cell(arm, "context", evaluation=EVALUATION, draw=2).recipe)
    learnt, asked = open_data(recipe, "named", "conversations"), open_data(recipe, "asked", "questions")
    assert learnt.pool.names == asked.pool.names
    names = [{one.name for one in source.memory()} for source in (learnt, asked)]
    assert len(names[0]) == len(names[1]) == 32 and names[0].isdisjoint(names[1])


def test_captions_and_recognition_are_read_off_an_answering_model(nano, tmp_path):
    from vitrail.evaluation.run import run_task
    from vitrail.storage.runs import RunFolder

    made = study("rap").design("nano", mock=True)
    recipe = load(cell(made.methods[0], "primary", evaluation=EVALUATION, draw=1, questions=12).recipe)
    (asked,) = recipe.evaluation
    methods = [(one.name, one.settings) for one in asked.methods]
    source = open_data(recipe, asked.data, "questions")
    with RunFolder(tmp_path).writing(plain(recipe)) as run:
        run_task(asked.task(), nano, run.evaluation(asked.name).parent, source=source, methods=methods)
    found = rap.said(run, nano)
    assert set(found) > {"captions, F1", "captions, invented", "not there, right", "found"}
    assert all(0 <= value <= 1 for value in found.values())
