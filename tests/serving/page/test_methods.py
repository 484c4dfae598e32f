"""Methods of inference on the page of `vitrail serve`: switches for what is offered, and what they did."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from conversing import (
    ATTACHED,
    FITS,
    IDLE,
    LOW_CONTRAST,
    NOTICE,
    PROBLEM,
    SAID,
    SMALL,
    WIDE,
    answered,
    ask,
    click,
    kept,
    opened,
    own_requests_only,
    ready,
)
from scripted_endpoint import Did, Refuse

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.usefixtures("closed_afterwards")]


def offer(name, changes, combines_with, **fields):
    told = {
        "name": name,
        "about": f"what {name} is about",
        "changes": changes,
        "combines_with": combines_with,
    }
    return {**told, "in_turn": False, "always": False, **fields}


PICTURES, TOKENS = "the pictures of the prompt", "the visual tokens that layers keep"
OFFERS = [
    offer("vicrop", PICTURES, ["gsearch", "aim"]),
    offer("rap", PICTURES, ["gsearch", "aim"]),
    offer("gsearch", TOKENS, ["vicrop", "rap", "aim"], in_turn=True),
    offer("aim", "the demonstrations of the prompt", ["vicrop", "rap", "gsearch"], always=True),
]
THUMB = (
    "data:image/gif;base64,"
    + base64.b64encode(
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    ).decode()
)
DONE = {
    "vicrop": {"picture": 1, "size": [48, 32], "box": [8, 4, 24, 20]},
    "gsearch": {
        "layers": 4,
        "cuts": [{"layer": 1, "kept": 4, "of": 8}, {"layer": 3, "kept": 2, "of": 8}],
        "views": [
            {"picture": 0, "box": [0, 0, 1, 1], "rows": 2, "cols": 2, "seen": [4, 1, 3, 1]},
            {"picture": 1, "box": [0, 0, 1, 1], "rows": 2, "cols": 2, "seen": [1, 1, 3, 4]},
        ],
    },
    "rap": {
        "memories": [
            {"name": "Rex", "distance": 0.25, "by": "picture", "picture": THUMB},
            {"name": "Mia", "distance": 0.0, "by": "name"},
        ],
        "left_out": ["Tom"],
    },
    "aim": {"demonstrations": 2},
    "other": {"strength": 3},
    "idle": {},
}
TOLD = """[...document.querySelectorAll('.method')].map((one) => [one.querySelector('h4').textContent,
  [...one.querySelectorAll('p:not(.legend)')].map((line) => line.textContent)])"""
SWITCHES = """[...document.querySelectorAll('.switch')].map((row) => {
  const field = row.querySelector('input'), off = field.ariaDisabled === 'true';
  return [field.closest('label').textContent, field.checked, off, row.querySelector('.why').textContent]; })"""
READY_FIGURES = """[...document.querySelectorAll('.method figure:not([hidden]) img')].length === 3
  && [...document.querySelectorAll('.method img')].every((image) => image.naturalWidth)"""


@pytest.fixture
def pictures(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.new("RGB", (48, 32), "red").save(tmp_path / "red.jpg")
    return tmp_path


def flip(page, name):
    """Moves a switch with the keyboard."""
    page(f"""[...document.querySelectorAll('.switch label')].find((one) => one.textContent === {json.dumps(name)})
      .querySelector('input').focus()""")
    page.press(" ")


def with_account(page, endpoint, pictures):
    """A question with two pictures, answered with everything that methods may do."""
    page.choose("#foot input[type=file]", pictures / "noise.png", pictures / "red.jpg")
    page.wait(f"{ATTACHED}.length === 2")
    endpoint.say("An answer.", Did(DONE))
    ask(page, "What?")
    page.wait(f"{IDLE} && {READY_FIGURES}")


def test_switches_are_what_the_server_offers(browser, endpoint):
    endpoint.offers = OFFERS
    page = opened(browser, endpoint.url)
    click(page, "#columns [title^=Settings]")
    assert page("document.querySelector('#settings legend').textContent") == "Methods"
    assert page(SWITCHES) == [
        ["vicrop", False, False, ""],
        ["rap", False, False, ""],
        ["gsearch", False, False, ""],
        ["aim", True, True, "Always on here."],
    ]
    flip(page, "vicrop")
    assert page(SWITCHES)[1] == ["rap", False, True, f"Not together with vicrop: both choose {PICTURES}."]
    flip(page, "rap")
    flip(page, "aim")
    assert [one[1] for one in page(SWITCHES)] == [True, False, False, True], "what is barred does not move"
    flip(page, "gsearch")
    nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    heard = {
        node["name"]["value"]: node["description"]["value"]
        for node in nodes
        if node["role"]["value"] == "switch"
    }
    assert heard["rap"] == f"what rap is about. Not together with vicrop: both choose {PICTURES}."
    assert heard["gsearch"] == "what gsearch is about. Such answers are made one after the other."
    assert ("group", "Methods") in [
        (node["role"]["value"], node["name"]["value"]) for node in nodes if "name" in node
    ]
    page.press("Enter")
    page.wait("!document.querySelector('#settings').open")
    assert page("document.querySelector('.column .words').textContent") == "vicrop and gsearch"
    answered(page, "What?")
    assert endpoint.asked[0]["methods"] == ["vicrop", "gsearch"]
    click(page, "#columns [title^=Settings]")
    flip(page, "vicrop")
    assert page(SWITCHES)[1][2:] == [False, ""]
    click(page, "#settings .cancel")
    answered(page, "And?")
    assert endpoint.asked[1]["methods"] == ["vicrop", "gsearch"], "nothing was taken over"
    kept(page)
    page.call("Page.reload")
    page.wait("document.body?.dataset.ready === '' && !!document.querySelector('.column .words')")
    assert page("document.querySelector('.column .words').textContent") == "vicrop and gsearch"
    assert page.errors == []


def test_without_an_offer_there_are_no_switches(browser, endpoint):
    page = opened(browser, endpoint.url)
    click(page, "#columns [title^=Settings]")
    assert page("document.querySelector('#settings fieldset').checkVisibility()") is False
    click(page, "#settings [type=submit]")
    answered(page, "What?")
    assert "methods" not in endpoint.asked[0] and page("document.querySelector('.did')") is None


def test_what_is_offered_no_more_is_switched_off(browser, endpoint):
    endpoint.offers = OFFERS
    page = opened(browser, endpoint.url)
    click(page, "#columns [title^=Settings]")
    flip(page, "vicrop")
    click(page, "#settings [type=submit]")
    endpoint.offers = []
    endpoint.say(Refuse(400, "methods[0]: 'vicrop' is not offered here; no method is"))
    ask(page, "What?")
    page.wait(f"{IDLE} && {PROBLEM}.startsWith(\"Methods[0]: 'vicrop' is not offered here\")")
    page.wait("!document.querySelector('.column .words')")
    assert "with vicrop" in page("document.querySelector('.facts').textContent")
    answered(page, "And?")
    assert "methods" not in endpoint.asked[1]


def test_columns_differ_by_their_methods(browser, endpoint):
    endpoint.offers = OFFERS
    page = opened(browser, endpoint.url)
    click(page, "#columns .add")
    page("document.querySelectorAll('#columns [title^=Settings]')[1].click()")
    flip(page, "gsearch")
    click(page, "#settings [type=submit]")
    endpoint.say("One.")
    endpoint.say("Two.")
    ask(page, "What?")
    page.wait(f"{IDLE} && {SAID}.sort().join() === 'One.,Two.'")
    first, second = sorted(endpoint.asked, key=lambda body: body["model"])
    assert "methods" not in first and second["methods"] == ["gsearch"]


def test_what_the_methods_did_stands_below_the_answer(browser, endpoint, pictures):
    page = opened(browser, endpoint.url)
    with_account(page, endpoint, pictures)
    assert page("document.querySelector('.did summary').textContent") == (
        "What the methods did: vicrop, gsearch, rap, aim, other, idle"
    )
    assert dict(page(TOLD)) == {
        "vicrop": ["It looked again at 16 × 16 pixels of picture 2, 8 from the left and 4 from the top."],
        "gsearch": ["Visual tokens left: 4 of 8 from layer 2 on, 2 of 8 from layer 4 on."],
        "rap": ["Left out, for want of room: Tom."],
        "aim": ["2 demonstrations were read apart."],
        "other": [],
        "idle": ["It had nothing to do here."],
    }
    assert json.loads(page("document.querySelector('.method pre').textContent")) == {"strength": 3}
    cards = page("[...document.querySelectorAll('.memories li')].map((one) => one.innerText.split('\\n'))")
    assert cards == [["Rex", "by its picture, distance 0.25"], ["Mia", "by its name"]]
    where = """(() => { const [edge, image] = ['.edge', '.over img'].map((one) =>
        document.querySelector(`.method ${one}`).getBoundingClientRect());
      return [edge.left - image.left, edge.top - image.top, edge.width, edge.height].map((part, at) =>
        Math.round((part / (at % 2 ? image.height : image.width)) * (at % 2 ? 32 : 48))); })()"""
    assert page(where) == [8, 4, 16, 16], "the rectangle lies on the picture where the crop is"
    colours = page("""(() => {
      const canvas = document.querySelector('.method canvas'), brush = canvas.getContext('2d');
      const at = (x, y) => [...brush.getImageData(x * canvas.width, y * canvas.height, 1, 1).data];
      return [at(.25, .25), at(.75, .25), at(.25, .75)];
    })()""")
    stays, leaves, later = (red - blue for red, _, blue, _ in colours)
    assert stays > later > leaves, "the hotter, the longer"
    names = page("""[...document.querySelectorAll('.method [role=img], .method img')]
      .map((one) => one.ariaLabel || one.alt)""")
    assert names == [
        "red.jpg", "The crop, from 8, 4 to 24, 20", "noise.png", "Where visual tokens of picture 1 stayed",
        "red.jpg", "Where visual tokens of picture 2 stayed", "Picture of Rex",
    ]  # fmt: skip
    click(page, ".did summary")
    assert not page("document.querySelector('.method').checkVisibility()")
    click(page, ".did summary")
    click(page, ".method .over")
    page.wait(
        "document.querySelector('#picture').open && document.querySelector('#picture img').naturalWidth"
    )
    heard = page("[...document.querySelectorAll('#heard p')].at(-1).textContent")
    assert heard == "End of the answer. What the methods did stands below it."
    assert page.errors == [] and own_requests_only(page, endpoint) == []


@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_and_can_be_read(browser, endpoint, pictures, width):
    endpoint.offers = OFFERS
    page = opened(browser, endpoint.url, width)
    with_account(page, endpoint, pictures)
    assert page(WIDE) == [] and page(FITS) and page(SMALL) == []
    for scheme in ("dark", "light"):
        page.emulate(prefers_color_scheme=scheme)
        assert page(LOW_CONTRAST) == [], scheme
    click(page, "#columns [title^=Settings]")
    flip(page, "vicrop")
    assert page("document.querySelector('#settings').getBoundingClientRect().right <= innerWidth")
    assert page(
        "document.querySelector('#settings').scrollWidth <= document.querySelector('#settings').clientWidth"
    )
    assert page(SMALL) == []
    for scheme in ("dark", "light"):
        page.emulate(prefers_color_scheme=scheme)
        assert page(LOW_CONTRAST) == [], scheme


EXPORTED = """(async () => {
  const { openStore } = await import('/page/store.js'), { exported } = await import('/page/exchange.js');
  const store = await openStore();
  return exported(store, (await store.heads()).map((head) => head.id));
})()"""


def brought_in(page, path, name):
    """A file of one conversation is imported, and the conversation opened."""
    page.choose("#import-file", path)
    page.wait(f"{NOTICE} === {json.dumps(f'“{name}” is here.')}")
    page("document.querySelector('#history li:not(.here) .open').click()")


def test_it_is_kept_taken_out_and_brought_in(browser, endpoint, pictures):
    page = opened(browser, endpoint.url)
    with_account(page, endpoint, pictures)
    before = page(TOLD)
    kept(page)
    page.call("Page.reload")
    page.wait(f"document.body?.dataset.ready === '' && {READY_FIGURES}")
    assert page(TOLD) == before
    text = page(EXPORTED)
    click(page, "#history .delete")
    (pictures / "kept.json").write_text(text)
    brought_in(page, pictures / "kept.json", "What?")
    page.wait(READY_FIGURES)
    assert page(TOLD) == before and page.errors == []


def test_older_histories_and_strange_ones(browser, endpoint, pictures):
    page = opened(browser, endpoint.url)
    with_account(page, endpoint, pictures)
    kept(page)
    file = json.loads(page(EXPORTED))
    (conversation,) = file["conversations"]
    (answer,) = conversation["rounds"][0]["answers"].values()
    version = answer["versions"][0]
    click(page, "#history .delete")
    strange = {
        "views": [{"box": "x"}, {"box": [0, 0, 1, 1], "rows": 9, "cols": 9, "seen": [1]}],
        "cuts": [None, {"layer": 1}],
        "box": [0, 0, "a", 1],
        "memories": [{"name": "Eve", "picture": f"{endpoint.url}secret.png"}, {"picture": 3}],
    }
    version["did"] = {"methods": {"odd": strange, "<b>": {}}, "pictures": ["lost"]}
    conversation["title"] = "Strange"
    (pictures / "strange.json").write_text(json.dumps(file))
    brought_in(page, pictures / "strange.json", "Strange")
    page.wait("document.querySelectorAll('.method').length === 2")
    assert page("document.querySelectorAll('.method img[src]').length") == 0
    assert not any("secret" in url for url in page.outside)
    for holder in (*conversation["columns"], version["asked"]):
        del holder["methods"]
    del version["did"]
    conversation["title"] = "Older"
    (pictures / "older.json").write_text(json.dumps(file))
    brought_in(page, pictures / "older.json", "Older")
    page.wait("document.querySelectorAll('.method').length === 0 && document.title.startsWith('Older')")
    assert page(SAID) == ["An answer."]
    page("""(async () => {  // as a page without methods has kept it
      const store = await (await import('/page/store.js')).openStore();
      const conversation = await store.read(location.hash.slice(1));
      for (const column of conversation.columns) delete column.methods;
      for (const { versions } of Object.values(conversation.rounds[0].answers))
        for (const version of versions) { delete version.did; delete version.asked.methods; }
      await store.write(conversation);
    })()""")
    page.call("Page.reload")
    page.wait(f"document.body?.dataset.ready === '' && {SAID}[0] === 'An answer.'")
    answered(page, "And?")
    assert page(SAID)[-1] == "An answer." and page.errors == []


def test_the_model_itself_answers(browser, nano, pictures):
    from endpoint import NAME, served

    offered = [("vicrop", {"base": 12}), ("gsearch", {"cuts": {1: 0.5}})]
    with served(nano, max_tokens=64, offered=offered) as running:
        page = opened(browser, running.url.removesuffix("v1"))
        click(page, "#columns [title^=Settings]")
        for name, value in (("temperature", "1"), ("max_tokens", "8"), ("seed", "5")):
            page(f"document.querySelector('#settings [name={name}]').focus()")
            page.type(value)
        flip(page, "vicrop")
        flip(page, "gsearch")
        click(page, "#settings [type=submit]")
        page.choose("#foot input[type=file]", pictures / "noise.png")
        page.wait(f"{ATTACHED}.length === 1")
        ask(page, "What is it?")
        page.wait(f"{IDLE} && document.querySelectorAll('.method figure:not([hidden])').length === 2")
        raw = base64.b64encode((pictures / "noise.png").read_bytes()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{raw}"}},
            {"type": "text", "text": "What is it?"},
        ]
        answer = running.client().chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": content}],
            temperature=1,
            max_tokens=8,
            seed=5,
            extra_body={"methods": ["vicrop", "gsearch"]},
        )
        kept(page)
        stored = page("""(async () => {
          const store = await (await import('/page/store.js')).openStore();
          const { rounds: [round] } = await store.read(location.hash.slice(1));
          return Object.values(round.answers)[0].versions[0];
        })()""")
        assert stored["text"] == answer.choices[0].message.content
        assert stored["did"]["methods"] == answer.model_extra["methods"]
        assert ready(page).errors == []
