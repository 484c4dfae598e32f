"""The method aim: demonstrations of a chat or of a file, read once and kept."""

from __future__ import annotations

import pytest
import torch

from conftest import chat, picture
from vitrail.data.demonstrations import APART, shown
from vitrail.data.readers import write_jsonl
from vitrail.data.records import Chat
from vitrail.inference.aim import AIM
from vitrail.inference.demonstration_bank import DemonstrationBank
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.methods import TRACE, using
from vitrail.models.surgery.reading_apart import ROWS, demonstrations_of, fused
from vitrail.models.testbeds import nano

SHORT = GenerationSettings(max_new_tokens=3)


@pytest.fixture(scope="module")
def bundle():
    return nano.build(seed=0).operated("aim", {"init": "random"})


def few_shot(k=2, seed=0):
    turns = []
    for n in range(k + 1):
        turns.append({"role": "user", "content": [picture(seed + n), {"type": "text", "text": "What?"}]})
        turns.append({"role": "assistant", "content": f"thing {n}"})
    return Chat(messages=turns[:-1])


def rows_of(bundle, method, one):
    return method.rewrite(bundle, one, None).chat.meta[ROWS]


def count_towers(bundle):
    runs = []
    handle = bundle.model.get_encoder().register_forward_hook(lambda *_: runs.append(1))
    return runs, handle


def test_rows_are_those_that_the_model_makes_itself(bundle):
    prompt = bundle.encoder.encode(shown(few_shot(), "apart"), add_generation_prompt=True)
    some = demonstrations_of(bundle, [prompt])
    with torch.no_grad():
        made = fused(bundle.model, some, bundle.model.forward)
    torch.testing.assert_close(torch.cat(rows_of(bundle, AIM(), few_shot())), made, atol=1e-5, rtol=0)
    with using(bundle, [("aim", {})]) as asking:
        encoded = asking.encoder.encode(few_shot(), add_generation_prompt=True)
        assert encoded.meta[TRACE] == {"aim": {"demonstrations": 2}} and encoded.length == prompt.length
        found = [
            reply.tokens for reply in generate(asking, [few_shot(), few_shot(1, 7), chat("what?")], SHORT)
        ]
    plain = [shown(few_shot(), "apart"), shown(few_shot(1, 7), "apart"), chat("what?")]
    assert found == [reply.tokens for reply in generate(bundle, plain, SHORT)]


@pytest.mark.parametrize("kept", [False, True])
def test_what_was_read_is_not_read_again_and_has_the_same_bits(bundle, tmp_path, kept):
    bank = DemonstrationBank(tmp_path if kept else None)
    method = AIM(bank=bank)
    runs, handle = count_towers(bundle)
    first = rows_of(bundle, method, few_shot(2))
    assert len(runs) == 2 and len(bank) == 2
    again = rows_of(bundle, method, few_shot(1))
    assert len(runs) == 2 and torch.equal(again[0], first[0])
    new = AIM(bank=DemonstrationBank(tmp_path if kept else None))
    other = rows_of(bundle, new, few_shot(2))
    handle.remove()
    assert len(runs) == (2 if kept else 4)
    assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("kept", [False, True])
def test_another_projection_or_model_misses(tmp_path, kept):
    bank = DemonstrationBank(tmp_path if kept else None)
    one = nano.build(seed=0).operated("aim")
    method = AIM(bank=bank)
    before = rows_of(one, method, few_shot(1))[0]
    with torch.no_grad():
        one.model.aim.projection.weight.mul_(2)
    after = rows_of(one, method, few_shot(1))[0]
    assert len(bank) == 2 and not torch.equal(before, after)
    rows_of(nano.build(seed=1).operated("aim"), method, few_shot(1))
    rows_of(nano.build(seed=0).operated("aim", {"read_layer": 1}), method, few_shot(1))
    assert len(bank) == 4


def test_a_bank(tmp_path):
    bank = DemonstrationBank(tmp_path / "bank")
    bank.put("ab", torch.ones(3, 4))
    bank.put("ab", torch.ones(3, 4))
    with pytest.raises(ValueError, match="the bank holds other rows under ab"):
        bank.put("ab", torch.zeros(3, 4))
    bank.put("cd", torch.zeros(2, 4))
    again = DemonstrationBank(tmp_path / "bank")
    assert len(again) == 2 and torch.equal(again.get("ab"), torch.ones(3, 4)) and again.get("ef") is None
    assert again.bytes >= 5 * 4 * 4
    assert again.evict("ab") == 1 and again.evict() == 1 and len(bank) == 0
    (tmp_path / "bank" / "xy.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="is no entry of a bank of demonstrations, or damaged"):
        again.get("xy")
    with pytest.raises(ValueError, match="is a file; give a folder"):
        DemonstrationBank(tmp_path / "bank" / "xy.safetensors")
    small = DemonstrationBank(held_bytes=40)
    for name in "abc":
        small.put(name * 2, torch.ones(2, 4))
    assert len(small) == 1 and small.get("cc") is not None and small.bytes == 32


def test_demonstrations_of_a_file(bundle, tmp_path):
    answered = [chat("What?", f"thing {n}", seed=n) for n in range(3)]
    write_jsonl(answered, tmp_path / "shown.jsonl", images="inline")
    settings = {"demonstrations": str(tmp_path / "shown.jsonl"), "k": 2, "bank": str(tmp_path / "bank")}
    with using(bundle, [("aim", settings)]) as asking:
        encoded = asking.encoder.encode(chat("What?", seed=9), add_generation_prompt=True)
    assert len(encoded.meta[APART]) == 2 and len(encoded.images) == 1
    assert (
        "thing 1" in bundle.tokenizer.decode(encoded.input_ids)
        and len(DemonstrationBank(tmp_path / "bank")) == 2
    )
    with pytest.raises(ValueError, match="holds 3 demonstrations, and 4 are asked for"):
        AIM(AIM.Config(demonstrations=settings["demonstrations"], k=4)).rewrite(bundle, chat("What?"), None)


def test_a_conversation_about_one_picture_stays_one(bundle):
    talk = chat("What is it?", "a cat", "and where?")
    assert AIM().rewrite(bundle, talk, None).chat is talk
    assert len(AIM(AIM.Config(k=1)).rewrite(bundle, few_shot(2), None).chat.meta[APART]) == 1


def test_a_model_without_the_surgery_is_refused():
    with pytest.raises(ValueError, match="has not undergone the surgery 'aim'"):
        AIM().rewrite(nano.build(seed=0), few_shot(), None)
