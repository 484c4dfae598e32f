"""One contract for every family: layout, forward, padding, generation, likelihood, save and load."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import families
from conftest import chat, picture
from vitrail.data.image_plans.plan import Visual
from vitrail.data.records import Chat, Document, Text
from vitrail.inference import generation
from vitrail.inference.generation import GenerationSettings, generate_from
from vitrail.inference.inputs import extended, model_inputs
from vitrail.inference.likelihood import option_logprobs
from vitrail.models.layout import Modality, Speaker
from vitrail.models.loading import load

each_family = pytest.mark.parametrize("name", families.MULTIMODAL)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Bundles of the families, loaded from folders; each once."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = load(families.save_family(name, tmp_path_factory.mktemp("families") / name))
        return found[name]

    return get


def mixed(seed=0):
    """Text only, one picture, several of other shapes, in an order that tempts a mix-up."""
    wide, tall = picture(seed + 50, (70, 20)), picture(seed + 51, (15, 40))
    several = [wide, {"type": "text", "text": "and"}, tall, {"type": "text", "text": "differ?"}]
    return [
        chat("hello there", "good day", images=0),
        Chat(
            messages=[
                {"role": "user", "content": several},
                {"role": "assistant", "content": "yes, they do"},
            ]
        ),
        chat("what is this?", "a cat", seed=seed),
        chat("and now?", "two dogs", "where?", "left", seed=seed + 1),
    ]


def logits(bundle, encoded, side="right"):
    """Logits of each record's own tokens."""
    batch = bundle.collator(side)(encoded)
    with torch.inference_mode():
        found = bundle.model(**model_inputs(bundle.model, batch), use_cache=False).logits
    return [row[mask.bool()] for row, mask in zip(found, batch["attention_mask"], strict=True)]


@each_family
def test_layout_has_the_plans_tokens_at_the_placeholders(loaded, name):
    bundle = loaded(name)
    record = mixed()[1]
    encoded = bundle.encoder.encode(record)
    visual = encoded.modality == Modality.IMAGE
    assert visual.tolist() == (encoded.input_ids == bundle.model.config.image_token_id).tolist()
    planner, sizes = bundle.encoder.planner, [(70, 20), (15, 40)]
    plans = planner.several(sizes) if hasattr(planner, "several") else [planner(*size) for size in sizes]
    places = np.stack([encoded.frame, encoded.row, encoded.col], 1)
    for item, plan in enumerate(plans):
        own = visual & (encoded.item == item)
        assert places[own].tolist() == plan.coords.tolist()
        assert own.sum() == plan.num_tokens == sum(len(s) for s in plan.spans if isinstance(s, Visual))
    assert (encoded.item[~visual] == -1).all() and (encoded.speaker[visual] == Speaker.USER).all()
    learnt = bundle.tokenizer.decode(encoded.input_ids[encoded.labels != -100], skip_special_tokens=True)
    assert learnt.strip() == "yes, they do"
    assert encoded.labels[encoded.labels != -100][-1] == bundle.encoder.end_of_turn[0]


@each_family
def test_each_picture_matters_and_only_to_what_follows_it(loaded, name):
    bundle = loaded(name)
    question = [{"type": "text", "text": "and"}, {"type": "text", "text": "?"}]

    def record(first, second):
        content = [picture(first, (24, 24)), question[0], picture(second, (30, 12)), question[1]]
        return bundle.encoder.encode(Chat(messages=[{"role": "user", "content": content}]))

    (base,), (first,), (second,) = (logits(bundle, [record(*seeds)]) for seeds in ((1, 2), (3, 2), (1, 4)))
    assert (base[-1] - first[-1]).abs().max() > 1e-3
    assert (base[-1] - second[-1]).abs().max() > 1e-3
    if name != "paligemma":  # its prefix sees itself
        place = int(np.argmax(record(1, 2).item == 1))
        assert (base[:place] - first[:place]).abs().max() > 1e-3
        assert (base[:place] - second[:place]).abs().max() == 0


