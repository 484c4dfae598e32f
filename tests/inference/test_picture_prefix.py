"""Which prompts begin alike, and what is forwarded together."""

from __future__ import annotations

import numpy as np
from torch import nn

from vitrail.data.records import Image
from vitrail.inference.picture_prefix import (
    batches,
    beginning,
    common_length,
    cut,
    prefix_length,
    same_beginnings,
    tails,
    why_not,
)
from vitrail.models.encoding import Encoded


def prompt(picture: str | None, words: list[int], **changes) -> Encoded:
    """Two tokens, three of a picture, then ``words``."""
    ids = [1, 2, *([9] * 3 if picture else []), *words]
    item = [-1, -1, *([0] * 3 if picture else []), *[-1] * len(words)]
    blank = np.zeros(len(ids), dtype=int)
    columns = dict.fromkeys(("labels", "weight", "modality", "frame", "row", "col", "speaker"), blank)
    images = (Image(path=picture),) if picture else ()
    return Encoded(
        **{"input_ids": np.array(ids), "item": np.array(item), **columns, "images": images, **changes}
    )


def test_the_same_picture_behind_the_same_words():
    prompts = [prompt("a", [5]), prompt("b", [5]), prompt("a", [6, 7]), prompt(None, [5]), prompt("b", [8])]
    assert same_beginnings(prompts, 16) == ([[0, 2], [1, 4]], [3])
    other = prompt("a", [5], input_ids=np.array([1, 3, 9, 9, 9, 5]))
    assert same_beginnings([prompts[0], other], 16) == ([], [0, 1]), (
        "another system prompt is another beginning"
    )
    changed = prompt("a", [5], meta={"methods": {}})
    assert same_beginnings([prompts[0], changed], 16) == ([], [0, 1]), "a method may know the question"
    assert same_beginnings([prompt("a", []), prompt("a", [])], 16) == ([], [0, 1]), (
        "nothing follows the picture"
    )
    files = [prompt("a", [5], root=place) for place in (None, "elsewhere")]
    assert same_beginnings(files, 16) == ([], [0, 1]), "the same name in two folders is two pictures"


def test_groups_are_no_larger_than_asked_and_nothing_is_lost():
    prompts = [prompt("a", [n + 10]) for n in range(7)]
    assert same_beginnings(prompts, 3) == ([[0, 1, 2], [3, 4, 5]], [6])
    assert same_beginnings(prompts, 1) == ([], list(range(7)))


def test_a_prompt_is_cut_behind_its_last_visual_token():
    whole = prompt("a", [5, 6])
    assert prefix_length(whole) == 5 and prefix_length(prompt(None, [5])) == 0
    head = cut(whole, 5)
    assert (
        head.input_ids.tolist() == [1, 2, 9, 9, 9] and head.images == whole.images and len(head.speaker) == 5
    )


def test_what_prompts_have_in_common_goes_beyond_the_picture_and_leaves_a_token_of_each():
    prompts = [prompt("a", [7, 5, 6]), prompt("a", [7, 5]), prompt("a", [7, 5, 8])]
    assert common_length(prompts) == 6 and beginning(prompts).input_ids.tolist() == [1, 2, 9, 9, 9, 7]
    assert tails([prompts, [prompts[0], prompts[2]]]) == (
        [0, 0, 0, 1, 1],
        [[5, 6], [5], [5, 8], [6], [8]],
    )
    assert common_length([prompts[0], prompts[0]]) == 7, "the same question twice"
    assert common_length([prompt("a", [5]), prompt("a", [6])]) == 5


def test_batches_are_bounded():
    prompts = [prompt(str(n // 4), [7] * (1 + n % 5)) for n in range(16)]
    groups, _ = same_beginnings(prompts, 16)
    for size, budget in ((8, 10_000), (16, 10_000), (16, 70), (2, 10_000)):
        made = batches(groups, prompts, size, budget)
        assert sorted(index for batch in made for group in batch for index in group) == list(range(16))
        for batch in made:
            rows = sum(map(len, batch))
            widest = max(prompts[index].length for group in batch for index in group)
            assert len(batch) == 1 or (rows <= size and rows * widest <= budget)
    assert len(batches(groups, prompts, 8, 10_000)) == 2


def test_what_may_look_at_the_question_speaks_against_it():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(1, 1)

        def forward(self, input_ids):
            return input_ids

    class Crossing(Plain):
        def forward(self, input_ids, cross_attention_mask=None):
            return input_ids

    model = Plain()
    assert why_not(model) == "" and "cross_attention_mask" in why_not(Crossing())
    handle = model.inner.register_forward_hook(lambda *_: None)
    assert "inner has hooks" in why_not(model)
    handle.remove()
    assert why_not(model) == ""
