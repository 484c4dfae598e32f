"""Option likelihoods: one plain forward for each option is the reference; everything else must equal it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import transformers as T

from conftest import chat
from families import IMAGE, TEXT, gemma3, llava, qwen2vl, smolvlm
from vitrail.data.records import Image, Message
from vitrail.inference.likelihood import OptionLogProbs, option_logprobs, rank
from vitrail.inference.picture_prefix import why_not
from vitrail.inference.prefill import prompt_sharing
from vitrail.models.encoding import Encoded

FAMILIES = {"llava": llava, "qwen2vl": qwen2vl, "smolvlm": smolvlm}


class Collate:
    """Pads prompts of one family; each has one picture, drawn from its id."""

    def __init__(self, family: str, side: str = "right") -> None:
        self.family, self.side = family, side

    def __call__(self, records: list[Encoded]) -> dict:
        width = max(record.length for record in records)
        ids = torch.zeros(len(records), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, record in enumerate(records):
            begin = width - record.length if self.side == "left" else 0
            ids[row, begin : begin + record.length] = torch.from_numpy(record.input_ids)
            mask[row, begin : begin + record.length] = 1
        batch = {"input_ids": ids, "attention_mask": mask, "labels": ids.clone(), "layout": object()}
        draws = [torch.Generator().manual_seed(int(record.id)) for record in records]
        shape = {"qwen2vl": (16, 96), "smolvlm": (1, 3, 16, 16)}.get(self.family, (3, 16, 16))
        pixels = [torch.randn(shape, generator=draw) for draw in draws]
        if self.family == "qwen2vl":
            grid = torch.tensor([[1, 4, 4]] * len(records))
            extra = {"image_grid_thw": grid, "mm_token_type_ids": (ids == IMAGE).int()}
            return {**batch, "pixel_values": torch.cat(pixels), **extra}
        if self.family == "gemma3":
            batch["token_type_ids"] = (ids == IMAGE).long()
        return {**batch, "pixel_values": torch.stack(pixels)}


def encoded(ids: list[int], name: int) -> Encoded:
    n = len(ids)
    blank = np.full(n, -1)
    return Encoded(
        input_ids=np.array(ids),
        labels=np.full(n, -100),
        weight=np.zeros(n, dtype=np.float32),
        modality=np.zeros(n, dtype=np.int64),
        item=blank,
        frame=blank,
        row=blank,
        col=blank,
        speaker=np.zeros(n, dtype=np.int64),
        id=str(name),
    )


def questions(tokens: int, n: int = 7) -> list:
    rng = np.random.default_rng(0)
    items = []
    for name in range(n):
        ids = [
            1,
            *rng.integers(3, 100, 1 + name % 3),
            *[IMAGE] * tokens,
            *rng.integers(3, 100, 2 + 3 * name % 7),
        ]
        lengths = [1, 1] if name == 3 else rng.integers(1, 6, 2 + name % 4)
        items.append((encoded(ids, name), [rng.integers(3, 100, length).tolist() for length in lengths]))
    return items


def build(family: str):
    torch.manual_seed(0)
    model, tokens = {**FAMILIES, "gemma3": gemma3}[family]()
    return model.eval(), questions(tokens)


@torch.no_grad()
def reference(model, collate, items) -> list:
    """All logits of one whole row, softmax over the vocabulary, one option at a time."""
    found = []
    for prompt, options in items:
        values = []
        for option in options:
            whole = encoded([*prompt.input_ids.tolist(), *option], int(prompt.id))
            batch = collate([whole])
            del batch["labels"], batch["layout"]
            logs = model(**batch, use_cache=False).logits[0].double().log_softmax(-1)
            start = prompt.length - 1
            values.append([float(logs[start + place, token]) for place, token in enumerate(option)])
        found.append(values)
    return found


def apart(found: list[OptionLogProbs], wanted: list) -> float:
    assert [one.counts for one in found] == [tuple(map(len, options)) for options in wanted]
    pairs = [
        (a, b)
        for one, options in zip(found, wanted, strict=True)
        for x, y in zip(one.tokens, options, strict=True)
        for a, b in zip(x, y, strict=True)
    ]
    return max(abs(a - b) for a, b in pairs)


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_one_plain_forward_for_each_option(family):
    model, items = build(family)
    wanted = reference(model, Collate(family), items)
    assert prompt_sharing(model).possible
    blinded = [(dataclasses.replace(prompt, id="999"), options) for prompt, options in items]
    assert apart(option_logprobs(model, Collate(family), blinded), wanted) > 1e-2, "the picture must matter"
    for side in ("right", "left"):
        for settings in (
            {},
            {"batch_size": 1},
            {"batch_size": 3},
            {"token_budget": 40},
            {"share_prompt": False},
        ):
            found = option_logprobs(model, Collate(family, side), items, **settings)
            assert apart(found, wanted) < 1e-5, (side, settings)


class Counting(Collate):
    """How many pictures are forwarded."""

    forwarded = 0

    def __call__(self, records: list[Encoded]) -> dict:
        self.forwarded += len(records)
        return super().__call__(records)


def about_pictures(items: list, of: int) -> list:
    """The same questions, ``of`` of them about each picture: a beginning and a picture in common."""
    found = []
    for place, (prompt, options) in enumerate(items):
        first = items[place - place % of][0].input_ids.tolist()
        stop = len(first) - first[::-1].index(IMAGE)
        own = prompt.input_ids.tolist()
        ids = [*first[:stop], *own[len(own) - own[::-1].index(IMAGE) :]]
        visual = np.where(np.array(ids) == IMAGE, 0, -1)
        picture = Image(path=f"{place // of}.png")
        found.append(
            (dataclasses.replace(encoded(ids, place // of), item=visual, images=(picture,)), options)
        )
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_forwarded_once_for_its_questions(family):
    model, items = build(family)
    items = about_pictures(items, 3)
    wanted = reference(model, Collate(family), items)
    assert why_not(model) == ""
    for side in ("right", "left"):
        for settings, pictures in (
            ({}, 3),
            ({"batch_size": 3}, 3),
            ({"batch_size": 2}, 5),
            ({"token_budget": 40}, 3),
            ({"batch_size": 1}, 7),
        ):
            collate = Counting(family, side)
            assert apart(option_logprobs(model, collate, items, **settings), wanted) < 1e-5, (side, settings)
            assert collate.forwarded == pictures, settings
    handle = model.register_forward_hook(lambda *_: None)
    collate = Counting(family)
    assert apart(option_logprobs(model, collate, items), wanted) < 1e-5 and collate.forwarded == 7
    handle.remove()


@pytest.mark.parametrize("family", FAMILIES)
def test_order_does_not_matter(family):
    model, items = build(family)
    wanted = reference(model, Collate(family), items)
    turned = option_logprobs(model, Collate(family), items[::-1], batch_size=2)
    assert apart(turned[::-1], wanted) < 1e-5


def test_a_model_with_windows_is_scored_the_plain_way_and_says_so():
    model, items = build("gemma3")
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    sharing = prompt_sharing(model)
    assert not sharing.possible and "token types" in sharing.reason
    assert (
        apart(option_logprobs(model, Collate("gemma3"), items), reference(model, Collate("gemma3"), items))
        < 1e-5
    )
    with pytest.raises(ValueError, match=r"token types.*share_prompt=None"):
        option_logprobs(model, Collate("gemma3"), items, share_prompt=True)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (T.MistralConfig(**TEXT, sliding_window=4), "window"),
        (
            T.Qwen2Config(**TEXT, use_sliding_window=True, sliding_window=4, max_window_layers=1),
            "sliding_attention",
        ),
        (T.MambaConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1), "recurrent"),
    ],
    ids=["mistral", "qwen2", "mamba"],
)
def test_windows_and_recurrent_states_are_recognised(config, reason):
    model = T.AutoModelForCausalLM.from_config(config)
    sharing = prompt_sharing(model)
    assert not sharing.possible
    assert any(part in sharing.reason for part in reason.split("|")), sharing.reason


def test_our_model_with_text_only_and_several_pictures(nano):
    chats = [chat("What is this? " * k, images=k % 3, seed=k) for k in range(1, 6)]
    texts = ["a cat", "two", "the red one on the left", "no"]
    items = [
        (nano.encoder.encode(one, add_generation_prompt=True), [nano.encoder.answer_ids(t) for t in texts])
        for one in chats
    ]
    plain = option_logprobs(nano.model, nano.collator(), items, share_prompt=False)
    wanted = [one.tokens for one in plain]
    # The plain way itself, against the encoder's own whole chat.
    turn = Message(role="assistant", content=texts[0])  # type: ignore[arg-type]
    answered = chats[0].model_copy(update={"messages": (*chats[0].messages, turn)})
    whole = nano.encoder.encode(answered)
    with torch.no_grad():
        batch = nano.collator()([whole])
        logs = nano.model(**{k: v for k, v in batch.items() if k != "labels"}).logits[0].log_softmax(-1)
    places = np.flatnonzero(whole.labels != -100)
    direct = [float(logs[place - 1, whole.labels[place]]) for place in places]
    assert np.allclose(direct, wanted[0][0], atol=1e-5)
    for side in ("right", "left"):
        for size in (1, 2, 16):
            found = option_logprobs(nano.model, nano.collator(side), items, batch_size=size)
            assert apart(found, wanted) < 1e-5


def test_no_module_is_left_in_another_mode(fresh_nano):
    fresh_nano.model.train()
    fresh_nano.model.tower.eval()
    modes = [module.training for module in fresh_nano.model.modules()]
    prompt = fresh_nano.encoder.encode(chat("What?"), add_generation_prompt=True)
    option_logprobs(fresh_nano.model, fresh_nano.collator(), [(prompt, [[5], [6, 7]])])
    assert [module.training for module in fresh_nano.model.modules()] == modes


def test_options_without_tokens_are_refused(nano):
    prompt = nano.encoder.encode(chat("What?"), add_generation_prompt=True)
    with pytest.raises(ValueError, match="item 1 has no options"):
        option_logprobs(nano.model, nano.collator(), [(prompt, [[5]]), (prompt, [[5], []])])


def test_ranking_and_ties():
    scores = OptionLogProbs(((-1.0, -1.0), (-1.5,), (-0.4, -0.4, -0.4, -0.4)))
    assert rank(scores, "sum").best == 1
    assert rank(scores, "token").best == 2
    assert rank(scores, "byte", [1, 10, 4]).best == 1
    assert rank(scores, "byte", [100, 10, 4]).best == 0
    with pytest.raises(ValueError, match="bytes"):
        rank(scores, "byte")
    close = rank(OptionLogProbs(((-3.0,), (-1.000004,), (-1.0,))), "sum")
    assert (close.best, close.tie) == (1, True)
    clear = rank(OptionLogProbs(((-3.0,), (-1.00002,), (-1.0,))), "sum")
    assert (clear.best, clear.tie) == (2, False)
    assert clear.margin == pytest.approx(2e-5)
