"""Which visual tokens stayed, on the grids of the pictures, against a plain loop over tokens."""

import numpy as np
import pytest

from conftest import picture
from vitrail.data.records import Chat
from vitrail.inference import kept_tokens as module
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.kept_tokens import kept_tokens, layers_seen
from vitrail.models.loading import load
from vitrail.models.rules.applied import applied
from vitrail.models.rules.gsearch import keep_scheduled


def test_who_left_earlier_was_seen_by_fewer():
    chosen = {1: np.array([True, True, False, True]), 3: np.array([True, False, False, True])}
    assert layers_seen(4, 5, chosen).tolist() == [5, 3, 1, 5]
    assert layers_seen(2, 5, {}).tolist() == [5, 5]


@pytest.mark.parametrize("family", ["llava_next", "qwen2_5_vl", "smolvlm"])
def test_grids_say_of_each_cell_how_many_layers_saw_it(saved_family, family):
    bundle = load(saved_family(family))
    sent, added = [picture(1), picture(2, (60, 30))], picture(3)
    content = (sent[0], added, sent[1], {"type": "text", "text": "what is it"})
    chat = Chat(messages=[{"role": "user", "content": content}])
    prompt = bundle.encoder.encode(chat, add_generation_prompt=True)
    layout = bundle.collator("left")([prompt])["layout"]
    with applied(bundle.model, keep_scheduled((1, 0.5, 0.25)), layout) as call:
        generate(bundle, [chat], GenerationSettings(max_new_tokens=2))
    told = kept_tokens(bundle, prompt, call, sent)
    visual = int((prompt.item >= 0).sum())
    assert told["layers"] == 3 and [cut["of"] for cut in told["cuts"]] == [visual] * 2
    assert [cut["kept"] for cut in told["cuts"]] == [-(-visual // 2), -(-visual // 4)]
    views = {number: [one for one in told["views"] if one["picture"] == number] for number in (0, 1)}
    assert len(views[0]) + len(views[1]) == len(told["views"]) and views[0] and views[1]
    for number, item in ((0, 0), (1, 2)):
        frames = sorted(set(prompt.frame[(prompt.item == item) & (prompt.col >= 0)].tolist()))
        for view, frame in zip(views[number], frames, strict=True):
            grid = np.reshape(view["seen"], (view["rows"], view["cols"]))
            places = np.flatnonzero((prompt.item == item) & (prompt.frame == frame) & (prompt.col >= 0))
            for place in places:
                left = next((layer for layer in (1, 2) if not call.chosen[layer][0, place]), 3)
                assert grid[prompt.row[place], prompt.col[place]] == left
            left, top, right, bottom = view["box"]
            assert left < right and top < bottom and (grid > 0).sum() == len(places)


def test_more_cells_than_are_told_are_counted(saved_family, monkeypatch):
    bundle = load(saved_family("llava_next"))
    sent = [picture(2, (60, 30))]
    chat = Chat(messages=[{"role": "user", "content": (*sent, {"type": "text", "text": "?"})}])
    prompt = bundle.encoder.encode(chat, add_generation_prompt=True)
    layout = bundle.collator("left")([prompt])["layout"]
    with applied(bundle.model, keep_scheduled((1, 0.5, 0.25)), layout) as call:
        generate(bundle, [chat], GenerationSettings(max_new_tokens=1))
    whole = kept_tokens(bundle, prompt, call, sent)
    monkeypatch.setattr(module, "MOST_CELLS", len(whole["views"][0]["seen"]))
    few = kept_tokens(bundle, prompt, call, sent)
    assert few["views"] == whole["views"][:1] and few["left_out"] == len(whole["views"]) - 1 > 0
    assert few["cuts"] == whole["cuts"]
