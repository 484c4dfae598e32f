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


def test_asked_for_the_thing_words_tell_nothing():
    """Options are all things of the picture that holds the changed one; the changes are those of the other form."""
    scenes = suite("nano-scenes-v1")
    source = Differences(scenes, "test", 0, 40, "known", ("added", "removed"), "thing")
    plain = Differences(scenes, "test", 0, 40, "known", ("added", "removed"))
    first = 0
    for index, record in enumerate(source):
        change = source.change(index)
        assert change.text == plain.change(index).text and record.images == plain[index].images
        options = [part.text for (part,) in record.choices.options]
        fuller, fewer = (
            (change.after, change.before) if change.kind == "added" else (change.before, change.after)
        )
        assert sorted(options) == sorted(item.thing.phrase for item in fuller.objects)
        (own,) = {item.thing.phrase for item in fuller.objects} - {
            item.thing.phrase for item in fewer.objects
        }
        assert options[record.choices.answer] == own
        first += record.choices.answer == 0
    assert 6 <= first <= 24 and source.fingerprint != plain.fingerprint
    moved = Differences(scenes, "test", 0, 8, "known", ("moved", "recoloured"), "thing")
    for index, record in enumerate(moved):
        change = moved.change(index)
        options = [part.text for (part,) in record.choices.options]
        assert options[record.choices.answer] == change.after.objects[change.index_after].thing.phrase
