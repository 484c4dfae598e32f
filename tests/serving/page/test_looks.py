"""How the page of `vitrail serve` looks and is reached: widths, contrast, theme, keyboard, screen reader, motion."""

import itertools
import threading

import pytest

from conversing import (
    ATTACHED,
    FITS,
    IDLE,
    LOW_CONTRAST,
    PROBLEM,
    QUESTION,
    SAID,
    SMALL,
    WIDE,
    ask,
    click,
    kept,
    opened,
    ready,
)
from scripted_endpoint import Refuse

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.usefixtures("closed_afterwards")]

LONG = "A_very_long_word_without_any_place_where_a_line_could_break_" * 4


def filled(page, endpoint, pictures):
    """A conversation with everything in it, some of it too long."""
    page.choose("#foot input[type=file]", pictures / "noise.png", pictures / "red.jpg")
    page.wait(f"{ATTACHED}.length === 2")
    endpoint.say(f"# Heading\n\n{LONG}\n\n- a\n  - b\n\n> quoted\n\n```\n{LONG}\n```\n\n1. `{LONG}`")
    ask(page, LONG)
    page.wait(f"{IDLE} && !!document.querySelector('.said pre')")
    click(page, "#columns .add")
    endpoint.say(Refuse(400, f"messages[0]: {LONG}"))
    ask(page, "And side by side?")
    page.wait(f"{IDLE} && {PROBLEM} !== ''")
    page.choose("#foot input[type=file]", pictures / "noise.png")
    page.wait(f"{ATTACHED}.length === 1")
    page.wait("[...document.querySelectorAll('.you img')].every((image) => image.complete)")


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_it_fits_and_can_be_read(browser, endpoint, pictures, width):
    page = opened(browser, endpoint.url, width)

    def readable():
        for scheme in ("dark", "light"):
            page.emulate(prefers_color_scheme=scheme)
            background = page("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(247, 245, 240)") == (scheme == "light"), background
            assert page(LOW_CONTRAST) == [], scheme

    assert page(FITS)
    readable()
    filled(page, endpoint, pictures)
    assert page(WIDE) == [] and page(FITS)
    readable()
    if width < 900:
        click(page, "#show-history")
        readable()
        assert page("document.querySelector('main').inert")
        assert page("document.querySelector('#history').contains(document.activeElement)")
        page.press("Escape")
        assert page("document.activeElement.id") == "show-history"
        assert not page("document.querySelector('main').inert")
    click(page, "#columns [title^=Settings]")
    assert page(FITS) and page(
        "document.querySelector('#settings').getBoundingClientRect().right <= innerWidth"
    )
    readable()


def test_targets_are_big_enough_for_a_finger(browser, endpoint, pictures):
    page = opened(browser, endpoint.url, 320)
    filled(page, endpoint, pictures)
    assert page(SMALL) == []


def test_the_theme_is_chosen_and_kept(browser, endpoint):
    page = opened(browser, endpoint.url, prefers_color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page(paper)
    for word in ("light", "dark"):
        click(page, "#theme")
        assert page("document.querySelector('#theme').textContent") == f"Theme: {word}"
    assert page(paper) != light
    for _ in range(20):  # the browser writes what pages keep behind their back
        if ready(page.open(endpoint.url))("document.documentElement.dataset.theme") == "dark":
            break
    assert page(paper) != light
    click(page, "#theme")
    assert page(paper) == light


def test_the_keyboard_goes_from_top_to_bottom(browser, endpoint):
    page = opened(browser, endpoint.url, 320)
    answered_by_button(page, "Hello?")
    kept(page)
    page.call("Page.reload")
    page.wait(f"document.body?.dataset.ready === '' && {SAID}.length === 1")
    seen = []
    for _ in range(14):
        page.press("Tab")
        seen.append(
            page("((e) => e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)")
        )
        shown = page("((b) => b.left >= 0 && b.width > 0)(document.activeElement.getBoundingClientRect())")
        assert shown, f"{seen[-1]} has focus and is not seen"
    assert seen == [
        "Skip to your question", "History", "Theme: auto", "New conversation", "Model", "Settings", "Compare",
        "Questions and answers", "Copy the question", "Edit the question", "Copy answer",
        "Another answer, with a new seed", "Ask something; drop or paste pictures", "Add pictures",
    ]  # fmt: skip
    page.open(endpoint.url + "#")
    ready(page)
    page.press("Tab")
    page.press("Enter")
    page.wait("document.activeElement.id === 'question'")


def answered_by_button(page, text):
    """With a finger, Enter begins a line."""
    page(f"{QUESTION}.focus()")
    page.type(text)
    page.press("Enter")
    assert page(f"{QUESTION}.value") == text + "\n"
    click(page, "#foot .composer [type=submit]")
    page.wait(f"{IDLE} && {SAID}.length === 1 && {SAID}[0] !== ''")


def test_a_screen_reader_hears_names_sentences_and_ends(browser, endpoint, pictures):
    page = opened(browser, endpoint.url)
    heard = "[...document.querySelectorAll('#heard p')].map((line) => line.textContent)"
    more = threading.Event()
    endpoint.say("One sentence is whole. ", "The next", more, " one ends too.")
    ask(page, "Speak.")
    page.wait(f"{heard}.length === 2")
    assert page(heard) == ["The answer begins.", "One sentence is whole."], "not every token"
    more.set()
    page.wait(f"{heard}.length === 4")
    assert page(heard)[2:] == ["The next one ends too.", "End of the answer."]
    assert page("document.querySelector('.said').closest('[aria-live], [role=log], [role=status]')") is None
    filled(page, endpoint, pictures)
    nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    needs = (
        "link",
        "button",
        "combobox",
        "textbox",
        "spinbutton",
        "image",
        "navigation",
        "region",
        "group",
        "article",
    )
    nameless = [
        node for node, (role, name) in zip(nodes, named, strict=True) if role in needs and not name.strip()
    ]
    assert nameless == []
    assert {"banner", "navigation", "main", "status", "log", "heading"} <= {role for role, _ in named}
    for one in (
        ("region", "Question 1"),
        ("article", "Answer A"),
        ("image", "red.jpg"),
        ("heading", "You asked"),
    ):
        assert one in named
    ids = page("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    referred = page("""['aria-describedby', 'aria-labelledby', 'aria-controls'].flatMap((name) =>
      [...document.querySelectorAll(`[${name}]`)].map((node) => node.getAttribute(name)))""")
    assert set(referred) <= set(ids)
    levels = page("""[...document.querySelectorAll('main h1, main h2, main h3, main [role=heading]')]
      .map((node) => +(node.ariaLevel ?? node.tagName[1]))""")
    assert levels[0] == 1 and all(later - before <= 1 for before, later in itertools.pairwise(levels))


def test_motion_is_reduced_where_it_is_asked(browser, endpoint):
    moving = "getComputedStyle(document.querySelector('#history')).transitionDuration"
    assert opened(browser, endpoint.url, 320, prefers_reduced_motion="reduce")(moving) == "0s"
    assert opened(browser, endpoint.url, 320, prefers_reduced_motion="no-preference")(moving) != "0s"
