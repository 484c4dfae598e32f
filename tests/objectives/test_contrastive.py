"""The contrast equals plain sums over pairs, leaves doubles out, and is one large batch over several processes."""

from __future__ import annotations

import copy
import inspect
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from conftest import chat
from vitrail.models.pairs import IMAGE_KEY, TEXT_KEY
from vitrail.models.testbeds import dual
from vitrail.objectives.contrastive import Contrastive
from vitrail.training.stages import StageConfig
from vitrail.training.trainer import train_stage


class Given(nn.Module):
    """A model that returns embeddings as they are."""

    def __init__(self, x, y, scale=5.0, bias=None):
        super().__init__()
        self.x, self.y = nn.Parameter(x), nn.Parameter(y)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(bias))

    def forward(self, input_ids):
        unit = nn.functional.normalize
        return SimpleNamespace(image_embeds=unit(self.x, dim=-1), text_embeds=unit(self.y, dim=-1))


def given(n=6, **settings):
    generator = torch.Generator().manual_seed(0)
    return Given(torch.randn(n, 8, generator=generator), torch.randn(n, 8, generator=generator), **settings)


def batch(images, texts):
    ids = torch.zeros(len(images), 3, dtype=torch.long)
    return {"input_ids": ids, IMAGE_KEY: torch.tensor(images), TEXT_KEY: torch.tensor(texts)}


def plain(model, images, texts, kind, mask):
    """The sums of the module's docstring, pair by pair."""
    unit = nn.functional.normalize
    x, y = unit(model.x, dim=-1).detach(), unit(model.y, dim=-1).detach()
    scale, n, total = float(model.logit_scale.detach().exp()), len(images), 0.0

    def z(i, j):
        return scale * float(x[i] @ y[j]) + (0.0 if model.logit_bias is None else float(model.logit_bias))

    def double(i, j):
        return mask and i != j and (images[i] == images[j] or texts[i] == texts[j])

    for i in range(n):
        if kind == "sigmoid":
            for j in range(n):
                if not double(i, j):
                    total += math.log(1 + math.exp(-z(i, j) if i == j else z(i, j)))
            continue
        kept = [j for j in range(n) if not double(i, j)]
        total -= (z(i, i) - math.log(sum(math.exp(z(i, j)) for j in kept))) / 2
        total -= (z(i, i) - math.log(sum(math.exp(z(j, i)) for j in kept))) / 2
    return total


IMAGES, TEXTS = [0, 1, 2, 2, 4, 5], [0, 0, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["infonce", "sigmoid"])
@pytest.mark.parametrize("duplicates", ["mask", "keep"])
def test_it_equals_the_slow_sums(kind, duplicates):
    model = given(bias=-2.0 if kind == "sigmoid" else None)
    objective = Contrastive(Contrastive.Config(loss=kind, duplicates=duplicates))
    loss = objective(model, batch(IMAGES, TEXTS))
    expected = plain(model, IMAGES, TEXTS, kind, duplicates == "mask")
    assert float(loss.sums["contrastive"]) == pytest.approx(expected, rel=1e-5)
    assert loss.counts == {"contrastive": 6} and objective.count(batch(IMAGES, TEXTS)) == 6
    assert float(loss.total()) == pytest.approx(expected / 6, rel=1e-5)


def test_without_doubles_it_is_the_loss_of_clip():
    bundle = dual.nano()
    records = [chat("what?", f"number {i}", seed=i) for i in range(5)]
    made = bundle.collator()([bundle.encoder.encode(one) for one in records])
    own = bundle.model(**{k: v for k, v in made.items() if not k.endswith("_key")}, return_loss=True).loss
    torch.testing.assert_close(Contrastive()(bundle.model, made).total(), own)


def test_it_does_not_decompose():
    objective, model = Contrastive(), given()
    assert not objective.decomposes and objective.counts(batch(IMAGES, TEXTS)) == {}
    whole = float(objective(model, batch(range(6), range(6))).sums["contrastive"])
    halves = 0.0
    for part in (slice(0, 3), slice(3, 6)):
        half = Given(model.x[part].detach(), model.y[part].detach())
        halves += float(objective(half, batch(range(3), range(3))).sums["contrastive"])
    assert whole > halves + 0.5


