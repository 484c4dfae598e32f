import hashlib
import pickle

import pytest

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.data.sources import (
    BadRow,
    ListSource,
    SetAside,
    Source,
    concat,
    mapped,
    select,
    set_aside_of,
    shuffle,
    take,
)


def _chat(n, path=None):
    content = (Text(text=f"question {n}"),) + ((Image(path=path),) if path else ())
    return Chat(id=str(n), messages=(Message(role="user", content=content),))


def _ids(source):
    return [record.id for record in source]


@pytest.fixture
def ten():
    return ListSource([_chat(n) for n in range(10)], "ten")


def test_everything_is_a_source(ten):
    made = [
        ten,
        take(ten, 3),
        shuffle(ten, 1),
        select(ten, [4, 2]),
        concat(ten, ten),
        mapped(ten, lambda r: r, "same"),
    ]
    for source in made:
        assert isinstance(source, Source)
        assert [source[i] for i in range(len(source))] == list(source)
        assert source[-1] == source[len(source) - 1]
        with pytest.raises(IndexError):
            source[len(source)]
        with pytest.raises(IndexError):
            source[-len(source) - 1]
        with pytest.raises(TypeError, match="whole numbers"):
            source["0"]
    assert len({source.fingerprint for source in made}) == len(made)


def test_the_fingerprint_follows_content_not_name(ten):
    assert ListSource(list(ten), "other").fingerprint == ten.fingerprint
    assert ListSource([*list(ten)[:9], _chat(99)], "ten").fingerprint != ten.fingerprint


def test_take_select_and_their_limits(ten):
    assert _ids(take(ten, 3, start=2)) == ["2", "3", "4"]
    assert _ids(select(ten, [7, 7, 0])) == ["7", "7", "0"]
    with pytest.raises(ValueError, match="has 10"):
        take(ten, 5, start=6)
    with pytest.raises(IndexError):
        select(ten, [10])


def test_shuffle_is_a_permutation_pinned_for_its_seed(ten):
    assert sorted(_ids(shuffle(ten, 0))) == sorted(_ids(ten))
    assert _ids(shuffle(ten, 0)) == _ids(shuffle(ten, 0)) != _ids(shuffle(ten, 1))
    assert "".join(_ids(shuffle(ten, 0))) == "0291854367"
    assert _ids(pickle.loads(pickle.dumps(shuffle(ten, 0)))) == _ids(shuffle(ten, 0))


def test_concatenated_sources_find_their_pictures_under_one_root(tmp_path):
    for folder in ("a", "a/deep", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(folder.encode())
    parts = [ListSource([_chat(n, "x.png")], root=tmp_path / f) for n, f in enumerate(("a", "a/deep", "b"))]
    both = concat(*parts, ListSource([_chat(3)]))
    assert both.root == tmp_path
    assert [record.images[0].read(both.root) for record in both if record.images] == [b"a", b"a/deep", b"b"]
    assert concat(parts[0], parts[0]).root == tmp_path / "a"
    assert concat(parts[0], parts[0])[1] == parts[0][0]
    with pytest.raises(ValueError, match="at least one"):
        concat()


def test_mapping_changes_records_and_the_fingerprint(ten):
    loud = mapped(ten, lambda record: record.model_copy(update={"id": record.id + "!"}), "loud")
    assert _ids(loud)[:2] == ["0!", "1!"]
    assert loud.fingerprint != mapped(ten, lambda r: r, "quiet").fingerprint


def test_counts_of_what_was_set_aside_add_up(ten):
    row = BadRow("a.jsonl", 7, "messages[3].role", "is missing; add it")
    aside = SetAside(
        used=8, rows=[row, BadRow("a.jsonl", 9, "messages[0].role", "x"), BadRow("a.jsonl", 11, "", "y")]
    )
    assert aside.seen == aside.used + len(aside) == 11
    assert aside.by_field() == {"messages[].role": 2, "the row": 1}
    assert aside.sentence() == "11 rows read: 8 used, 3 set aside (2 for messages[].role, 1 for the row)."
    assert str(row) == "a.jsonl, line 7, messages[3].role: is missing; add it"
    assert (aside + aside).seen == 22
    assert set_aside_of(ten).sentence() == "10 rows read, all used."
    assert set_aside_of(concat(ten, ten)).used == 20


def test_large_lists_are_told_apart_by_bytes_of_pictures():
    def source(raw):
        picture = Image(bytes=raw)
        return ListSource([Chat(messages=(Message(role="user", content=(picture,)),))])

    digest = hashlib.sha256(b"x").digest()
    assert source(digest).fingerprint != source(digest[:-1] + b"\0").fingerprint
