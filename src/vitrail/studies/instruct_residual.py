"""Does further pretraining of the base, tuned minus base weights being added afterwards, keep new knowledge
and the following of instructions better than further pretraining of the tuned model? (arXiv 2410.10739)

``vitrail study instruct_residual --testbed nano``: about half a minute a cell on one core. Expected: above zero, and
weak: the paper itself finds little at 1.5 B parameters and below, so that a null result is informative. A Llama of
width 128 and four layers learns to read facts about 48 people who do not exist (the base) and to answer questions
about them in a form that is asked for (the tuned model); both are made once, and kept in the cache. Then every arm
reads texts about 32 other people for as many steps, and nothing that instructs.

Two things are asked for at the end, alike: how likely texts are that tell the new facts in other orders and wordings,
and how likely the right answers about the old people are, in the form that each question asks for. The score is the
mean of both, in nats a token. δ = 0.02, two percent of perplexity. Questions about the new facts are not asked: no arm
of this size learns to answer them from reading (22 to 26 % right, guessing gets 25), so such a study tested nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.taught import Taught

EVALUATION = "development"
PROBE = "vitrail.studies.instruct_residual:moved"
OLD, NEW, WORLD, ASKED = 48, 32, 900_000, 128
BASE_STEPS, TUNING_STEPS, NEW_STEPS = 250, 200, 100
RATE = 1e-4
"""Of reading the new texts, before it is tuned: at the ten times larger rate of tuning chats are forgotten at once."""


def base() -> dict[str, Any]:
    """The recipe of the base: texts about the old people, from random weights."""
    texts = {"kind": "facts", "form": "texts", "people": OLD, "n": 3200, "seed": WORLD}
    return _recipe("facts-base", _language(), texts, BASE_STEPS, 3e-3)


def instruct() -> dict[str, Any]:
    """The recipe of the tuned model: questions about the old people, each with the form of its answer."""
    chats = {"kind": "facts", "form": "chats", "people": OLD, "n": 3200, "seed": WORLD}
    return _recipe("facts-instruct", {"recipe": base()}, chats, TUNING_STEPS, 1e-3)


def nano() -> Design:
    """The residual on the base against the tuned model; other scales, and none, as context."""
    method = _arm(
        "base, residual", base(), 1.0, "The base reads; tuned minus base is added when it has read."
    )
    return Design(
        name="instruction residuals against further pretraining of the tuned model",
        control=_arm("tuned", instruct(), 0.0, "The tuned model reads."),
        methods=(method,),
        context=(
            _arm("base", base(), 0.0, "The base reads, and nothing is added."),
            _arm("half of the residual", base(), 0.5, "Half of the difference is added."),
            _arm("one and a half", base(), 1.5, "One and a half times the difference is added."),
        ),
        evaluation=EVALUATION,
        delta=0.02,
        most=16,
    )


def _arm(name: str, start: Mapping[str, Any], scale: float, about: str) -> Arm:
    model: dict[str, Any] = {"recipe": dict(start)}
    if scale:
        pair = {"plus": {"recipe": instruct()}, "minus": {"recipe": base()}}
        model["deltas"] = [{**pair, "scale": scale, "when": "end"}]
    new = {"kind": "facts", "form": "texts", "people": NEW, "n": 3200}
    recipe = _recipe("facts-new", model, new, NEW_STEPS, RATE)
    held = {
        "new-texts": {**new, "n": ASKED, "fold": "development"},
        "old-chats": {
            "kind": "facts",
            "form": "chats",
            "people": OLD,
            "world": WORLD,
            "n": ASKED,
            "fold": "development",
        },
    }
    asked = {"kind": "mixture", "sources": dict.fromkeys(held, 1.0)}
    evaluation = [{"name": EVALUATION, "data": EVALUATION, "inferencer": "reference", "metric": "loss"}]
    whole = {"data": {**recipe["data"], **held, EVALUATION: asked}, "evaluation": evaluation}
    return Arm(name, changed(recipe, {"set": whole}, name), about, probe=PROBE)


def _language() -> dict[str, Any]:
    return {"language": dict(plain(load("pretrain-text"))["model"]["language"])}


def _recipe(name: str, model: Any, data: Any, steps: int, rate: float) -> dict[str, Any]:
    stage = {
        "name": "read",
        "data": "texts",
        "trains": ["all"],
        "learning_rate": rate,
        "warmup": 0.1,
        "batch_size": 32,
        "max_steps": steps,
    }
    return plain(load({"name": name, "model": model, "data": {"texts": data}, "stages": [stage]}))


def moved(run: Any, bundle: Any) -> dict[str, float]:
    """``moved``: how far reading went, as a share of the weights'. ``cosine``: of that and of the residual, where an
    arm knows one.
    """
    from vitrail.models.loading import load as load_model
    from vitrail.models.weights.model_delta import ModelDelta
    from vitrail.recipes.schema import Model
    from vitrail.recipes.trained import place_of, recipe_of

    def model_of(recipe: Any) -> Any:
        return load_model(place_of(recipe_of(recipe), "model")).model

    model = Model.model_validate(run.recipe()["model"])
    start, pair = model_of(model.recipe), _pair(model)
    change = ModelDelta.between(bundle.model.cpu(), start)
    found: dict[str, float] = {}
    if pair is not None:
        residual = ModelDelta.between(*(model_of(one) for one in pair))
        change = change - residual * sum(delta.scale for delta in model.deltas)
        found["cosine"] = residual.cosine(change)
    size = sum(float(value.detach().double().square().sum()) for value in start.parameters()) ** 0.5
    norm = sum(norm**2 for norm in change.norms().values()) ** 0.5
    return {**found, "moved": norm / size}


def _pair(model: Any) -> tuple[Any, Any] | None:
    """The recipes of the tuned model and the base that an arm's residual is, or would be, made of."""
    if model.deltas:
        return model.deltas[0].plus.recipe, model.deltas[0].minus.recipe
    inner = model.recipe["model"].get("recipe")
    return (model.recipe, inner) if inner else None


STUDY = Taught(
    paper="instruct_residual",
    claim="At equal steps on new texts, the base with the difference of tuned and base weights added afterwards has a "
    "lower loss over new facts and answers in the form that is asked for, taken together, than the tuned model that "
    "read the texts itself.",
    published="about four points above the tuned model on average, where further pretraining of the tuned model loses "
    "about ten points of IFEval (Llama 3 and 3.1 8B, up to a billion tokens; as secondary sources have it)",
    kind="superiority",
    delta=0.02,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={"nano": 12},
)
