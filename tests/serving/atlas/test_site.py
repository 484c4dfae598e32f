"""The site: whole, true to the catalogue, escaped, with links that lead somewhere; equal input, equal bytes."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from catalogue_files import WHOLE, measured, planned, write
from vitrail.cli.commands import COMMANDS, Command
from vitrail.cli.main import main
from vitrail.papers import read
from vitrail.papers.vocabulary import SEAMS
from vitrail.serving.atlas import build
from vitrail.serving.atlas.site import render

EVIL = "</script><img src=x onerror=alert(1)>&\"'"
VOID = {"meta", "link", "input", "br", "img", "hr", "area", "base", "col", "embed", "source", "track", "wbr"}


class Structure(HTMLParser):
    """Tags that do not match, ids, links, and what a reader with ears would need."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.faults = [], [], [], []
        self.tags, self.headings, self.referred = [], [], []
        self.feed(text)
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag in ("a", "link") and values.get("href"):
            self.links.append(values["href"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        for name in ("aria-labelledby", "aria-describedby", "for"):
            self.referred += (values.get(name) or "").split()
        self.faults += [f"<{tag} {name}> runs a script" for name in values if name.startswith("on")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A catalogue with a hostile entry, and evidence of every verdict."""
    root = tmp_path_factory.mktemp("atlas")
    evil = planned(
        "evil", title=f"Evil: {EVIL}", about=EVIL, changes=EVIL, bibtex="@misc{evil, title={" + EVIL + "}}"
    )
    evil["claim"] = {**WHOLE["claim"], "text": EVIL, "study": EVIL}
    built = [
        {**WHOLE, "id": id, "title": f"{id.title()}: a method"}
        for id in ("bar", "query", "cross", "split", "new")
    ]
    write(root / "papers", WHOLE, evil, *built, planned("later", seams=["curation", "head"], anatomy=[]))
    measured(root / "evidence")
    measured(root / "evidence", "bar", verdict="not seen", effect=-1, interval=[-2, -0.5], date="2026-03-09")
    measured(root / "evidence", "query", verdict="undecided", effect=0, interval=[-1, 3])
    reason = f"the control is at the ceiling\x01 {EVIL}"
    measured(
        root / "evidence", "cross", verdict="not testable here", effect=None, interval=None, reason=reason
    )
    measured(root / "evidence", "split")
    measured(root / "evidence", "split", testbed="small", verdict="undecided", interval=[-1, 4])
    return root


@pytest.fixture(scope="module")
def pages(folder):
    return render(read(folder / "papers"), evidence=folder / "evidence", address="https://example.org/atlas/")


@pytest.fixture(scope="module")
def structures(pages):
    return {name: Structure(text) for name, text in pages.items() if name.endswith(".html")}


def test_a_page_for_each(pages, folder):
    expected = {"index.html", "feed.html", "feed.xml"}
    expected |= {f"papers/{id}.html" for id in read(folder / "papers")}
    expected |= {f"seams/{seam.replace(' ', '-')}.html" for seam in SEAMS}
    assert set(pages) == expected


def test_pages_are_well_formed_and_named(structures):
    for name, page in structures.items():
        assert page.faults == [], name
        assert len(page.ids) == len(set(page.ids)), name
        assert set(page.referred) <= set(page.ids), name
        assert page.headings[0] == 1 and page.headings.count(1) == 1, name
        assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), (
            name,
            page.headings,
        )
        tags = [tag for tag, _ in page.tags]
        assert tags.count("main") == 1 and tags.count("title") >= 1, name
        assert ("html", {"lang": "en"}) in page.tags
        assert page.links[:1] == ["../feed.xml"] if "/" in name else ["feed.xml"]


def test_every_link_within_the_site_leads_somewhere(structures, pages):
    for name, page in structures.items():
        parts = name.split("/")[:-1]
        for link in page.links:
            if re.match(r"https?:|\.\./.*src/vitrail/", link):
                continue
            target, _, anchor = link.partition("#")
            place = [*parts]
            for part in target.split("/"):
                if part == "..":
                    place.pop()
                elif part:
                    place.append(part)
            found = "/".join(place) if target else name
            assert found in pages, (name, link)
            if anchor:
                assert anchor in structures[found].ids, (name, link)


def test_nothing_comes_from_outside(pages):
    for name, text in pages.items():
        assert not re.search(
            r"<(script|img|iframe|link)[^>]+(src|rel=.stylesheet)", text.split("</style>")[-1]
        ), name
        assert "url(http" not in text and "@import" not in text, name
        if name.endswith(".html"):
            assert "default-src 'none'" in text


def test_texts_are_escaped(pages):
    for name, text in pages.items():
        assert EVIL not in text and "<img" not in text, name
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in pages["papers/evil.html"]


def test_planned_is_said_wherever_it_is_shown(pages):
    page = pages["papers/later.html"]
    assert "planned, not built yet" in page and "Planned, not built yet." in page
    assert "vitrail compare" not in page and "Lines that run" not in page
    for name in ("index.html", "seams/head.html"):
        row = re.search(r'<li id="paper-later".*?</li>', pages[name], re.S)[0]
        assert "planned, not built yet" in row
    pane = re.search(r'<a class="pane [^>]*data-id="later"[^>]*>', pages["index.html"])[0]
    assert "planned" in pane and 'aria-label="Later, curation, planned, not built yet"' in pane


@pytest.mark.parametrize(
    ("id", "mark", "words"),
    [
        ("ovis", "check", "seen"), ("bar", "bar", "not seen"), ("query", "query", "undecided"),
        ("cross", "cross", "not testable here"), ("split", "split", "testbeds differ"),
    ],
)  # fmt: skip
def test_a_verdict_has_a_mark_and_words(pages, id, mark, words):
    pane = re.search(rf'<a class="pane [^>]*data-id="{id}".*?</a>', pages["index.html"], re.S)[0]
    assert f'href="#mark-{mark}"' in pane and f"verdict: {words}" in pane
    assert f'id="mark-{mark}"' in pages["index.html"]
    row = re.search(rf'<li id="paper-{id}".*?</li>', pages["index.html"], re.S)[0]
    assert f'href="#mark-{mark}"' in row and words in row


def test_a_paper_says_what_was_measured_with_its_scope(pages):
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", pages["papers/ovis.html"]))
    for said in (
        "+3.2 points", "95 % interval +1.1 to +5.3, smallest effect that matters 2", "parameters 1,100,000",
        "hardware 2 cores", "paired seeds 8", "2026-03-04", "0123456789ab", "import vitrail",
        "vitrail compare base.yaml +ovis --data mine.jsonl --budget 2h", "An MLP with as many parameters",
        "It needs: fresh model.", "8.8 % over an MLP", "licence Apache-2.0", "@misc{ovis",
    ):  # fmt: skip
        assert said in page, said
    assert "not seen: it did harm" in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", pages["papers/bar.html"]))
    assert "no study of them has been committed" in pages["papers/new.html"]


def test_the_drawing_lights_what_changes(pages):
    for drawing in re.findall(r'<svg class="anatomy.*?</svg>', pages["papers/ovis.html"], re.S):
        lit = re.findall(r'<g class="part lit g\d">.*?<text[^>]*>([^<]+)', drawing)
        assert sorted(lit) == ["connector", "tower"]
        assert "Lit: tower, connector." in drawing and drawing.count('class="star"') == 2


def test_a_seam_lists_papers_and_components(pages):
    page = pages["seams/connector.html"]
    assert "7 papers plug in here" in page
    assert "<code>mlp</code>" in page and "vitrail.models.connectors.mlp" in page


def test_the_feed(pages):
    atom = "{http://www.w3.org/2005/Atom}"
    feed = ElementTree.fromstring(pages["feed.xml"].encode())
    entries = feed.findall(f"{atom}entry")
    assert len(entries) == 6 and entries[0].find(f"{atom}title").text == "Bar on nano: not seen"
    assert feed.find(f"{atom}updated").text == "2026-03-09T00:00:00Z"
    assert entries[0].find(f"{atom}link").get("href") == "https://example.org/atlas/papers/bar.html"
    assert (
        "(it did harm); effect -1 points, 95 % interval -2 to -0.5. Holds for parameters: 1100000"
        in entries[0].find(f"{atom}summary").text
    )
    assert len({entry.find(f"{atom}id").text for entry in entries}) == 6


def test_equal_input_gives_equal_bytes(folder, pages):
    again = render(
        read(folder / "papers"), evidence=folder / "evidence", address="https://example.org/atlas/"
    )
    assert again == pages


def test_files_can_lead_to_an_address(folder):
    pages = render(
        read(folder / "papers"), evidence=folder / "evidence", files="https://example.org/blob/main/"
    )
    assert 'href="https://example.org/blob/main/src/vitrail/registry.py"' in pages["papers/ovis.html"]


def test_links_to_files_lead_into_the_checkout(folder, tmp_path):
    build(tmp_path / "deep" / "site", papers=read(folder / "papers"), evidence=folder / "evidence")
    page = tmp_path / "deep/site/papers/ovis.html"
    link = re.search(r'href="([^"]+registry\.py)"', page.read_text())[1]
    assert (page.parent / link).resolve().is_file()


def test_building_replaces_an_atlas_and_nothing_else(folder, tmp_path):
    papers = read(folder / "papers")
    site = tmp_path / "site"
    build(site, papers=papers, evidence=folder / "evidence")
    (site / "papers" / "gone.html").touch()
    build(site, papers=papers, evidence=folder / "evidence")
    assert not (site / "papers" / "gone.html").exists() and (site / "index.html").is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["site"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(FileExistsError, match="is not an atlas; choose another folder"):
        build(mine, papers=papers, evidence=folder / "evidence")
    assert (mine / "index.html").read_text() == "<h1>mine</h1>"


def test_an_error_leaves_the_old_atlas(folder, tmp_path, monkeypatch):
    papers = read(folder / "papers")
    build(tmp_path / "site", papers=papers, evidence=folder / "evidence")
    before = (tmp_path / "site/index.html").read_bytes()
    monkeypatch.setattr("os.rename", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        build(tmp_path / "site", papers=papers, evidence=folder / "evidence")
    assert (tmp_path / "site/index.html").read_bytes() == before


def test_the_command(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(
        COMMANDS, "atlas", Command("the atlas", children={"build": Command("build it", "atlas")})
    )
    monkeypatch.setattr("vitrail.papers.catalogue.SHIPPED", folder / "papers")
    assert main(["atlas", "build", "--to", str(tmp_path / "here")]) == 0
    assert "open it in a browser" in capsys.readouterr().out and (tmp_path / "here/index.html").is_file()
    assert main(["atlas", "build", "--to", str(tmp_path / "x"), "--files", "ftp"]) == 2
    assert "--files 'ftp' is not an address" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").touch()
    assert main(["atlas", "build", "--to", str(tmp_path / "full")]) == 2
    assert "is not an atlas" in capsys.readouterr().err


def test_an_empty_catalogue_is_told(tmp_path):
    with pytest.raises(ValueError, match="the catalogue holds no paper"):
        render({})