def test_the_scale_is_held_and_bad_input_is_told():
    cold = given(scale=1e6)
    held = Contrastive()(cold, batch(range(6), range(6))).sums["contrastive"]
    assert float(held) == pytest.approx(
        plain(given(scale=100.0), range(6), range(6), "infonce", True), rel=1e-4
    )
    with pytest.raises(ValueError, match="needs the model's logit_bias"):
        Contrastive(Contrastive.Config(loss="sigmoid"))(given(), batch(range(6), range(6)))
    with pytest.raises(ValueError, match="holds one; raise batch_size"):
        Contrastive()(given(1), batch([0], [0]))
    with pytest.raises(ValueError, match="no 'image_key'"):
        Contrastive()(given(), {"input_ids": torch.zeros(6, 3)})


def test_training_lowers_it_and_finds_the_pairs(tmp_path):
    bundle = dual.nano()
    colours = ["red", "green", "blue", "yellow", "white", "black", "grey", "pink"]
    pairs = [
        bundle.encoder.encode(chat("what?", f"a {colour} thing", seed=i)) for i, colour in enumerate(colours)
    ]
    config = StageConfig(
        name="align", objective="next_token", trains=("vision.projection", "text", "temperature"),
        learning_rate=3e-3, batch_size=8, max_steps=30, length_batches=False,
    )  # fmt: skip
    before = float(Contrastive()(bundle.model, bundle.collator()(pairs)).total())
    tower = copy.deepcopy(bundle.model.tower.state_dict())
    result = train_stage(bundle.model, pairs, bundle.collator(), Contrastive(), config, tmp_path / "stage")
    made = bundle.collator()(pairs)
    with torch.no_grad():
        logits = bundle.model(**{k: v for k, v in made.items() if not k.endswith("_key")}).logits_per_image
    assert result.loss < 0.5 * before
    assert (logits.argmax(1) == torch.arange(8)).float().mean() > 0.7
    for name, value in tower.items():
        assert torch.equal(bundle.model.tower.state_dict()[name], value)


TWO = """
import math, sys, torch, torch.distributed as dist
from types import SimpleNamespace
from torch import nn
from vitrail.objectives.contrastive import IMAGE_KEY, TEXT_KEY, Contrastive
IMAGES, TEXTS = {images}, {texts}
rank, place = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + place + "/meet", rank=rank, world_size=2)
whole = given(bias=-1.0)
part = slice(3 * rank, 3 * rank + 3)
own = Given(whole.x[part].detach(), whole.y[part].detach(), bias=-1.0)
for kind in ("infonce", "sigmoid"):
    own.zero_grad()
    loss = Contrastive(Contrastive.Config(loss=kind))(own, batch(IMAGES[part], TEXTS[part]))
    loss.total().backward()
    scale = own.logit_scale.grad / 2
    dist.all_reduce(scale)
    torch.save([own.x.grad / 2, own.y.grad / 2, scale], f"{{place}}/{{kind}}-{{rank}}.pt")
dist.destroy_process_group()
"""


@pytest.mark.long
def test_two_processes_are_one_large_batch(tmp_path):
    head, _, tail = TWO.format(images=IMAGES, texts=TEXTS).partition("IMAGES, ")
    made = "\n".join(inspect.getsource(one) for one in (Given, given, batch))
    program = f"{head}{made}\nIMAGES, {tail}"
    runs = [
        subprocess.Popen([sys.executable, "-c", program, str(rank), str(tmp_path)], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=600)
        assert run.returncode == 0, errors.decode()[-2000:]
    for kind in ("infonce", "sigmoid"):
        model = given(bias=-1.0)
        objective = Contrastive(Contrastive.Config(loss=kind))
        objective(model, batch(IMAGES, TEXTS)).total().backward()
        found = [torch.load(tmp_path / f"{kind}-{rank}.pt", weights_only=True) for rank in range(2)]
        torch.testing.assert_close(torch.cat([found[0][0], found[1][0]]), model.x.grad)
        torch.testing.assert_close(torch.cat([found[0][1], found[1][1]]), model.y.grad)
        torch.testing.assert_close(found[0][2], model.logit_scale.grad)
