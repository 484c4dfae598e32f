"""A teacher beside a student: the same tokens and pictures in every family, and refusals before anything is spent."""

import copy

import pytest
import torch

import families
from distilling import TEACHER, batch_of, calls
from vitrail.models.frozen import FrozenTower
from vitrail.models.loading import load
from vitrail.models.testbeds import nano as testbed
from vitrail.objectives.alignment import Reader, align
from vitrail.objectives.forward import Needs
from vitrail.objectives.llava_kd import LlavaKD
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Sum
from vitrail.objectives.salt import Salt
from vitrail.objectives.teacher import Teacher


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_a_model_teaches_another_of_its_family(family, saved_family, tmp_path):
    student = load(saved_family(family))
    other = load(families.save_family(family, tmp_path / "other", seed=1))
    teacher = Teacher.of(other, student)
    collator = student.collator()
    teacher.feed(collator)
    batch = batch_of(student, "a red cat", "a dog", images=[1, 2], collator=collator)
    assert not any(name.startswith("teacher.") for name in batch)  # one image processor serves both
    alone = other.model(
        **{
            n: v
            for n, v in batch_of(other, "a red cat", "a dog", images=[1, 2]).items()
            if n not in ("labels", "layout")
        }
    )
    at = torch.ones_like(batch["input_ids"], dtype=torch.bool)
    torch.testing.assert_close(
        teacher.look(batch, Needs(at)).logits(at), alone.logits.flatten(0, 1), rtol=1e-4, atol=1e-5
    )
    own = calls(student.model)
    kd = LlavaKD(LlavaKD.Config(teacher=TEACHER), teacher)
    loss = Sum([(1.0, NextToken()), (1.0, kd)])(student.model, batch)
    loss.total().backward()
    assert len(own) == 1 and teacher.calls == 2
    assert all(float(value.detach()) > 0 for value in loss.sums.values())
    assert loss.counts["relation_kd"] == 3


def test_a_plain_language_model_teaches_a_plain_one():
    from vitrail.models.bundle import Bundle
    from vitrail.models.folders import ProcessorParts

    made = testbed.build(seed=0)
    tokenizer = made.tokenizer
    tokenizer.chat_template = made.encoder.chat_template
    student, other = (
        Bundle.of(testbed.build(seed=seed).model.language, ProcessorParts(tokenizer)) for seed in (0, 1)
    )
    batch = batch_of(student, "a red cat", "a dog", images=0)
    loss = Salt(Salt.Config(teacher=TEACHER, n_kd=1), Teacher.of(other, student))(student.model, batch)
    assert loss.counts["distillation"] == loss.counts["next_token"] > 0


def test_stored_features_are_shared_where_the_tower_is_the_same_and_pixels_prepared_where_not():
    student, same, other = (testbed.build(seed=seed) for seed in (0, 1, 2))
    same.model.tower.load_state_dict(student.model.tower.state_dict())
    student.vision = FrozenTower(student.model.tower, runtime="torch", dtype="float32")
    for bundle, shared in ((same, True), (other, False)):
        teacher, collator = Teacher.of(bundle, student), student.collator()
        teacher.feed(collator)
        batch = batch_of(student, "a red cat", "a dog", images=[2, 1], collator=collator)
        assert ("teacher.0.pixel_values" in batch) == (not shared)
        at = torch.ones_like(batch["input_ids"], dtype=torch.bool)
        found = teacher.look(batch, Needs(at)).logits(at)
        alone = batch_of(bundle, "a red cat", "a dog", images=[2, 1])
        expected = bundle.model(**{name: value for name, value in alone.items() if name != "labels"}).logits
        torch.testing.assert_close(found, expected.flatten(0, 1), rtol=1e-3, atol=1e-4)
        NextToken()(student.model, batch)  # the student does not mind what is there for the teacher


def test_a_teacher_is_loaded_when_it_is_asked_and_again_after_it_left():
    student, opened = testbed.build(seed=0), []

    def open_it():
        opened.append(1)
        return testbed.build(seed=1)

    teacher = Teacher(open_it, student)
    batch = batch_of(student, "a red cat")
    objective = LlavaKD(LlavaKD.Config(teacher=TEACHER, beta=0, gamma=0), teacher)
    objective(student.model, batch)
    objective(student.model, batch)
    assert len(opened) == 1 and teacher.present
    teacher.release()
    assert not teacher.present
    objective(student.model, batch)
    assert len(opened) == 2


def reader(bundle):
    return Reader.of(bundle.encoder)


def test_different_words_or_pictures_are_refused_with_the_first_difference(saved_family):
    nano = testbed.build(seed=0)
    assert align(reader(nano), reader(nano)).vocabulary == len(nano.tokenizer)
    with pytest.raises(ValueError, match=r"token \d+ is .* to the student and .* to the teacher"):
        align(reader(nano), reader(load(saved_family("llava"))))
    llava = load(saved_family("llava"))
    more = copy.copy(reader(llava))
    object.__setattr__(
        more,
        "planner",
        lambda width, height: llava.encoder.planner(width, height).__class__((width, height), (), ()),
    )
    with pytest.raises(
        ValueError, match=r"64 × 64 pixels becomes \d+ visual tokens in the student and 0 visual"
    ):
        align(reader(llava), more)
    words = Reader(llava.tokenizer)
    assert align(reader(llava), words).text_alone and not align(words, reader(llava)).text_alone
    teacher = Teacher.of(load(saved_family("smolvlm")), llava)
    with pytest.raises(ValueError, match=r"teacher .*: token"):
        _ = teacher.bundle


def test_a_tokenizer_of_the_same_words_that_cuts_otherwise_is_refused():
    from tokenizers import pre_tokenizers

    nano, other = testbed.build(seed=0), testbed.build(seed=0)
    other.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    with pytest.raises(ValueError, match=r"cut .* differently"):
        align(reader(nano), reader(other))


def test_a_teacher_without_pictures_has_no_visual_terms():
    from vitrail.models.bundle import Bundle
    from vitrail.models.folders import ProcessorParts

    student, other = testbed.build(seed=0), testbed.build(seed=1)
    other.tokenizer.chat_template = other.encoder.chat_template
    teacher = Teacher.of(Bundle.of(other.model.language, ProcessorParts(other.tokenizer)), student)
    batch = batch_of(student, "a red cat", "a dog")
    with pytest.raises(ValueError, match=r"takes no pictures.*set beta and gamma to 0"):
        LlavaKD(LlavaKD.Config(teacher=TEACHER), teacher)(student.model, batch)
    loss = LlavaKD(LlavaKD.Config(teacher=TEACHER, beta=0, gamma=0), teacher)(student.model, batch)
    assert float(loss.sums["response_kd"].detach()) > 0


def test_packed_rows_are_refused():
    student = testbed.build(seed=0)
    batch = batch_of(student, "a red cat")
    batch["layout"].segment[0, -2:] = 1
    with pytest.raises(ValueError, match="train without packing"):
        Teacher.of(testbed.build(seed=1), student).look(batch, Needs(batch["attention_mask"].bool()))


def test_heads_of_different_width_are_compared_over_the_common_words(saved_family, tmp_path):
    student = load(saved_family("llava"))
    other = load(families.save_family("llava", tmp_path / "other", seed=1))
    other.model.resize_token_embeddings(other.model.get_input_embeddings().weight.shape[0] + 7)
    batch = batch_of(student, "a red cat")
    loss = LlavaKD(LlavaKD.Config(teacher=TEACHER), Teacher.of(other, student))(student.model, batch)
    assert all(torch.isfinite(value) for value in loss.sums.values())
