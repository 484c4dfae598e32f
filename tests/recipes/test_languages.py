"""Language models from a configuration: what a recipe says, what is built, what is refused."""

import pytest
import torch

from conftest import chat
from vitrail.models import anatomy
from vitrail.recipes import assembly, shapes
from vitrail.recipes.loading import load
from vitrail.recipes.problems import RecipeError
from vitrail.recipes.run import train
from vitrail.recipes.schema import Model

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA = {"model_type": "llama", "tie_word_embeddings": True, **SIZES}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
TOWER = {
    "name": "huggingface",
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "vision_use_head": False,
    },
}


def language(config=LLAMA, tokenizer="nano", **changes):
    return {"config": {**config, **changes}, "tokenizer": tokenizer}


def recipe(**model):
    return {
        "name": "pretrain",
        "model": model or {"language": language()},
        "data": {
            "texts": {"kind": "scene_texts", "suite": "nano-scenes-v1", "n": 24},
            "held": {"kind": "scene_texts", "suite": "nano-scenes-v1", "fold": "development", "n": 6},
        },
        "stages": [
            {"name": "read", "data": "texts", "trains": ["all"], "batch_size": 4, "max_steps": 6,
             "learning_rate": 5e-3}
        ],
        "evaluation": [{"name": "held", "data": "held", "inferencer": "reference", "metric": "loss"}],
    }  # fmt: skip


def numbers(model):
    return [(row.name, row.kind, row.parameters) for row in anatomy.counts(model)]


KINDS = [
    LLAMA,
    {**LLAMA, "model_type": "qwen2"},
    {**LLAMA, "model_type": "gemma2", "head_dim": 8, "tie_word_embeddings": True},
    GPT2,
    {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
]


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config["model_type"])
def test_any_causal_language_model_from_its_settings(config):
    model = Model(language=language(config))
    built = assembly.build(model, seed=3)
    assert built.model.config.model_type == config["model_type"] and built.family.kind == "language"
    assert built.model.config.vocab_size == len(built.tokenizer)
    own = [getattr(built.tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")]
    assert [
        getattr(built.model.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    ] == own
    assert {parameter.dtype for parameter in built.model.parameters()} == {torch.float32}
    assert built.encoder.encode(chat("what?", "a cat").model_copy(update={"messages": TALK})).labelled > 0


TALK = tuple(
    message.model_copy(update={"content": message.content[-1:]})
    for message in chat("what?", "a cat").messages
)


def test_same_seed_same_weights_and_the_callers_state_stays():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (assembly.build(Model(language=language()), seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.model.embed_tokens.weight, other.model.embed_tokens.weight)


SLTRAIN = {"name": "sltrain", "rank": 4, "density": 0.05}


@pytest.mark.parametrize("surgeries", [(), (SLTRAIN,)], ids=["whole", "sltrain"])
def test_shapes_alone_count_as_the_real_model(surgeries):
    model = Model(language=language(), surgeries=surgeries)
    built, seen = assembly.build(model), shapes.shapes(model)
    assert numbers(seen.model) == numbers(built.model)
    assert all(parameter.is_meta for parameter in seen.model.parameters())
    assert seen.planner is None and seen.encoder is not None


def test_behind_a_tower_it_is_one_model():
    model = Model(
        tower=TOWER, connector={"name": "mlp", "pool": 2}, language=language(), surgeries=(SLTRAIN,)
    )
    built = assembly.build(model, seed=1)
    assert built.family.kind == "multimodal" and built.encoder.encode(chat("what?", "a cat")).labelled > 0
    assert numbers(shapes.on_meta(model)) == numbers(built.model)
    batch = built.collator()([built.encoder.encode(chat("what?", "a cat"))])
    assert torch.isfinite(built.model(**batch).logits).all()


def test_a_larger_vocabulary_is_kept():
    built = assembly.build(Model(language=language(vocab_size=2000)))
    assert built.model.get_input_embeddings().weight.shape[0] == 2000


def test_a_tokenizer_in_a_folder_without_a_chat_template_gets_one(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(["<unk>", "<end>", "a", "cat", "what", "?"])}
    built = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    own = PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>", eos_token="<end>")
    own.save_pretrained(tmp_path / "words")
    bundle = assembly.build(Model(language=language(tokenizer=str(tmp_path / "words"))))
    assert len(bundle.tokenizer) == 8 and bundle.model.config.vocab_size == 8
    assert bundle.model.config.pad_token_id == bundle.tokenizer.eos_token_id == 1
    assert bundle.encoder.end_of_turn == [bundle.tokenizer.convert_tokens_to_ids("<|im_end|>")]
    with pytest.raises(ValueError, match=r"vocab_size is 6, and the tokenizer .* has 8 tokens"):
        assembly.build(Model(language=language(tokenizer=str(tmp_path / "words"), vocab_size=6)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"config": LLAMA}, "model.language.tokenizer: this field is required with 'config'"),
        (
            {"name": "a", "config": LLAMA, "tokenizer": "nano"},
            "model.language.config: a model by 'name' brings",
        ),
        ({"name": "a", "tokenizer": "nano"}, "model.language.tokenizer: a model by 'name' brings its own"),
        ({"name": "a"}, "a ready language model alone is given as 'path'"),
        ({}, "model.language.name: give a hub name or folder, or 'config'"),
        (language(model_type="lama"), "config.model_type: .* did you mean 'llama'"),
        (
            language(model_type="vit"),
            "config.model_type: transformers has no causal language model or masked",
        ),
        ({"config": SIZES, "tokenizer": "nano"}, "config.model_type: this field is required"),
        (language(hiden_size=32), "config.hiden_size: llama has no such setting; did you mean 'hidden_size'"),
        (language(hidden_size="32"), "model.language.config: transformers does not take these settings"),
        (language(hidden_size=30), "not a multiple of the number of attention heads"),
    ],
)
def test_what_cannot_be_meant(given, said):
    with pytest.raises(RecipeError, match=said):
        load(recipe(language=given))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            language(vocab_size=10),
            "vocab_size is 10, and the tokenizer 'nano' has [0-9]+ tokens; leave it out",
        ),
        (language(eos_token_id=7), "eos_token_id is 7, and the tokenizer's is 2; leave it out"),
        (language(tokenizer="/nowhere/at/all"), "'/nowhere/at/all' has no tokenizer that can be read"),
    ],
)
def test_what_does_not_fit_the_tokenizer(given, said):
    model = load(recipe(language=given)).model
    for use in (assembly.build, shapes.shapes):
        with pytest.raises(ValueError, match=said):
            use(model)