@each_family
def test_pictures_stand_among_the_text_of_a_document(loaded, name):
    bundle = loaded(name)

    def page(first, second):
        content = ("A cat.", picture(first, (24, 24)), "Two dogs.", picture(second, (30, 12)), "The end.")
        return Document(content=[Text(text=part) if isinstance(part, str) else part for part in content])

    if name == "paligemma":
        with pytest.raises(
            ValueError, match="documents with pictures are not for this model: all its pictures"
        ):
            bundle.encoder.encode(page(1, 2))
        return
    encoded = bundle.encoder.encode(page(1, 2))
    own = bundle.tokenizer
    pieces = [own.decode(encoded.input_ids[encoded.labels != -100][:-1])]
    assert "".join(pieces).split() == ["A", "cat.Two", "dogs.The", "end."] and len(encoded.images) == 2
    places = [np.flatnonzero(encoded.item == item) for item in (0, 1)]
    planner, sizes = bundle.encoder.planner, [(24, 24), (30, 12)]
    plans = planner.several(sizes) if hasattr(planner, "several") else [planner(*size) for size in sizes]
    assert [len(place) for place in places] == [plan.num_tokens for plan in plans]
    assert own.decode(encoded.input_ids[: places[0][0]], skip_special_tokens=True).strip() == "A cat."
    assert encoded.labels[-1] == own.eos_token_id and (encoded.labels[encoded.item >= 0] == -100).all()
    (base,), (first,), (second,) = (
        logits(bundle, [bundle.encoder.encode(page(*seeds))]) for seeds in ((1, 2), (3, 2), (1, 4))
    )
    begins = [int(place[0]) for place in places]
    assert (base[: begins[0]] - first[: begins[0]]).abs().max() == 0
    assert (base[begins[1] - 1] - first[begins[1] - 1]).abs().max() > 1e-3
    assert (base[: begins[1]] - second[: begins[1]]).abs().max() == 0
    assert (base[-1] - second[-1]).abs().max() > 1e-3


@each_family
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mixed_batch_says_what_its_rows_say_alone(loaded, name, side):
    bundle = loaded(name)
    encoded = [bundle.encoder.encode(record) for record in mixed()]
    together = logits(bundle, encoded, side)
    for record, row in zip(encoded, together, strict=True):
        (alone,) = logits(bundle, [record])
        assert torch.allclose(row.log_softmax(-1), alone.log_softmax(-1), atol=1e-5)


@each_family
def test_generation_equals_recomputation(loaded, name):
    bundle = loaded(name)
    prompts = [
        bundle.encoder.encode(Chat(messages=r.messages[:1]), add_generation_prompt=True) for r in mixed()
    ]
    replies = generate_from(bundle, prompts, GenerationSettings(max_new_tokens=4))
    ends = {*bundle.encoder.end_of_turn, bundle.tokenizer.eos_token_id}
    for prompt, reply in zip(prompts, replies, strict=True):
        said = []
        while len(said) < 4:
            (row,) = logits(bundle, [extended(prompt, said)])
            if (token := int(row[-1].argmax())) in ends:
                break
            said.append(token)
        assert list(reply.tokens) == said


