import numpy as np
import pytest

from vitrail.data.records import Document, Group, Image
from vitrail.data.scenes.documents import CHANGES, comparison
from vitrail.data.sources import Source


def test_documents_interleave_pictures_and_captions(scenes_v1):
    source = scenes_v1.documents(n=6)
    assert isinstance(source, Source)
    for index in range(6):
        document = source[index]
        assert isinstance(document, Document) and document == source[index]
        pictures = [part for part in document.content if isinstance(part, Image)]
        scenes = source.scenes(index)
        assert 2 <= len(pictures) == len(scenes) <= 4
        assert [part.bytes for part in pictures] == [scene.png for scene in scenes]
        kinds = [part.type for part in document.content]
        assert kinds == ["text", "image", "text"] * len(pictures) + ["text"]
        assert document.content[-1].text == comparison(scenes)


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_are_exact(scenes_v1, kind):
    source = scenes_v1.changes(n=8, kinds=(kind,))
    for index in range(8):
        change = source.change(index)
        before, after = change.before, change.after
        differs = (before.pixels != after.pixels).any(axis=-1)
        allowed = np.zeros_like(differs)
        for scene, at in ((before, change.index_before), (after, change.index_after)):
            if at is not None:
                x1, y1, x2, y2 = scene.objects[at].box
                allowed[y1:y2, x1:x2] = True
        assert differs.any() and not (differs & ~allowed).any(), "something else changed too"
        names = [item.name for item in before.objects], [item.name for item in after.objects]
        if kind == "added":
            assert change.index_before is None and len(names[1]) == len(names[0]) + 1
        elif kind == "removed":
            assert change.index_after is None and len(names[0]) == len(names[1]) + 1
        else:
            assert names[0] == names[1]
            old, new = before.objects[change.index_before], after.objects[change.index_after]
            if kind == "moved":
                assert max(abs(a - b) for a, b in zip(old.centre, new.centre, strict=True)) >= 0.28
            else:
                assert old.box == new.box and new.colour not in (old.colour, before.background)
                assert new.colour in change.text
        group = source[index]
        assert isinstance(group, Group) and group.relation == "before_after"
        assert [parts[0].bytes for parts in group.items] == [before.png, after.png]
        assert group.meta["change"]["text"] == change.text


def test_change_as_a_conversation(scenes_v1):
    chat = scenes_v1.changes(n=4).chat(0)
    assert len(chat.images) == 2 and chat.messages[-1].text.endswith(" has appeared.")


def test_held_out_names_are_not_told(scenes_v1):
    for make in (scenes_v1.documents, scenes_v1.changes, scenes_v1.videos):
        with pytest.raises(ValueError, match="are held out"):
            make(fold="test", names="held-out")
    with pytest.raises(ValueError, match=r"kinds has \['melted'\]"):
        scenes_v1.changes(kinds=("melted",))


def test_shuffled_documents_have_the_same_texts_and_pictures(scenes_v1):
    plain, moved = scenes_v1.documents(n=12), scenes_v1.documents(n=12, shuffled=1.0)
    assert plain.fingerprint == scenes_v1.documents(n=12, shuffled=0.0).fingerprint != moved.fingerprint
    changed = 0
    for one, other in zip(plain, moved, strict=True):
        kinds = [
            [part for part in page.content if part.type == kind]
            for page in (one, other)
            for kind in ("text", "image")
        ]
        assert kinds[0] == kinds[2] and sorted(p.bytes for p in kinds[1]) == sorted(p.bytes for p in kinds[3])
        changed += kinds[1] != kinds[3]
    assert changed > 4
    with pytest.raises(ValueError, match="shuffled is 2; give a share from 0 to 1"):
        scenes_v1.documents(shuffled=2)
