"""Pictures that were decoded lately are not decoded again."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from vitrail.data import decoding


def encoded(width=40, height=30, seed=0, **settings):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **settings)
    return buffer.getvalue()


@pytest.fixture
def decoded(monkeypatch):
    """Counts what is decoded, from an empty memory."""
    count, decode = [], decoding.decode

    def counted(raw, **settings):
        count.append(raw)
        return decode(raw, **settings)

    monkeypatch.setattr(decoding, "_REMEMBERED", {})
    monkeypatch.setattr(decoding, "decode", counted)
    return count


def test_a_picture_is_decoded_once_and_everybody_has_a_copy(decoded):
    turned = Image.Exif()
    turned[0x0112] = 6
    raw = encoded(exif=turned)
    first, second = decoding.decode_rgb(raw), decoding.decode_rgb(bytes(raw))
    assert len(decoded) == 1 and first.size == (30, 40) and first.tobytes() == second.tobytes()
    right = second.tobytes()
    for spoilt in (first, second):  # the one that was decoded, and one that was remembered
        spoilt.paste("black", (0, 0, 30, 40))
        assert decoding.decode_rgb(raw).tobytes() == right != spoilt.tobytes()


def test_what_is_too_large_for_a_caller_is_refused_all_the_same(decoded):
    raw = encoded()
    decoding.decode_rgb(raw)
    with pytest.raises(ValueError, match="more than 1,199"):
        decoding.decode_rgb(raw, max_pixels=40 * 30 - 1)


def test_the_oldest_are_forgotten_and_large_ones_not_kept(decoded, monkeypatch):
    monkeypatch.setattr(decoding, "REMEMBERED_BYTES", 3 * 3 * 40 * 30)
    pictures = [encoded(seed=seed) for seed in range(5)]
    for raw in pictures:
        decoding.decode_rgb(raw)
    assert len(decoding._REMEMBERED) == 3
    decoding.decode_rgb(pictures[-1])
    assert len(decoded) == 5
    decoding.decode_rgb(pictures[0])
    large = encoded(width=80)
    decoding.decode_rgb(large), decoding.decode_rgb(large)
    assert len(decoded) == 8 and len(decoding._REMEMBERED) == 3


def test_broken_pictures_are_refused_each_time(decoded):
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be decoded"):
            decoding.decode_rgb(encoded()[:200])
    assert len(decoded) == 2 and not decoding._REMEMBERED


def test_threads_share_what_is_remembered(decoded, monkeypatch):
    monkeypatch.setattr(decoding, "REMEMBERED_BYTES", 3 * 2 * 40 * 30)
    pictures = [encoded(seed=seed) for seed in range(4)]
    expected = [decoding.decode_rgb(raw).tobytes() for raw in pictures]
    wrong = []

    def read():
        for turn in range(100):
            index = turn % len(pictures)
            if decoding.decode_rgb(pictures[index]).tobytes() != expected[index]:
                wrong.append(index)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and sum(map(decoding._bytes_of, decoding._REMEMBERED.values())) <= 3 * 2 * 40 * 30
