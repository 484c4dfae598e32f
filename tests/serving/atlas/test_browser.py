"""The atlas in a real browser: keyboard, screen reader, phone, light and dark, reduced motion, without scripts."""

from pathlib import Path

import pytest

from browser import Browser
from catalogue_files import WHOLE, measured, planned, write
from vitrail.papers import read
from vitrail.papers.vocabulary import ANATOMY, SEAMS
from vitrail.serving.atlas import build

pytestmark = pytest.mark.debian("chromium")

LONG = "A_very_long_name_without_any_place_where_a_line_could_break_" * 3


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """96 papers in all seams: 8 built, 5 of them measured; one with everything too long."""
    root = tmp_path_factory.mktemp("site")
    seams = list(SEAMS)
    later = [
        planned(f"p{i:02}", seams=[seams[i % 21], seams[-1]], title=f"P{i:02}: a method") for i in range(88)
    ]
    later[0] |= {"about": LONG, "title": f"P00: {LONG}", "bibtex": "@misc{p00, title={" + LONG + "}}"}
    built = [
        {**WHOLE, "id": id, "title": f"{id.title()}: lit"}
        for id in ("b1", "b2", "b3", "b4", "b5", "b6", "b7")
    ]
    built[0] |= {"anatomy": list(ANATOMY), "use": f"vitrail {LONG}", "files": [f"src/{LONG}.py"]}
    write(root / "papers", WHOLE, *built, *later)
    measured(root / "evidence")
    measured(root / "evidence", "b1", verdict="not seen", effect=-1, interval=[-2, -0.5])
    measured(root / "evidence", "b2", verdict="undecided", interval=[-1, 4])
    measured(root / "evidence", "b3", verdict="not testable here", effect=None, interval=None, reason=LONG)
    measured(root / "evidence", "b4")
    measured(root / "evidence", "b4", testbed="small", verdict="undecided", interval=[-1, 4])
    return build(root / "site", papers=read(root / "papers"), evidence=root / "evidence").parent


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


