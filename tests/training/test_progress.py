import io
import json

import pytest

from vitrail.training.progress import LineProgress, Meter, StageStart, clock, make_progress

START = StageStart("align", 10, 0, 5, 20, "float32", "cpu")


def row(step, loss=1.0):
    return {
        "step": step,
        "loss": loss,
        "terms": {"next_token": loss},
        "learning_rate": 1e-3,
        "samples": 8 * step,
        "tokens": 400 * step,
        "seconds": float(step),
    }


def test_rates_and_time_left():
    meter = Meter(10)
    begin = meter._recent[0][0]
    for step in (1, 2, 3, 4):
        report = meter.report(row(step), now=begin + 2 * step)
    assert report.samples_per_second == pytest.approx(4)
    assert report.tokens_per_second == pytest.approx(200)
    assert report.seconds_left == pytest.approx(12)


def test_the_smoothed_loss_starts_unbiased_and_follows():
    meter = Meter(300)
    assert meter.report(row(1, 5.0)).smoothed == pytest.approx(5.0)
    for step in range(2, 300):
        report = meter.report(row(step, 1.0))
    assert report.smoothed == pytest.approx(1.0, abs=1e-3)


def test_a_resumed_stage_counts_rates_from_where_it_went_on():
    meter = Meter(10, step=5, samples=40, tokens=2000)
    begin = meter._recent[0][0]
    assert meter.report(row(6), now=begin + 1).samples_per_second == pytest.approx(8)


def test_lines_are_few_and_the_last_step_is_told():
    stream = io.StringIO()
    listener, meter = LineProgress(stream, every=1000), Meter(10)
    listener.start(START)
    for step in range(1, 11):
        listener.step(meter.report(row(step)))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "align: 10 steps, 5 of 20 parameters train, float32 on cpu"
    assert len(lines) == 2 and "step 10/10" in lines[1] and "loss 1.0000" in lines[1]


def test_json_lines_parse():
    stream = io.StringIO()
    listener = make_progress("json", stream)
    listener.start(START), listener.step(Meter(10).report(row(1))), listener.note("so"), listener.end("align")
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["event"] for one in said] == ["start", "step", "note", "end"]
    assert said[1]["loss"] == 1.0


def test_no_terminal_means_lines_and_none_means_silence():
    assert isinstance(make_progress("auto", io.StringIO()), LineProgress)
    stream = io.StringIO()
    listener = make_progress("none", stream)
    listener.start(START), listener.note("x"), listener.end("align")
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    listener = make_progress("auto", stream)
    listener.start(START)
    meter = Meter(10)
    listener.step(meter.report(row(7), now=meter._recent[0][0] + 10))
    listener.note("a [note] with brackets")
    listener.end("align")
    assert "align" in stream.getvalue() and "7/10  loss 1.0000  5.6 samples/s" in stream.getvalue()
    assert "a [note] with brackets" in stream.getvalue()


def test_clock():
    assert (clock(5), clock(65.4), clock(3700)) == ("0:05", "1:05", "1:01:40")
