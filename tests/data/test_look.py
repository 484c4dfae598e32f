import io
import json
import re

import numpy as np
import pytest
from PIL import Image as PILImage

from vitrail.data import records as r
from vitrail.data.drawing import shapes_of
from vitrail.data.look import contact_sheet
from vitrail.data.readers import open_source
from vitrail.data.sources import ListSource
from vitrail.data.summary import summarise
from vitrail.geometry import masks


def picture(seed=0, width=40, height=30):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return r.Image(bytes=buffer.getvalue())


def chat(n=0, *parts, **more):
    user = r.Message(role="user", content=(*parts, r.Text(text=f"question {n} <b>&</b>")))
    return r.Chat(id=f"c{n}", messages=(user, r.Message(role="assistant", content=f"answer {n}")), **more)


def page(source, tmp_path, **options):
    return contact_sheet(source, tmp_path / "sheet.html", **options).read_text()


def everything():
    mask = np.zeros((30, 40), bool)
    mask[5:15, 10:30] = True
    regions = (
        r.Region(box=(1, 2, 20, 25), label="cat"),
        r.Region(rotated=(20, 15, 20, 10, 30), label="tilted"),
        r.Region(quad=(1, 1, 30, 2, 31, 20, 2, 18)),
        r.Region(mask=masks.encode(mask), label="blob"),
        r.Region(box3d=(0, 0, 5, 1, 1, 1, 0, 0, 0)),
        r.Points(points=((3, 4), (30, 20)), label="eyes"),
    )
    choices = r.Choices(options=((r.Text(text="a cat"),), (r.Text(text="a dog"),)), answer=1)
    rejected = (r.Message(role="assistant", content="a worse answer"),)
    video = r.Video(frames=tuple(picture(n) for n in range(20)), fps=5)
    track = r.Region(track={n: (n, n, n + 9, n + 9) for n in range(20)}, label="ball")
    return [
        chat(0, picture(0), *regions, choices=choices, rejected=rejected, meta={"kind": "what", "note": "x"}),
        r.Document(content=(r.Text(text="Watch"), video, track, r.Audio(path="a.wav"))),
        r.Group(relation="before_after", items=((picture(1),), (picture(2),))),
        r.Episode(
            goal=(r.Text(text="reach it"),),
            steps=tuple(
                r.Step(observation=(picture(3),), action=r.Action(value=n), reward=0.5) for n in range(14)
            ),
        ),
        chat(4, r.ToolCall(name="zoom", arguments={"x": 1}), r.Span(start=0, end=3, label="word")),
        chat(5, r.Image(path="missing.png")),
    ]


def test_every_kind_of_record_is_shown(tmp_path):
    html = page(ListSource(everything(), "all kinds", root=tmp_path), tmp_path)
    for words in (
        "question 0 &lt;b&gt;&amp;&lt;/b&gt;",
        '<li class="truth"><span class="option">a dog</span> <span class="mark">right</span>',
        "a worse answer",
        "box cat (1, 2, 20, 25)",
        "box3d (0, 0, 5",
        "2 points eyes",
        "frame 19",
        "track ball over 20 frames",
        "audio a.wav",
        "before_after 2",
        "reach it",
        "action 3",
        "2 more steps",
        "zoom({&#34;x&#34;: 1})",
        "characters 0 to 3: word",
        "picture not shown: ",
        "meta</summary>",
    ):
        assert words in html, words
    assert "<b>&</b>" not in html
    assert html.count('class="shape') == 5 + 8
    assert html.count("frame ") >= 8


def test_nothing_is_loaded_from_outside(tmp_path):
    bad = chat(0, r.Image(url="https://example.org/spy.png"))
    html = page(ListSource([bad, *everything()], root=tmp_path), tmp_path)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", html)
    assert "default-src 'none'" in html and "url(http" not in html and "@import" not in html


def test_the_draw_depends_on_the_seed_alone_and_equal_input_gives_equal_bytes(tmp_path):
    source = ListSource([chat(n) for n in range(100)], "many")
    shown = [re.findall(r"record (\d+) ·", page(source, tmp_path, n=10, seed=seed)) for seed in (0, 0, 1)]
    assert shown[0] == shown[1] != shown[2]
    assert len(shown[0]) == 10 and [int(n) for n in shown[0]] == sorted(int(n) for n in shown[0])
    assert page(source, tmp_path, n=10) == page(source, tmp_path, n=10)
    with pytest.raises(ValueError, match="n is 0"):
        contact_sheet(source, tmp_path / "x.html", n=0)


def test_what_was_set_aside_is_shown_with_reasons(tmp_path):
    rows = [{"messages": [{"role": role, "content": "x"}]} for role in ("user", "boss", "user", "chief")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    html = page(open_source(tmp_path / "a.jsonl", on_error="set_aside"), tmp_path)
    assert "4 rows read: 2 used, 2 set aside (2 for messages[].role)." in html
    assert "&#39;boss&#39; is not allowed here" in html and "messages[0].role" in html
    assert "record 1, line 3" in html


def test_counts():
    found = summarise(ListSource(everything()))
    assert found.totals["records"] == 6 and found.totals["pictures"] == 1 + 2 + 14 + 1
    assert found.totals["videos"] == 1 and found.totals["multiple choice"] == 1
    assert found.totals["pictures not readable"] == 1
    assert found.spread["picture width"] == [40, 40, 40, 40]
    assert found.shares["kind"] == {"chat": 3, "document": 1, "episode": 1, "group": 1}
    assert found.shares["meta.kind"] == {"what": 1}
    some = summarise(ListSource([chat(n) for n in range(50)]), limit=20)
    assert some.records == 20 and some.scope == "Over 20 of 50 records, drawn with seed 0."
    assert some.spread["turns a record"] == [2, 2, 2, 2]


def test_shapes_lie_where_the_regions_are():
    shapes = shapes_of(everything()[0])
    box, tilted, quad, blob, dots = shapes.still(0)
    assert box.points == ((1, 2), (20, 2), (20, 25), (1, 25)) and box.label == "cat"
    centre = np.mean(tilted.points, axis=0)
    assert centre == pytest.approx([20, 15])
    # Counter-clockwise on the screen: the right side goes up.
    assert tilted.points[1][1] < tilted.points[0][1]
    assert quad.points == ((1, 1), (30, 2), (31, 20), (2, 18))
    assert blob.path == "M10 5H30M10 15H30M10 5V15M30 5V15"
    assert dots.points == ((3, 4), (30, 20))
    assert shapes.still(1) == []
    track = shapes_of(everything()[1])
    assert track.frame(0, 7)[0].points[0] == (7, 7)
    assert track.frame(0, 99) == [] == track.frame(1, 7)
    assert [shape.kind for shape in track.still(0)] == ["polygon", "line"]


def test_a_mask_that_cannot_be_read_is_named_not_drawn(tmp_path):
    broken = chat(0, picture(), r.Region(mask={"size": [3, 3], "counts": [1, 2]}, label="odd"))
    html = page(ListSource([broken]), tmp_path)
    assert "mask odd" in html and 'class="shape' not in html
