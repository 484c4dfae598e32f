"""In order, within bounds, and nothing is left behind."""

import io
import os
import threading
import time

import numpy as np
import psutil
import pytest
from PIL import Image as PILImage

from vitrail.data.ahead import ahead
from vitrail.data.decoding import decode_rgb


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vitrail-ahead")]


@pytest.mark.parametrize("held", [0, 1, 3, 50])
@pytest.mark.parametrize("count", [1, 4])
def test_results_come_in_the_order_of_the_items(held, count):
    def slow(number):
        time.sleep(0.004 * (number % 3))
        return number * number

    assert list(ahead(range(20), slow, held=held, threads=count)) == [n * n for n in range(20)]
    assert threads() == []


def test_no_more_is_held_than_was_said():
    begun = []
    for number in ahead(iter(range(30)), lambda n: begun.append(n) or n, held=4, threads=3):
        time.sleep(0.003)
        assert len(begun) <= number + 1 + 4


def test_an_error_comes_at_its_turn_and_leaves_no_thread():
    seen = []
    with pytest.raises(ValueError, match="number 5"):
        for number in ahead(range(20), fails_at_five, held=4):
            seen.append(number)
    assert seen == [0, 1, 2, 3, 4] and threads() == []


def fails_at_five(number):
    if number == 5:
        raise ValueError("number 5 cannot be read")
    return number


def test_a_reader_that_stops_early_leaves_no_thread():
    running = ahead(range(1000), lambda n: n, held=8)
    assert next(running) == 0 and threads()
    running.close()
    assert threads() == []
    for number in ahead(range(1000), lambda n: n, held=8):
        if number == 3:
            break
    assert threads() == []


def test_decoded_pictures_stay_within_the_bound():
    """Sixty pictures of 6 MB, decoded faster than they are used: 360 MB would be there without a bound."""
    size = (1600, 1250)
    gradient = np.add.outer(np.arange(size[1]), np.arange(size[0])).astype(np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(np.stack([gradient] * 3, -1)).save(buffer, "JPEG")
    raw, process = buffer.getvalue(), psutil.Process(os.getpid())
    decode_rgb(raw)
    begin = peak = process.memory_info().rss
    for picture in ahead([raw] * 60, decode_rgb, held=4):
        assert picture.size == size
        time.sleep(0.01)
        peak = max(peak, process.memory_info().rss)
    assert peak - begin < 100e6