def test_a_tokenizers_folder_is_relative_to_the_recipe(tmp_path):
    import yaml

    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe(language=language(tokenizer="./words"))))
    assert load(tmp_path / "mine.yaml").model.language.tokenizer == str(tmp_path / "words")


@pytest.mark.parametrize("surgeries", [[], [SLTRAIN]], ids=["whole", "sltrain"])
def test_pretraining_is_a_recipe(tmp_path, surgeries):
    result = train(recipe(language=language(), surgeries=surgeries), run_folder=tmp_path / "run")
    losses = {name: scores["loss"] for name, scores in result.scores["held"].items()}
    assert set(losses) == {"trained", "untrained"} and losses["trained"] < losses["untrained"] - 0.1
    again = train(recipe(language=language(), surgeries=surgeries), run_folder=tmp_path / "again")
    assert again.scores["held"]["trained"]["loss"] == losses["trained"]
    bundle = result.load()
    assert bundle.family.kind == "language" and result.report is not None
    from vitrail.data.scenes import suite
    from vitrail.data.scenes.texts import SceneTexts

    own = [
        bundle.encoder.encode(record)
        for record in SceneTexts(suite("nano-scenes-v1"), "development", seed=0, n=6)
    ]
    with torch.no_grad():
        plain = [float(_loss(bundle, one)) for one in own]
    assert sum(plain) / len(plain) == pytest.approx(losses["trained"], abs=1e-4)


def _loss(bundle, encoded):
    ids = torch.tensor(encoded.input_ids)[None]
    logits = bundle.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:])


def test_texts_of_a_file_are_read_in_rows_of_the_context(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"a cat and {n} dogs in the top left. " * 40 for n in range(9)))
    whole = recipe(language=language(max_position_embeddings=64))
    file = {"kind": "file", "path": str(tmp_path / "a.txt")}
    whole["data"] = {"texts": {**file, "fold": "train"}, "held": {**file, "fold": "test"}}
    whole["evaluation"][0]["conditions"] = ["trained"]
    heard = Heard()
    result = train(whole, run_folder=tmp_path / "run", progress=heard)
    assert any("documents divided into" in line and "of at most 64 tokens" in line for line in heard.notes)
    scores = result.scores["held"]["trained"]
    assert scores["n"] == 1 and scores["loss"] > 0


class Heard:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def __getattr__(self, name):
        return lambda *args, **named: None


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"inferencer": "generate", "metric": "match"},
            "nothing is asked; use the inferencer 'reference'",
        ),
        (
            {"instruction": "template", "inferencer": "reference", "metric": "loss"},
            "use the instruction 'plain'",
        ),
        ({"instruction": "lettered"}, "use the instruction 'plain'"),
    ],
)
def test_a_text_is_not_asked(parts, said):
    from vitrail.data.scenes import suite
    from vitrail.data.scenes.texts import SceneTexts
    from vitrail.evaluation.scenarios import as_item

    item = as_item(SceneTexts(suite("nano-scenes-v1"), n=1)[0], 0, None)
    bundle = assembly.build(Model(language=language()))
    from vitrail.evaluation.task import Task

    task = Task(name="x", **parts)
    with pytest.raises(ValueError, match=said):
        task.part("inferencer").encode(bundle, task.part("instruction").prompt(item), None)


def test_texts_about_scenes_have_no_blind_condition():
    whole = load(recipe())
    assert whole.conditions_of(whole.evaluation[0]) == ("trained", "untrained")
