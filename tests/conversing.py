"""Talking to the page of ``vitrail serve`` in a browser: what tests do on it, and where things stand on it."""

import json
from pathlib import Path

QUESTION = "document.querySelector('#question')"
SAID = "[...document.querySelectorAll('.said')].map((said) => said.innerText.trim())"
ASKED = "[...document.querySelectorAll('.you .text')].map((text) => text.innerText)"
IDLE = "document.querySelector('.stop').hidden"
NOTICE = "document.querySelector('#notice').innerText"
PROBLEM = "([...document.querySelectorAll('.answer .problem:not([hidden])')].at(-1)?.innerText ?? '')"
ATTACHED = "[...document.querySelectorAll('#foot .attached img')].map((image) => image.alt)"

FITS = """[document.documentElement, document.querySelector('#conversation')]
  .every((node) => node.scrollWidth <= innerWidth)"""
WIDE = """[...document.querySelectorAll('main *')].filter((node) => !node.closest('pre, #columns')
  && node.checkVisibility() && node.getBoundingClientRect().right > innerWidth + 1)
  .map((node) => node.className || node.tagName)"""
"""What is wider than the window, beyond what may be scrolled."""
SMALL = """[...document.querySelectorAll('button, select, textarea, summary, [role=switch]')]
  .filter((node) => node.checkVisibility())
  .map((node) => [node.getAttribute('aria-label') || node.textContent, node.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([name]) => name)"""
"""What no finger hits."""
LOW_CONTRAST = (Path(__file__).parent / "serving" / "atlas" / "low_contrast.js").read_text(encoding="utf-8")


def opened(browser, url, width=1280, height=800, **features):
    return ready(browser.page(width, height, **features).open(url))


def ready(page):
    page.wait("document.body && 'ready' in document.body.dataset")
    return page


def click(page, selector):
    page(f"document.querySelector({json.dumps(selector)}).click()")


def ask(page, text):
    page(f"{QUESTION}.focus()")
    page.type(text)
    click(page, "#foot .composer [type=submit]")


def answered(page, text):
    ask(page, text)
    page.wait(f"{IDLE} && {ASKED}.at(-1) === {json.dumps(text)}")


def kept(page, condition="version.state !== 'writing'"):
    """Waits until every answer of the conversation is stored as the condition says."""
    page.wait(f"""(async () => {{
      const store = await (await import('/page/store.js')).openStore();
      const conversation = await store.read(location.hash.slice(1));
      const answers = conversation?.rounds.flatMap((round) => Object.values(round.answers)) ?? [];
      return answers.length > 0 && answers.flatMap((answer) => answer.versions).every((version) => {condition});
    }})()""")


def own_requests_only(page, endpoint):
    return [url for url in page.outside if not url.startswith((endpoint.url, "blob:"))]
