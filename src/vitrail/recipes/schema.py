"""The recipe: a model, its stages and its evaluation, in one typed file.

Everything is frozen and refuses unknown fields. What a field may hold is checked while the recipe is read,
before anything is built: components against their own ``Config``, names of data sources against ``data``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vitrail.loops.parts import Loop
from vitrail.recipes import continuing, looping, mixing, subsets
from vitrail.recipes.benchmark_data import Benchmark, Composed
from vitrail.recipes.components import (
    Connector,
    InferenceMethod,
    Inferencer,
    Instruction,
    Metric,
    MixtureRule,
    Surgery,
    Tower,
)
from vitrail.recipes.deltas import Delta
from vitrail.recipes.dual_encoders import DualEncoder
from vitrail.recipes.episode_data import Demonstrated, Episodes
from vitrail.recipes.invented_data import Facts, Translations
from vitrail.recipes.named_data import NamedThings
from vitrail.recipes.relevant import Relevant
from vitrail.recipes.subsets import Subset
from vitrail.registry import nearest
from vitrail.settings.faults import NOTHING, inner_errors
from vitrail.training.stages import StageConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""A name that is also a folder's: letters, digits, ``.``, ``_``, ``-``."""


class Frozen(BaseModel):
    """Immutable, and refuses fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Language(Frozen):
    """The language model. ``name``: a hub name or folder, its weights in safetensors, with its own tokenizer.

    Or ``config``: settings of a configuration of transformers, ``model_type`` among them, for random weights (drawn
    with the recipe's seed). ``tokenizer`` then names a folder, a hub's model, or the testbed ``nano``,
    ``nano_pretrained`` or (for masked encoders: bert, xlm-roberta, modernbert …) ``nano_multilingual``; it decides the
    vocabulary's size and special tokens, unless ``vocab_size`` is larger.
    """

    name: str | None = Field(default=None, min_length=1)
    config: dict[str, Any] | None = None
    tokenizer: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_origin(self) -> Language:
        wrong: list[tuple[tuple[str | int, ...], str, Any]] = []
        if self.name is not None and self.config is not None:
            why = "a model by 'name' brings its configuration and weights; remove one of the two"
            wrong = [(("config",), why, NOTHING)]
        elif self.name is not None and self.tokenizer is not None:
            why = "a model by 'name' brings its own tokenizer; remove this field"
            wrong = [(("tokenizer",), why, self.tokenizer)]
        elif self.config is not None:
            from vitrail.recipes.languages import faults

            wrong = [(("config", *path), why, value) for path, why, value in faults(self.config)]
            if self.tokenizer is None:
                why = "this field is required with 'config': a folder, a hub name, or nano_pretrained"
                wrong.append((("tokenizer",), why, NOTHING))
        elif self.name is None:
            why = "give a hub name or folder, or 'config' and 'tokenizer' for random weights"
            wrong = [(("name",), why, NOTHING)]
        if wrong:
            raise inner_errors(wrong)
        return self


class Lora(Frozen):
    """Low-rank adapters (Hu et al. 2021), through PEFT.

    ``r`` is the rank, ``alpha`` / ``r`` the scale (``alpha`` / √r with ``rslora``); ``where`` the parts that get
    adapters, and ``targets`` the names of their linear layers, or ``all``. Of the language model and the tower only
    the blocks get any. ``dora`` learns the size of each weight's columns apart (Liu et al. 2024). They are folded into
    the saved model; ``save: both`` keeps them beside it, too, in PEFT's format (the run's ``adapter`` folder).
    """

    r: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all"] = "all"
    where: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(default=("language",), min_length=1)
    rslora: bool = False
    dora: bool = False
    save: Literal["merged", "both"] = "merged"


class Quantization(Frozen):
    """Linear layers of the language model kept in fewer ``bits``, frozen, under adapters that train (QLoRA).

    ``kind`` and ``double`` are for 4 bits: which 16 levels, and whether the scales are quantised once more. ``where``:
    the parts, as for ``lora``. ``compute``: what their products are computed in; ``auto`` is bfloat16 on an accelerator
    and the input's type on a CPU. Needs ``pip install 'vitrail[quantised]'`` (bitsandbytes). The adapters are folded
    into the weights as they were before, which takes memory for the whole model once, at the end.
    """

    bits: Literal[4, 8] = 4
    kind: Literal["nf4", "fp4"] = "nf4"
    double: bool = True
    where: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(default=("language",), min_length=1)
    compute: Literal["auto", "float32", "bfloat16"] = "auto"

    @model_validator(mode="after")
    def _has_effect(self) -> Quantization:
        for name in {"kind", "double"} & self.model_fields_set if self.bits == 8 else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                why = "it has no effect with 8 bits; remove it, or set bits: 4"
                raise inner_errors([((name,), why, getattr(self, name))])
        return self


def _bits(value: Any) -> Any:
    return {"bits": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Model(Frozen):
    """What is trained, in one of five ways.

    ``path``: a ready model of any family that is known (docs/families.md), by folder or hub name. ``testbed``: the
    tower and language model of ``small`` (real weights, fetched once), ``nano`` (tiny, random) or ``nano_pretrained``
    (tiny, trained on scenes of 64 pixels), with a fresh ``connector``. Or ``tower``, ``connector`` and ``language``,
    each by itself. Or ``language`` alone with a ``config``: a language model to be pretrained. Or ``recipe``: the
    model that another recipe trains, once, kept in the cache. ``surgeries`` and ``lora`` go with all five: surgeries
    change the model in their order, and adapters come last. ``deltas`` are differences of weights that are added to a
    model by ``path`` or ``recipe``, before training or after it.

    ``dtype``: of the weights that do not train (those that do are float32); ``auto`` is what a ready model's
    configuration says, and float32 for the others. ``image``: settings of a ready model's image processor, such as
    ``max_pixels``: what a picture costs follows them, and they are saved with the model. ``quantization`` (4, 8, or
    settings): what adapters train on top of.
    """

    path: str | None = None
    recipe: str | dict[str, Any] | None = None
    testbed: Literal["small", "nano", "nano_pretrained"] | None = None
    tower: Tower | None = None
    connector: Connector | None = None
    language: Annotated[Language, BeforeValidator(_named)] | None = None
    dual_encoder: DualEncoder | None = None
    deltas: tuple[Delta, ...] = ()
    surgeries: tuple[Surgery, ...] = ()
    lora: Lora | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    image: dict[str, Any] | None = Field(default=None, min_length=1)
    quantization: Annotated[Quantization | None, BeforeValidator(_bits)] = None

    @model_validator(mode="after")
    def _adapters_train(self) -> Model:
        if self.quantization is None or self.dual_encoder is not None:
            return self
        if self.lora is None:
            why = "quantised weights do not train, adapters on them do; give 'lora', or remove this field"
            raise inner_errors([(("quantization",), why, self.quantization.bits)])
        if self.lora.dora:
            why = "DoRA reads the weights that 'quantization' quantises; set it to false, or remove 'quantization'"
            raise inner_errors([(("lora", "dora"), why, True)])
        return self

    @model_validator(mode="after")
    def _one_way(self) -> Model:
        given = [name for name in ("tower", "connector", "language") if getattr(self, name) is not None]
        if self.dual_encoder is not None:
            others = ("path", "recipe", "testbed", "deltas", "surgeries", "lora", "image", "quantization")
            unwanted = given + [name for name in others if getattr(self, name)]
            unwanted += ["dtype"] if self.dtype != "auto" else []
            why = "a dual encoder ('dual_encoder') has no place for it; remove one of the two"
        elif self.path is not None or self.recipe is not None:
            unwanted = given + (["testbed"] if self.testbed else [])
            unwanted += ["recipe"] if self.path is not None and self.recipe is not None else []
            why = (
                f"a ready model ({'path' if self.path else 'recipe'!r}) brings its own; remove one of the two"
            )
        elif self.testbed is not None:
            unwanted = [name for name in given if name != "connector"]
            why = f"the testbed {self.testbed!r} brings its own; remove one of the two"
        else:
            unwanted = sorted({"tower", "connector", "language"} - set(given))
            why = "this field is required unless 'path', 'recipe' or 'testbed' is given"
            if self.language is not None and self.language.config is not None and len(given) == 1:
                unwanted = []
            elif given == ["language"]:
                why += " (a ready language model alone is given as 'path')"
        if unwanted:
            raise inner_errors([((name,), why, NOTHING) for name in unwanted])
        if self.deltas and self.path is None and self.recipe is None:
            why = "weights are added to a ready model ('path' or 'recipe'); remove this field"
            raise inner_errors([(("deltas",), why, NOTHING)])
        if self.image is not None and self.path is None:
            why = "only a ready model ('path') has an image processor of its own; remove this field"
            raise inner_errors([(("image",), why, self.image)])
        return self


class Scenes(Frozen):
    """Scenes of a frozen suite. A stage reads ``n`` conversations of it, an evaluation ``n`` questions.

    ``seed`` draws the scenes (default: the recipe's seed); ``kinds`` limits the kinds of question; ``turns``
    are the fewest and most of a conversation. ``suite`` is a frozen suite's name, or the file of one's own.
    ``form: sequences`` shows ``length`` frames (default 4) one behind the other instead of one picture, and asks
    about their order, too; ``told_sequences`` are conversations about frames that are written out, without pictures.
    ``documents`` are pages of two to four pictures, each with its caption, to pretrain on; in a share ``shuffled`` of
    them the pictures change places, as a control; with ``foreign`` each picture stands before its caption, and that
    share of both is from elsewhere.
    With ``kinds: [caption]`` an evaluation and a loop ask for descriptions, answered in words.
    ``leading``: a share ``leading`` (default half) of a conversation's questions takes a falsehood for granted; an
    evaluation asks such alone.
    """

    kind: Literal["scenes"] = "scenes"
    suite: str = "scenes-v1"
    form: Literal["scenes", "sequences", "told_sequences", "leading", "documents"] = "scenes"
    length: int | None = None
    leading: float | None = Field(default=None, ge=0, le=1)
    shuffled: float | None = Field(default=None, ge=0, le=1)
    foreign: float | None = Field(default=None, ge=0, le=1)
    fold: Literal["train", "development", "test"] = "train"
    names: Literal["known", "development", "held-out", "helpers"] = "known"
    n: int = Field(default=1000, ge=1)
    seed: int | None = Field(default=None, ge=0)
    kinds: tuple[str, ...] | None = None
    turns: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _goes_with_its_form(self) -> Scenes:
        for name in ("kinds", "turns") if self.form == "documents" else ():
            if (given := getattr(self, name)) is not None:
                raise inner_errors([((name,), "documents are no conversations; remove it", given)])
        if self.shuffled is not None and self.form != "documents":
            why = "only documents have pictures to shuffle; remove it, or set form: documents"
            raise inner_errors([(("shuffled",), why, self.shuffled)])
        if self.foreign is not None and (self.form != "documents" or self.shuffled is not None):
            why = "only documents that are not shuffled have foreign parts; remove it, or set form: documents"
            raise inner_errors([(("foreign",), why, self.foreign)])
        if self.length is not None and self.form in ("scenes", "leading", "documents"):
            why = "only sequences have a length; remove it, or set form: sequences"
            raise inner_errors([(("length",), why, self.length)])
        if self.leading is not None and self.form != "leading":
            why = (
                "only conversations of form: leading have leading questions; remove it, or set form: leading"
            )
            raise inner_errors([(("leading",), why, self.leading)])
        return self


class File(Frozen):
    """A file or folder of records, in any format and container that is read (docs/data.md).

    ``n`` takes the first so many; ``on_error`` what a bad row does; ``root`` where relative paths of pictures begin
    (default: the file's folder). A record of more than ``max_length`` tokens is refused (``too_long: raise``), left
    out and counted (``drop``), or loses whole turns from its end until it fits (``cut_turns``); default as
    ``on_error`` says. ``fold`` takes the part of the file that is for training, for tuning or for the result, divided
    by pictures with ``split_seed`` (:mod:`vitrail.data.folds`).
    """

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1)
    n: int | None = Field(default=None, ge=1)
    on_error: Literal["raise", "set_aside"] = "raise"
    root: str | None = None
    fold: Literal["train", "development", "test"] | None = None
    split_seed: int = Field(default=0, ge=0)
    max_length: int | None = Field(default=None, ge=1)
    too_long: Literal["raise", "drop", "cut_turns"] | None = None


class SceneTexts(Frozen):
    """Texts about the scenes of a frozen suite, without pictures, to pretrain on: what is where, then questions to it.

    Fields as those of scenes. All of a text is learnt; an evaluation reads it with the inferencer ``reference``.
    """

    kind: Literal["scene_texts"] = "scene_texts"
    suite: str = "scenes-v1"
    fold: Literal["train", "development", "test"] = "train"
    names: Literal["known", "helpers"] = "known"
    n: int = Field(default=1000, ge=1)
    seed: int | None = Field(default=None, ge=0)
    kinds: tuple[str, ...] | None = None
    turns: tuple[int, int] | None = None


class Puzzle(Frozen):
    """Questions in text of one skill of a task: ``lego`` (skills 1 to ``size``, the variables of a chain; default 5) or
    ``addition`` (skills 0 to ``size`` − 1, the digits of a sum; default 3). ``seed`` as with scenes.
    """

    kind: Literal["puzzle"] = "puzzle"
    task: Literal["lego", "addition"]
    skill: int = Field(ge=0)
    size: int | None = Field(default=None, ge=1)
    fold: Literal["train", "development", "test"] = "train"
    n: int = Field(default=1000, ge=1)
    seed: int | None = Field(default=None, ge=0)


def _as_shares(value: Any) -> Any:
    return dict.fromkeys(value) if isinstance(value, (list, tuple)) else value


class Mixture(Frozen):
    """Several of the ``data`` in shares; a source may be a mixture itself.

    ``sources``: names of other data with their shares (divided by their sum), or a list of names, whose sizes are the
    shares. ``rule`` decides what becomes of them: ``fixed`` keeps them (its ``temperature`` makes them more even),
    ``kept`` gives those of some sources to another, ``skill_it`` follows losses. Shares are counted in records or, by
    ``unit: tokens``, in tokens. ``n``: of an epoch, in that unit (default: everything once).
    """

    kind: Literal["mixture"] = "mixture"
    sources: Annotated[dict[str, float | None], BeforeValidator(_as_shares)] = Field(min_length=1)
    rule: MixtureRule = Field(default="fixed", validate_default=True)  # type: ignore[assignment]
    unit: Literal["records", "tokens"] = "records"
    n: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _shares(self) -> Mixture:
        wrong = mixing.faults(self)
        if wrong:
            raise inner_errors(wrong)
        return self


Data = Annotated[
    Scenes
    | SceneTexts
    | File
    | Puzzle
    | Benchmark
    | Composed
    | Translations
    | Facts
    | NamedThings
    | Episodes
    | Demonstrated
    | Mixture
    | Subset
    | Relevant,
    Field(discriminator="kind"),
]

Condition = Literal["trained", "blind", "untrained"]


class Evaluation(Frozen):
    """Questions from ``data``, asked under several ``conditions``.

    ``trained`` is the trained model; ``blind`` the same model with every picture grey; ``untrained`` the
    model before its first stage. By default all that there are: a recipe without stages has no untrained one, and
    texts about scenes, translations and facts no blind one. ``methods`` of inference are used in all of them.
    """

    name: Name
    data: str
    instruction: Instruction = Field(default="plain", validate_default=True)
    inferencer: Inferencer = Field(default="likelihood", validate_default=True)
    metric: Metric = Field(default="accuracy", validate_default=True)
    methods: tuple[InferenceMethod, ...] = ()
    conditions: tuple[Condition, ...] | None = Field(default=None, min_length=1)
    batch_size: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _goes_together(self) -> Evaluation:
        self.task()
        if self.methods:
            from vitrail.inference.methods import build, require_combinable

            require_combinable([(one.name, build(one.name, one.settings)) for one in self.methods])
        return self

    def task(self) -> Any:
        """The :class:`vitrail.evaluation.task.Task`. ValueError if inferencer and metric do not fit."""
        from vitrail.evaluation.task import Task

        chosen = {name: getattr(self, name) for name in ("instruction", "inferencer", "metric")}
        parts = {name: {"name": part.name, **part.settings} for name, part in chosen.items()}
        return Task(name=self.name, **parts)


class Report(Frozen):
    """The HTML report: its title, and how many pictures its gallery shows for each evaluation."""

    title: str | None = None
    gallery: int = Field(default=60, ge=0, le=2000)


def _path_as_model(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Recipe(Frozen):
    """A model, its stages and its evaluation. See ``vitrail recipe show quickstart`` for a whole one.

    ``loop`` repeats the stages that train on its data, round after round, on what it makes of them (docs/loops.md).
    """

    name: Name
    about: str = ""
    seed: int = Field(default=0, ge=0)
    model: Annotated[Model, BeforeValidator(_path_as_model)]
    data: dict[str, Data] = {}
    stages: tuple[StageConfig, ...] = ()
    loop: Loop | None = None
    evaluation: tuple[Evaluation, ...] = ()
    report: Report = Report()

    @model_validator(mode="after")
    def _names_agree(self) -> Recipe:
        wrong: list[tuple[tuple[str | int, ...], str, Any]] = []
        for group in ("stages", "evaluation"):
            seen: dict[str, int] = {}
            for position, item in enumerate(getattr(self, group)):
                if item.data not in self.data:
                    hint = nearest(item.data, sorted(self.data))
                    wrong.append(
                        ((group, position, "data"), f"'data' has no source of this name; {hint}", item.data)
                    )
                elif group == "stages" and self.data[item.data].kind == "benchmark":
                    message = (
                        "a benchmark is asked, not trained on; name other data, or use it in 'evaluation'"
                    )
                    wrong.append(((group, position, "data"), message, item.data))
                if item.name in seen:
                    message = f"{group}.{seen[item.name]} has the same name; give each its own"
                    wrong.append(((group, position, "name"), message, item.name))
                seen.setdefault(item.name, position)
        for position, one in enumerate(self.evaluation):
            if not self.stages and one.conditions and "untrained" in one.conditions:
                message = "there are no stages, so no untrained model; leave this condition out"
                wrong.append((("evaluation", position, "conditions"), message, list(one.conditions)))
        wrong += subsets.faults(self)
        wrong += mixing.recipe_faults(self) + continuing.faults(self.stages, set(self.data))
        wrong += looping.faults(self)
        if wrong:
            raise inner_errors(wrong)
        return self

    def conditions_of(self, evaluation: Evaluation) -> tuple[Condition, ...]:
        """The conditions of an evaluation: its own, or all that there are."""
        every: tuple[Condition, ...] = ("trained", "blind", "untrained")
        there = every if self.stages else every[:2]
        if self.data[evaluation.data].kind in ("scene_texts", "puzzle", "translations", "facts"):
            there = tuple(name for name in there if name != "blind")
        return evaluation.conditions or there

    def seed_of(self, source: str) -> int:
        """The seed that draws the data source: its own, or the recipe's."""
        own = getattr(self.data[source], "seed", None)
        return self.seed if own is None else own


def json_schema() -> dict[str, Any]:
    """The JSON schema of recipe files, for editors; components' own settings included."""
    schema = Recipe.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    _hoist({key: value for key, value in schema.items() if key != "$defs"}, definitions)
    for value in list(definitions.values()):
        _hoist(value, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "vitrail-recipe", **schema}


def _hoist(node: Any, definitions: dict[str, Any]) -> None:
    """Move definitions that stand inside a component's schema to the root, where references look for them."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _hoist(child, definitions)
    if isinstance(node, dict):
        definitions.update(node.pop("$defs", {}))