@each_family
def test_questions_about_one_picture_are_answered_as_each_alone(loaded, name, monkeypatch):
    """Every token's log-probabilities are within 1e-5, and the beginning is forwarded once where that is sound."""
    bundle, settings = loaded(name), GenerationSettings(max_new_tokens=4)
    chats = [chat("is " * (n % 4) + "it?", images=1 + n // 3, seed=n // 3, id=str(n)) for n in range(6)]
    prompts = [
        bundle.encoder.encode(one, add_generation_prompt=True) for one in (*chats, chat("no", images=0))
    ]
    said: dict = {}
    monkeypatch.setattr(generation, "drawing", lambda rows, _: [Recorded([row.id for row in rows], said)])
    alone = [generate_from(bundle, [prompt], settings)[0] for prompt in prompts]
    apart, collated = dict(said), []
    said.clear()
    plain = type(bundle).collator

    def counting(self, side):
        return lambda records: collated.append(len(records)) or plain(self, side)(records)

    monkeypatch.setattr(type(bundle), "collator", counting)
    assert generate_from(bundle, prompts, settings) == alone
    assert sum(collated) == (7 if generation.why_not_shared(bundle.model, settings) else 3)
    for one, rows in apart.items():
        for mine, wanted in zip(said[one], rows, strict=False):
            assert torch.allclose(mine, wanted, atol=1e-5)
    shared = [said[str(n)][0] for n in range(6)]
    assert (shared[0] - shared[1]).abs().max() > 1e-4 and (shared[0] - shared[4]).abs().max() > 1e-4
    options = [bundle.encoder.answer_ids(text) for text in ("a cat", "no")]
    items = [(prompt, options) for prompt in prompts]
    ranked, wanted = (
        option_logprobs(bundle.model, bundle.collator("right"), items, share_prompt=share)
        for share in (None, False)
    )
    for one, plainly in zip(ranked, wanted, strict=True):
        assert one.sums == pytest.approx(plainly.sums, abs=5e-5)


class Recorded:
    """A logits processor that changes nothing and keeps the log-probabilities of each prompt, token by token."""

    def __init__(self, ids, said):
        self.ids, self.said = ids, said

    def __call__(self, input_ids, scores):
        for one, row in zip(self.ids, scores, strict=True):
            self.said.setdefault(one, []).append(row.log_softmax(-1))
        return scores


@each_family
def test_beams_of_a_batch_are_those_of_its_rows(loaded, name):
    bundle = loaded(name)
    prompts = [
        bundle.encoder.encode(Chat(messages=r.messages[:1]), add_generation_prompt=True) for r in mixed()
    ]
    settings = GenerationSettings(max_new_tokens=3, num_beams=2)
    together = generate_from(bundle, prompts, settings)
    assert [r.tokens for r in together] == [
        generate_from(bundle, [prompt], settings)[0].tokens for prompt in prompts
    ]


@each_family
def test_likelihoods_equal_a_plain_forward(loaded, name):
    bundle = loaded(name)
    prompts = [
        bundle.encoder.encode(Chat(messages=r.messages[:1]), add_generation_prompt=True) for r in mixed()
    ]
    options = [bundle.encoder.answer_ids(text) for text in ("a cat", "no", "two of them")]
    found = option_logprobs(bundle.model, bundle.collator(), [(prompt, options) for prompt in prompts])
    for prompt, scores in zip(prompts, found, strict=True):
        for option, values in zip(options, scores.tokens, strict=True):
            (row,) = logits(bundle, [extended(prompt, option)])
            plain = row.log_softmax(-1)[prompt.length - 1 : -1].gather(-1, torch.tensor(option)[:, None])[
                :, 0
            ]
            assert torch.allclose(torch.tensor(values), plain, atol=1e-5)


@each_family
def test_saved_and_loaded_it_is_the_same(loaded, name, tmp_path):
    bundle = loaded(name)
    bundle.save(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.model.state_dict().keys() == bundle.model.state_dict().keys()
    for key, value in bundle.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key
    for record in mixed():
        one, other = bundle.encoder.encode(record), again.encoder.encode(record)
        assert one.input_ids.tolist() == other.input_ids.tolist()
        assert torch.equal(logits(bundle, [one])[0], logits(again, [other])[0])


@each_family
def test_plain_transformers_loads_what_was_saved(loaded, name, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    bundle = loaded(name)
    bundle.save(tmp_path / "again")
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "again").eval()
    batch = model_inputs(plain, bundle.collator()([bundle.encoder.encode(r) for r in mixed()]))
    with torch.inference_mode():
        assert torch.equal(plain(**batch).logits, bundle.model(**batch).logits)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert tokenizer("a red cat")["input_ids"] == bundle.tokenizer("a red cat")["input_ids"]
    assert (tokenizer.chat_template or None) == (bundle.tokenizer.chat_template or None)


@each_family
@pytest.mark.parametrize(
    "marker", ["<image>", "<|image_pad|>", "<start_of_image>", "<IMG_CONTEXT>", "<fake_token_around_image>"]
)
def test_a_marker_in_a_text_stays_text(loaded, name, marker):
    bundle = loaded(name)
    encoded = bundle.encoder.encode(chat(f"is {marker} a word?", f"{marker} is", seed=3))
    plain = bundle.encoder.encode(chat("is it a word?", "it is", seed=3))
    count = (plain.modality == Modality.IMAGE).sum()
    assert (encoded.modality == Modality.IMAGE).sum() == count
    assert (encoded.input_ids == bundle.model.config.image_token_id).sum() == count
    token = bundle.tokenizer.convert_tokens_to_ids(marker)
    if token is not None:
        assert (encoded.input_ids == token).sum() == (plain.input_ids == token).sum()
    learnt = bundle.tokenizer.decode(encoded.input_ids[encoded.labels != -100])
    assert learnt.strip().startswith(f"{marker} is")


@each_family
def test_training_reaches_every_part_with_a_picture(loaded, name):
    bundle = loaded(name)
    from vitrail.models import anatomy

    batch = bundle.collator()([bundle.encoder.encode(record) for record in mixed()])
    bundle.model.zero_grad()
    bundle.model(**model_inputs(bundle.model, batch), labels=batch["labels"]).loss.backward()
    parts = anatomy.parts(bundle.model)
    for part in ("tower.blocks", "connector", "language.layers", "language.embeddings"):
        gradients = [p.grad for p in parts[part].parameters()]
        assert any(g is not None and g.abs().max() > 0 for g in gradients), part
    bundle.model.zero_grad()
