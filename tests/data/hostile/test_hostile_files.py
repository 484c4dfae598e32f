"""What damaged and malicious files yield: the right picture, or an error that names file, row, field and remedy."""

import json
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile.case import lines, noise, row, saved
from hostile.containers import arrow_bytes, parquet_bytes, tar_bytes
from hostile.every import all_cases
from hostile.pictures import no_pictures
from hostile.rows import FOREIGN, WRONG, inner_paths, replaced
from vitrail.data.decoding import decode_rgb
from vitrail.data.readers import RecordError, open_source

CASES = all_cases()


class Hangs(BaseException):
    """Not an Exception: what catches those must not hide it."""


@contextmanager
def seconds(limit):
    """Hangs after ``limit`` seconds, also out of a system call that waits."""

    def stop(*_):
        raise Hangs(f"more than {limit} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_pixels(source, case):
    for record in source:
        for picture in record.images:
            pixels = np.asarray(picture.open(source.root)).astype(int)
            assert pixels.shape == case.pixels.shape
            assert abs(pixels - case.pixels).max() <= case.tolerance


def test_there_are_enough_of_them():
    assert len(CASES) >= 400 and len({case.name for case in CASES}) == len(CASES)
    assert sum(case.outcome == "good" for case in CASES) > 50


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: case.name.encode("ascii", "backslashreplace").decode()
)
def test_hostile(tmp_path, case):
    with seconds(20):
        path = case.make(tmp_path)
        try:
            open_source(path, check_images=True)
            raised = None
        except ValueError as error:
            raised = error
        if case.outcome == "good":
            assert raised is None, raised
        if case.outcome in ("bad", "refused"):
            assert raised is not None
            assert isinstance(raised, RecordError) == (case.outcome == "bad")
            assert re.search(case.words, str(raised)), raised
        if raised is not None:
            assert len(str(raised)) < 700 and str(raised).strip()
        if isinstance(raised, RecordError):
            assert raised.row.line >= 1 and raised.row.reason and raised.row.file
        try:
            kept = open_source(path, on_error="set_aside", check_images=True)
        except ValueError as error:
            assert not isinstance(error, RecordError) and case.outcome in ("refused", "either"), error
            return
        assert case.outcome != "refused"
        assert kept.set_aside.seen == len(kept) + len(kept.set_aside.rows) > 0
        assert all(one.reason and one.line for one in kept.set_aside.rows)
        assert len(list(kept)) == len(kept) == sum(kept.formats.values())
        assert (len(kept.set_aside.rows) == 0) == (raised is None)
        assert kept.fingerprint
        if case.pixels is not None:
            check_pixels(kept, case)


def test_a_wrong_row_spoils_no_other(tmp_path):
    """All wrong rows in one file, right ones between: what is set aside and what is used add up."""
    (tmp_path / "a.png").write_bytes(saved(noise(), "PNG"))
    rows, right = [], 0
    for form in FOREIGN.values():
        for path in inner_paths(form):
            rows += [form, *(replaced(form, path, wrong) for wrong in WRONG)]
            right += 1
    source = open_source(lines(tmp_path, *rows), on_error="set_aside")
    assert source.set_aside.seen == len(rows) > 1000
    assert right <= len(source) == len(rows) - len(source.set_aside.rows)
    aside = {bad.line for bad in source.set_aside.rows}
    assert not aside & {n + 1 for n, one in enumerate(rows) if any(one is form for form in FOREIGN.values())}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_of_any_values(tmp_path, data):
    form = FOREIGN[data.draw(st.sampled_from(sorted(FOREIGN)))]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(inner_paths(form)))
        form = replaced(form, path, data.draw(json_values))
        if not isinstance(form, dict) or not inner_paths(form):
            break
    file = lines(tmp_path, form, row("x.png"))
    source = open_source(file, on_error="set_aside")
    assert source.set_aside.seen == 2 and len(list(source)) == len(source) >= 1


