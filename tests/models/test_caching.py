"""A cache is handed over and read back under the name that its model has for it."""

import pytest
import torch
import transformers as T
from torch import nn

from families import llama, llava, qwen2vl, smolvlm
from vitrail.models.caching import LIBRARY_NAME, NAMES, cache_argument, cache_of, only_cache

IDS = torch.tensor([[1, 10, 11, 12, 13]])


@pytest.mark.parametrize("build", [llama, lambda: llava()[0], lambda: qwen2vl()[0], lambda: smolvlm()[0]])
def test_a_prompt_and_its_continuation_equal_the_whole(build):
    torch.manual_seed(0)
    model = build().eval()
    name = cache_argument(model)
    assert name == LIBRARY_NAME
    with torch.no_grad():
        whole = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits[:, -1]
        first = model(input_ids=IDS[:, :3], attention_mask=torch.ones(1, 3, dtype=torch.long), use_cache=True)
        mask, positions = torch.ones_like(IDS), torch.tensor([[3, 4]])
        rest = model(
            input_ids=IDS[:, 3:], attention_mask=mask, position_ids=positions, **{name: cache_of(first)}
        )
    torch.testing.assert_close(rest.logits[:, -1], whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_our_model_takes_the_cache_under_both_names(nano, name):
    ids = nano.encoder.text_ids("a red apple and a green pear")
    ids = torch.tensor([ids[:6]])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        whole = nano.model(input_ids=ids, attention_mask=mask).logits[:, -1]
        first = nano.model(input_ids=ids[:, :4], attention_mask=mask[:, :4], use_cache=True)
        rest = nano.model(input_ids=ids[:, 4:], attention_mask=mask, **{name: cache_of(first)}).logits
    torch.testing.assert_close(rest[:, -1], whole, atol=1e-5, rtol=0)


def test_a_cache_given_twice_is_refused(nano):
    one, two = T.DynamicCache(), T.DynamicCache()
    assert only_cache(None, None) is None
    assert only_cache(one, None) is one and only_cache(None, one) is one and only_cache(one, one) is one
    with pytest.raises(ValueError, match="give the cache once"):
        nano.model(input_ids=torch.tensor([[1]]), past_key_values=one, cache=two)


class OldNames(nn.Module):
    """A model written for another release: only the other name."""

    def forward(self, input_ids, past_key_values=None, **kwargs):
        return {"logits": input_ids, "past_key_values": past_key_values}


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, **batch):
        return self.module(**batch)


def test_names_are_those_of_the_model_inside_wrappers():
    assert cache_argument(Wrapper(OldNames())) == "past_key_values"
    assert cache_argument(nn.Linear(1, 1)) is None
    assert cache_of({"logits": 0}) is None
    assert cache_of(OldNames()(torch.ones(1), past_key_values="kept")) == "kept"


@pytest.mark.parametrize("wanted", ["past_key_values", "cache"])
def test_a_language_model_gets_its_own_name(fresh_nano, wanted):
    """The language model may be older than the library: its name decides, not the library's."""
    inner, seen = fresh_nano.model.language, {}
    kind = type(inner)

    def forward(self, inputs_embeds=None, attention_mask=None, position_ids=None, use_cache=None, **kwargs):
        seen.update(kwargs)
        for name in NAMES:
            kwargs.pop(name, None)
        return kind.forward(
            self,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **kwargs,
        )

    source = f"def forward(self, {wanted}=None, **kw): return inner(self, **{{{wanted!r}: {wanted}, **kw}})"
    space = {"inner": forward}
    exec(source, space)
    inner.__class__ = type("Other", (kind,), {"forward": space["forward"]})
    fresh_nano.model(input_ids=torch.tensor([[1, 2]]), cache=T.DynamicCache())
    assert isinstance(seen[wanted], T.DynamicCache)
