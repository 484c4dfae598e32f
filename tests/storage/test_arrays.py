import pickle

import numpy as np
import pytest

from vitrail.storage.arrays import ArrayStore


def _store(root, items, shard=4, producer="tower-1", dtype="float16"):
    return ArrayStore(producer, items, (3, 5), dtype, root=root, items_per_shard=shard)


def _array(item):
    return np.random.default_rng(sum(item.encode())).standard_normal((3, 5)).astype("float16")


def _compute(items, log):
    def compute(indices):
        log.extend(indices)
        return np.stack([_array(items[index]) for index in indices])

    return compute


ITEMS = [f"picture-{i}" for i in range(10)]


def test_what_is_filled_comes_back_bit_for_bit(tmp_path):
    log, steps = [], []
    store = _store(tmp_path, ITEMS)
    assert (store.shards, store.missing(), store.complete) == (3, [0, 1, 2], False)
    assert store.fill(_compute(ITEMS, log), lambda done, of: steps.append((done, of))) == 10
    assert log == list(range(10)) and steps == [(4, 10), (8, 10), (10, 10)]
    store.verify(deep=True)
    for index, array in enumerate(store):
        assert np.array_equal(array, _array(ITEMS[index]))
    assert np.array_equal(store.gather([7, 0, 7]), np.stack([_array(ITEMS[i]) for i in (7, 0, 7)]))
    assert not store[0].flags.writeable
    assert store.nbytes == 10 * 15 * 2


def test_a_killed_run_loses_at_most_a_shard(tmp_path):
    log = []

    def dies(indices):
        if 8 in indices:
            raise KeyboardInterrupt
        return _compute(ITEMS, log)(indices)

    with pytest.raises(KeyboardInterrupt):
        _store(tmp_path, ITEMS).fill(dies)
    store, again = _store(tmp_path, ITEMS), []
    assert store.missing() == [2]
    with pytest.raises(KeyError, match="shard 2 of 3 is not computed"):
        store[9]
    with pytest.raises(ValueError, match="shard 2 of 3 is missing"):
        store.verify()
    assert store.fill(_compute(ITEMS, again)) == 2 and again == [8, 9]
    assert np.array_equal(store[9], _array(ITEMS[9]))


def test_equal_items_are_stored_once(tmp_path):
    items = ["a", "b", "a", "a", "c"]
    log = []
    store = _store(tmp_path, items, shard=2)
    assert store.fill(_compute(items, log)) == 3
    assert log == [0, 1, 4] and len(store) == 5
    assert all(np.array_equal(store[i], _array(item)) for i, item in enumerate(items))


def test_only_what_depends_on_changed_inputs_is_missing(tmp_path):
    _store(tmp_path, ITEMS).fill(_compute(ITEMS, []))
    assert _store(tmp_path, ITEMS[:8]).missing() == []
    assert _store(tmp_path, ITEMS[:8] + ["new"]).missing() == [2]
    assert _store(tmp_path, ITEMS, producer="tower-2").missing() == [0, 1, 2]
    assert _store(tmp_path, ITEMS, dtype="float32").missing() == [0, 1, 2]


def test_wrong_arrays_are_refused(tmp_path):
    store = _store(tmp_path, ITEMS)
    with pytest.raises(ValueError, match="must be float16"):
        store.write(0, np.zeros((4, 3, 5), "float32"))
    with pytest.raises(ValueError, match=r"\(4, 3, 5\)"):
        store.write(0, np.zeros((3, 3, 5), "float16"))
    with pytest.raises(ValueError, match="would need pickle"):
        ArrayStore("t", ["a"], (1,), "object", root=tmp_path)


def test_damage_is_found(tmp_path):
    store = _store(tmp_path, ITEMS)
    store.fill(_compute(ITEMS, []))
    raw = bytearray(store.path(1).read_bytes())
    raw[-40] ^= 1
    store.path(1).write_bytes(raw)
    store = _store(tmp_path, ITEMS)
    store.verify()
    with pytest.raises(ValueError, match="was changed after it was written"):
        store.verify(deep=True)
    store.path(1).write_bytes(raw[:150])
    with pytest.raises(ValueError, match="cannot be read"):
        _store(tmp_path, ITEMS).verify()


def test_a_pickled_array_file_is_not_loaded(tmp_path):
    store = _store(tmp_path, ITEMS)
    store.path(0).parent.mkdir(parents=True)
    with open(store.path(0), "wb") as file:
        np.save(file, np.array([{"a": 1}] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read"):
        store[0]


def test_workers_map_the_shards_themselves(tmp_path):
    store = _store(tmp_path, ITEMS)
    store.fill(_compute(ITEMS, []))
    store[0]
    copy = pickle.loads(pickle.dumps(store))
    assert copy._open == {} and np.array_equal(copy[3], store[3])