RAW = {kind: saved(noise(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")}
CONTAINERS = {
    "jsonl": (json.dumps(row("x.png")) + "\n").encode() * 3,
    "json": json.dumps([row("x.png")] * 3, indent=1).encode(),
    "csv": b'question,answer,image\n"a, b",c,x.png\nd,e,x.png\n',
    "tar": tar_bytes(),
    "parquet": parquet_bytes(),
    "arrow": arrow_bytes(),
}
edits = st.lists(
    st.tuples(st.floats(0, 0.999), st.integers(0, 255), st.sampled_from("sxid")), min_size=1, max_size=4
)


def edited(raw, changes):
    """Bytes set, cut off, inserted and deleted."""
    for where, value, what in changes:
        place = int(where * len(raw))
        new = {"s": bytes([value]), "x": b"", "i": bytes([value]) * 3, "d": b""}[what]
        raw = raw[:place] + new + (b"" if what == "x" else raw[place + (0 if what == "i" else 1) :])
    return raw


@pytest.mark.parametrize("kind", RAW)
@settings(max_examples=60, deadline=None)
@given(changes=edits)
def test_pictures_of_any_bytes(kind, changes):
    with seconds(20):
        try:
            assert decode_rgb(edited(RAW[kind], changes)).mode == "RGB"
        except ValueError as error:
            assert str(error).startswith("the picture ")


@pytest.mark.parametrize("suffix", CONTAINERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits)
def test_containers_of_any_bytes(tmp_path, suffix, changes):
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(edited(CONTAINERS[suffix], changes))
    with seconds(20):
        try:
            source = open_source(path, on_error="set_aside")
        except ValueError as error:
            assert not isinstance(error, RecordError)
            return
        assert source.set_aside.seen == len(source) + len(source.set_aside.rows)
        assert len(list(source)) == len(source)


LIMITED = """
import resource, sys
from vitrail.data.readers import open_source
import vitrail.data.decoding, numpy
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]) << 20,) * 2)
source = open_source(sys.argv[1], on_error="set_aside", check_images=True)
print(len(source), [(row.line, row.reason) for row in source.set_aside.rows])
"""


def limited(path, megabytes):
    """What a process of so much address space says about a file."""
    command = [sys.executable, "-c", LIMITED, str(path), str(megabytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def test_bombs_do_not_fill_the_memory(tmp_path):
    bombs = [case for case in no_pictures() if case.words == "pixels"]
    for n, case in enumerate(bombs):
        (tmp_path / str(n)).mkdir()
        case.make(tmp_path / str(n))
    path = lines(tmp_path, *(row(f"{n}/a.png") for n in range(len(bombs))))
    said, _ = limited(path, 1200)
    assert said.startswith("0 ") and said.count("pixels") == len(bombs)


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_a_row_of_more_than_the_limit(tmp_path, suffix):
    """A line of 150 MB is passed over (JSON lines, CSV) or refused (array), in bounded memory."""
    path = tmp_path / f"rows.{suffix}"
    with open(path, "wb") as file:
        good = json.dumps(row("https://x.org/a.png")).encode()
        if suffix == "csv":
            file.write(b"question,answer\nq,a\n")
        else:
            file.write((b"[" if suffix == "json" else b"") + good + (b"," if suffix == "json" else b"\n"))
        file.write(b'{"messages": "' if suffix != "csv" else b"q,")
        for _ in range(150):
            file.write(b"x" * 1_000_000)
        file.write({"jsonl": b'"}\n' + good, "json": b'"}]', "csv": b"\nq,a\n"}[suffix])
    if suffix == "json":
        with pytest.raises(ValueError, match=r"row 2, byte .*(longer than 100,000,000|Unterminated)"):
            open_source(path)
        return
    said, _ = limited(path, 1500)
    assert "longer than 100,000,000 bytes" in said and said.count("longer") == 1