SAMPLE = [
    "index.html",
    "feed.html",
    "papers/ovis.html",
    "papers/b1.html",
    "papers/p00.html",
    "seams/agent.html",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_pages_fit_and_can_be_read(browser, site, width, scheme):
    page = browser.page(width, 800, prefers_color_scheme=scheme)
    for name in SAMPLE:
        page.open(site / name)
        assert page("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        assert page(LOW_CONTRAST) == [], (name, scheme)
        assert page("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    assert page.errors == [] and page.outside == []


LOW_CONTRAST = (Path(__file__).parent / "low_contrast.js").read_text(encoding="utf-8")


def test_tab_goes_skip_link_header_window_search(browser, site):
    page = browser.page().open(site / "index.html")
    seen = []
    for _ in range(14):
        page.press("Tab")
        seen.append(
            page(
                "((e) => e.className?.baseVal?.split(' ')[0] || e.className || e.type || e.textContent)"
                "(document.activeElement)"
            )
        )
    assert seen[:3] == ["skip", "brand", "Window"] and seen[6] == "theme"
    assert seen.count("pane") == 1, "the window is one stop"
    assert seen.index("pane") == 7 and seen[8] == "search"
    page.open(site / "index.html")
    page.press("Tab")
    assert page("document.activeElement.getBoundingClientRect().left >= 0"), (
        "the skip link is seen when it has focus"
    )
    page.press("Enter")
    page.press("Tab")
    assert page("document.activeElement.classList.contains('pane')")


def test_arrow_keys_reach_every_pane(browser, site):
    page = browser.page().open(site / "index.html")
    reached = page("""(() => {
      const panes = [...document.querySelectorAll(".pane")];
      const seen = new Set([panes[0]]), todo = [panes[0]];
      while (todo.length) {
        const from = todo.pop();
        for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
          from.focus();
          from.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
          const to = document.activeElement;
          if (!seen.has(to)) { seen.add(to); todo.push(to); }
        }
      }
      return [seen.size, panes.length, document.querySelectorAll('.pane[tabindex="0"]').length];
    })()""")
    assert reached == [96, 96, 1]


def test_keys_move_show_and_open(browser, site):
    page = browser.page().open(site / "index.html")
    page("document.querySelector('.pane[tabindex=\"0\"]').focus()")
    place = "(() => { const p = document.activeElement.dataset; return [+p.x, +p.y]; })()"
    x, y = page(place)
    page.press("ArrowRight")
    assert page(place)[0] > x
    page.press("ArrowDown")
    assert page(place)[1] > y
    assert page(
        "document.querySelector('.ring').getAttribute('d')"
        " === document.activeElement.firstElementChild.getAttribute('d')"
    )
    title = page("document.querySelector('#caption .t').textContent")
    assert title == page(
        "document.querySelector(`#paper-${document.activeElement.dataset.id} h3`).textContent"
    )
    kin = page("[...document.querySelectorAll('.pane.kin')].map((pane) => pane.dataset.seam)")
    assert set(kin) == {page("document.activeElement.dataset.seam")} and len(kin) > 1
    page.press("End")
    last = page("document.activeElement.dataset.id")
    assert last == page("[...document.querySelectorAll('.pane')].at(-1).dataset.id")
    page.press("Home")
    first = page("document.activeElement.dataset.id")
    page.press("Enter")
    page.wait(f"location.pathname.endsWith('/papers/{first}.html') && document.readyState === 'complete'")


def test_a_screen_reader_hears_names_and_verdicts(browser, site):
    page = browser.page().open(site / "index.html")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    interactive = ("link", "button", "combobox", "searchbox", "textbox")
    assert [role for role, name in named if role in interactive and not name.strip()] == []
    links = [name for role, name in named if role == "link"]
    assert (
        "Ovis, connector, built, verdict: seen" in links
        and "B4, connector, built, verdict: testbeds differ" in links
    )
    assert sum(", planned, not built yet" in name for name in links) == 88
    assert ("group", "96 published methods, one window") in named
    assert ("search", "Search and filter papers") in named
    roles = {role for role, _ in named}
    assert {"banner", "navigation", "main", "contentinfo", "heading", "status"} <= roles
    page.open(site / "papers/ovis.html")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    drawings = [
        node["name"]["value"]
        for node in nodes
        if node["role"].get("value") in ("image", "img") and not node["ignored"]
    ]
    assert drawings == ["The life of a model, from data to evaluation. Lit: tower, connector."]


def test_search_and_filters_over_list_and_window(browser, site):
    page = browser.page().open(site / "index.html")
    count = "document.querySelector('.filters output').textContent"
    state = f"[{count}, document.querySelectorAll('.pane:not(.off)').length]"
    assert page(state) == ["96 of 96 papers", 96]
    page("document.querySelector('[data-search]').focus()")
    page.type("P07 method")
    assert page(state) == ["1 of 96 papers", 1]
    assert (
        page("[...document.querySelectorAll('.papers > li')].filter((li) => li.checkVisibility()).length")
        == 1
    )
    page.type(" zebra")
    assert page(state)[0] == "0 of 96 papers" and page("document.querySelector('.none').checkVisibility()")
    page("document.querySelector('[data-clear]').click()")
    page.wait(f"{state}[1] === 96")

    def choose(name, value):
        page(
            f"((s) => {{ s.value = '{value}'; s.dispatchEvent(new Event('input', {{ bubbles: true }})); }})"
            f"(document.querySelector('[data-filter={name}]'))"
        )

    choose("state", "built")
    assert page(state)[1] == 8
    choose("verdict", "not-testable-here")
    assert page(state)[1] == 1
    choose("verdict", "mixed")
    assert page(state)[1] == 1
    choose("state", "")
    choose("verdict", "")
    choose("seam", "image-plan")
    assert page(state)[1] == 5


def test_the_theme_is_chosen_and_kept(browser, site):
    page = browser.page(prefers_color_scheme="light").open(site / "index.html")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page(paper)
    button = "document.querySelector('.theme')"
    page(f"{button}.click()")
    assert page(f"{button}.textContent") == "Theme: light" and page(paper) == light
    page(f"{button}.click()")
    assert page(f"{button}.textContent") == "Theme: dark" and page(paper) != light
    for _ in range(20):  # the browser writes what pages keep behind their back
        if page.open(site / "papers/ovis.html")(f"{button}.textContent") == "Theme: dark":
            break
    assert page(f"{button}.textContent") == "Theme: dark" and page(paper) != light
    page(f"{button}.click()")
    assert page(f"{button}.textContent") == "Theme: auto" and page(paper) == light


def test_a_finger_is_told_first_and_opens_second(browser, site):
    page = browser.page(320, 800).open(site / "index.html")
    page("scrollTo({ top: 0, behavior: 'instant' })")
    x, y = page(
        "((b) => [b.x + b.width / 2, b.y + b.height / 2])"
        "(document.querySelector('.pane[data-id=b5]').getBoundingClientRect())"
    )
    page.tap(x, y)
    page.wait("document.querySelector('#caption .t').textContent === 'B5: lit'")
    assert page("location.pathname").endswith("index.html")
    page.tap(x, y)
    page.wait("location.pathname.endsWith('/papers/b5.html')")


def test_panes_are_big_enough_for_a_finger(browser, site):
    page = browser.page(320, 800).open(site / "index.html")
    sizes = page(
        "[...document.querySelectorAll('.pane')].map((p) => p.getBoundingClientRect())"
        ".map((b) => b.width * b.height)"
    )
    assert min(sizes) > 18 * 18


def test_motion_is_reduced_where_it_is_asked(browser, site):
    moving = "getComputedStyle(document.querySelector('.pane')).transitionDuration"
    assert browser.page(prefers_reduced_motion="reduce").open(site / "index.html")(moving) == "0s"
    assert browser.page(prefers_reduced_motion="no-preference").open(site / "index.html")(moving) != "0s"


def test_without_scripts_everything_is_there(browser, site):
    page = browser.page()
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(site / "index.html")
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page("document.querySelectorAll('.papers > li:not([hidden])').length") == 96
    assert not page("document.querySelector('.filters').checkVisibility()")
    assert not page("document.querySelector('.theme').checkVisibility()")


def test_the_shipped_atlas(browser, tmp_path):
    """The longest pages of the shipped catalogue open on a phone without an error, a request, a line too wide."""
    site = build(tmp_path / "site").parent
    page = browser.page(320, 800)
    longest = sorted(site.glob("*/*.html"), key=lambda file: (-file.stat().st_size, file.name))[:12]
    for file in (site / "index.html", site / "feed.html", *longest):
        page.open(file)
        assert page("document.documentElement.scrollWidth <= innerWidth"), file.name
    assert page.errors == [] and page.outside == []
