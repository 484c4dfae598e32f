"""Talking to the page of ``vitrail serve`` in a browser: what tests do on it, and where things stand on it."""

import json

QUESTION = "document.querySelector('#question')"
SAID = "[...document.querySelectorAll('.said')].map((said) => said.innerText.trim())"
ASKED = "[...document.querySelectorAll('.you .text')].map((text) => text.innerText)"
IDLE = "document.querySelector('.stop').hidden"
NOTICE = "document.querySelector('#notice').innerText"
PROBLEM = "([...document.querySelectorAll('.answer .problem:not([hidden])')].at(-1)?.innerText ?? '')"
ATTACHED = "[...document.querySelectorAll('#foot .attached img')].map((image) => image.alt)"


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
