"""The right option is the change that was made; the others were not made."""

from __future__ import annotations

from collections import Counter

from vitrail.data.scenes import suite
from vitrail.data.scenes.differences import Differences


def test_one_option_is_true():
    source = Differences(suite("nano-scenes-v1"), "test", 0, 24, "known")
    letters = Counter()
    for index, record in enumerate(source):
        change = source.change(index)
        texts = [part.text for (part,) in record.choices.options]
        assert texts[record.choices.answer] == change.text and len(set(texts)) == 4
        before, after = ({item.name for item in scene.objects} for scene in (change.before, change.after))
        for text in texts:
            if text != change.text and text.endswith("gone."):
                name = text.removeprefix("The ").rsplit(" ", 2)[0]
                assert name in after or change.kind != "removed", "what is said to be gone is still there"
        assert len(record.images) == 2 and record.meta["kind"] == change.kind
        assert (before == after) == (change.kind in ("moved", "recoloured"))
        letters[record.choices.answer] += 1
    assert len(letters) == 4
    assert source[5] == Differences(suite("nano-scenes-v1"), "test", 0, 40, "known")[5]
