"""What tests of objectives with a teacher share: a student, a teacher of other weights, batches."""

import copy
from types import SimpleNamespace

import torch

from conftest import chat
from vitrail import registry
from vitrail.models.testbeds import nano
from vitrail.objectives.teacher import Teacher

for _name, _target in (("llava_kd", "llava_kd:LlavaKD"), ("salt", "salt:Salt")):
    registry.register("objective", _name, f"vitrail.objectives.{_target}", "")

TEACHER = {"path": "somewhere"}
"""For settings alone: tests hand the teacher over themselves."""


def pair(seed=1):
    """A nano student in training mode and a teacher of another seed."""
    student, other = nano.build(seed=0), nano.build(seed=seed)
    student.model.train()
    return SimpleNamespace(student=student, other=other, teacher=Teacher.of(other, student))


def batch_of(bundle, *answers, images=1, collator=None):
    counts = images if isinstance(images, (list, tuple)) else [images] * len(answers)
    records = [
        chat("what is it?", answer, images=count, seed=i)
        for i, (answer, count) in enumerate(zip(answers, counts, strict=True))
    ]
    return (collator or bundle.collator())([bundle.encoder.encode(one) for one in records])


def calls(model):
    """A list that grows by one with each forward of ``model``."""
    seen = []
    model.register_forward_hook(lambda *_: seen.append(1))
    return seen


def state_of(model):
    return copy.deepcopy({name: value.clone() for name, value in model.state_dict().items()})


def gradients(model):
    return {
        name: p.grad.clone()
        for name, p in model.named_parameters()
        if p.grad is not None and bool(p.grad.any())
    }


def same_state(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)
