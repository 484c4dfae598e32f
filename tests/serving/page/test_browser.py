"""The page of `vitrail serve` in a real browser: typed, dropped, pasted, streamed, stopped, reconnected, kept."""

import base64
import io
import json
import threading

import pytest
from PIL import Image

from conversing import (
    ASKED,
    ATTACHED,
    IDLE,
    NOTICE,
    PROBLEM,
    QUESTION,
    SAID,
    answered,
    ask,
    click,
    kept,
    opened,
    own_requests_only,
    ready,
)
from scripted_endpoint import Drop, Fault, Refuse, scripted

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.usefixtures("closed_afterwards")]


def shown(message):
    """The texts and the pictures of a message that was sent."""
    content = message["content"]
    if isinstance(content, str):
        return content, []
    texts = [part["text"] for part in content if part["type"] == "text"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return "".join(texts), [decoded(url) for url in urls]


def decoded(url):
    return base64.b64decode(url.partition(",")[2])


def test_a_question_is_typed_and_its_answer_streams(browser, endpoint):
    page = opened(browser, endpoint.url)
    more = threading.Event()
    endpoint.say(
        "It is a **win", more, "dow**.\n\n```python\nprint(1)\n```\n<b>no</b> <img src=x onerror=alert(1)>"
    )
    assert page("document.activeElement === " + QUESTION), "one can begin to type"
    page.type("What is")
    page.press("Enter", modifiers=8)
    page.type("it?")
    page.press("Enter")
    page.wait(f"{SAID}[0] === 'It is a **win'")
    assert not page(IDLE) and page("document.querySelector('.answer').ariaBusy") == "true"
    more.set()
    page.wait(IDLE)
    assert page("document.querySelector('.said strong').textContent") == "window"
    assert page("document.querySelector('.said pre').textContent") == "print(1)"
    assert "<img src=x onerror=alert(1)>" in page(SAID)[0], "an answer is text, whatever is in it"
    assert page("document.querySelector('.said img, .said b')") is None
    (body,) = endpoint.asked
    assert body["messages"] == [{"role": "user", "content": "What is\nit?"}] and body["stream"] is True
    assert set(body) == {"model", "messages", "stream", "stream_options", "seed"}, "the rest is the server's"
    answered(page, "And now?")
    said = ["user", "assistant", "user"]
    assert [message["role"] for message in endpoint.asked[1]["messages"]] == said
    assert page.errors == [] and own_requests_only(page, endpoint) == []


def test_pictures_are_dropped_chosen_and_pasted(browser, endpoint, pictures):
    page = opened(browser, endpoint.url)
    page.drop(600, 300, pictures / "noise.png", pictures / "notes.txt")
    page.wait(f"{ATTACHED}.length === 1 && {NOTICE} !== ''")
    assert page(NOTICE) == "notes.txt is no picture; a PNG or a JPEG would do."
    page.choose("#foot input[type=file]", pictures / "red.jpg")
    page.wait(f"{ATTACHED}.length === 2")
    raw = json.dumps(base64.b64encode((pictures / "noise.png").read_bytes()).decode())
    page(f"""(() => {{
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob({raw}), (c) => c.charCodeAt(0));
      data.items.add(new File([bytes], "pasted.png", {{ type: "image/png" }}));
      const event = new ClipboardEvent("paste", {{ clipboardData: data, bubbles: true, cancelable: true }});
      {QUESTION}.dispatchEvent(event);
    }})()""")
    page.wait(f"{ATTACHED}.length === 3")
    assert page(ATTACHED) == ["noise.png", "red.jpg", "pasted.png"]
    click(page, "[aria-label='Take pasted.png away']")
    click(page, "#new")
    page.wait("[...document.querySelectorAll('#foot .attached img')].every((image) => image.naturalWidth)")
    assert page(ATTACHED) == ["noise.png", "red.jpg"], "what is not sent yet stays"
    ask(page, "Which?")
    page.wait(f"{IDLE} && {SAID}[0] === 'An answer.'")
    text, sent = shown(endpoint.asked[0]["messages"][0])
    files = [(pictures / name).read_bytes() for name in ("noise.png", "red.jpg")]
    assert text == "Which?" and sent == files, "pictures go as they are"
    assert page(ATTACHED) == []
    page.wait("[...document.querySelectorAll('.you img')].every((image) => image.naturalWidth)")
    assert page("[...document.querySelectorAll('.you img')].map((image) => image.alt)") == [
        "noise.png",
        "red.jpg",
    ]
    click(page, ".picture")
    page.wait(
        "document.querySelector('#picture').open && document.querySelector('#picture img').naturalWidth"
    )
    page.press("Escape")
    page.wait("!document.querySelector('#picture').open")
    assert page.errors == [] and own_requests_only(page, endpoint) == []


def test_a_picture_larger_than_the_server_takes_is_made_smaller_and_said_so(browser, pictures):
    with scripted(pixels=1000, images=1, body=200_000) as endpoint:
        page = opened(browser, endpoint.url)
        page.choose("#foot input[type=file]", pictures / "noise.png", pictures / "red.jpg")
        page.wait(f"{NOTICE} !== ''")
        assert page(NOTICE) == (
            "noise.png was made smaller, from 60 × 40 to 38 × 25 pixels, as this server takes at most 1,000"
            " pixels a picture. This server takes at most 1 picture; red.jpg was left out."
        )
        ask(page, "What?")
        page.wait(f"{IDLE} && {SAID}[0] === 'An answer.'")
        _, (sent,) = shown(endpoint.asked[0]["messages"][0])
        assert Image.open(io.BytesIO(sent)).size == (38, 25)
        assert "made smaller" in page("document.querySelector('.you .note').textContent")
        page.choose("#foot input[type=file]", pictures / "red.jpg")
        page.wait(f"{ATTACHED}.length === 1")
        ask(page, "And this?")
        page.wait(f"{IDLE} && {PROBLEM} !== ''")
        assert "this conversation has 2 pictures, and this server takes 1 at a time" in page(PROBLEM).lower()
        assert len(endpoint.asked) == 1
        answered(page, "x" * 210_000)
        assert "and this server takes 200,000" in page(PROBLEM)


def test_an_answer_is_stopped_gone_on_with_and_drawn_anew(browser, endpoint):
    page = opened(browser, endpoint.url)
    never = threading.Event()
    endpoint.say("One, two", never)
    ask(page, "Count.")
    page.wait(f"{SAID}[0] === 'One, two'")
    page.press("Escape")
    page.wait(IDLE)
    assert page(SAID) == ["One, two"] and "stopped" in page("document.querySelector('.facts').innerText")
    for _ in range(200):
        if endpoint.left:
            break
        page("new Promise((resolve) => setTimeout(resolve, 10))")
    assert endpoint.left == 1, "the server knows"
    endpoint.say("One, two, three.")
    click(page, ".resume")
    page.wait(f"{IDLE} && {SAID}[0] === 'One, two, three.'")
    assert endpoint.asked[0] == endpoint.asked[1], "the same seed: the same answer, further"
    more = threading.Event()
    endpoint.say("Un", more, "o.")
    click(page, ".retry")
    page.wait(f"{SAID}[0] === 'Un' && !({IDLE})")
    more.set()
    page.wait(f"{IDLE} && {SAID}[0] === 'Uno.'")
    assert endpoint.asked[2]["seed"] != endpoint.asked[1]["seed"]
    assert page("document.querySelector('.turns').innerText.trim()") == "2 of 2"
    click(page, ".earlier")
    assert page(SAID) == ["One, two, three."]
    answered(page, "Go on.")
    assert endpoint.asked[3]["messages"][1]["content"] == "One, two, three.", "what is seen is what is sent"


def test_an_earlier_question_is_put_anew(browser, endpoint):
    page = opened(browser, endpoint.url)
    for text in ("First?", "Second?"):
        answered(page, text)
    click(page, ".edit")
    page.wait("!!document.activeElement.closest('.round .composer')")
    page.press("Escape")
    assert page("document.activeElement.classList.contains('edit')")
    click(page, ".edit")
    page("document.activeElement.select()")
    page.type("Other?")
    page.press("Enter")
    page.wait(f"{IDLE} && {ASKED}.join() === 'Other?'")
    assert endpoint.asked[2]["messages"] == [{"role": "user", "content": "Other?"}]
    assert page("document.querySelector('.turns').innerText.trim()") == "2 of 2"
    click(page, ".earlier")
    assert page(ASKED) == ["First?", "Second?"], "nothing is lost"


@pytest.mark.parametrize("same", [True, False])
def test_a_lost_connection_comes_back(browser, endpoint, same):
    page = opened(browser, endpoint.url)
    page("import('/page/asking.js').then(({ DELAYS }) => { DELAYS.splice(0, 9, 0.3, 0.3); })")
    seen = threading.Event()
    endpoint.say("It is a ", seen, Drop())
    endpoint.say("It is a window." if same else "A door.")
    ask(page, "What is it?")
    page.wait(f"{SAID}[0] === 'It is a'")
    seen.set()
    page.wait(f"{PROBLEM}.includes('what was written is kept. Connecting again in')")
    assert page(SAID) == ["It is a"]
    page.wait(IDLE)
    assert endpoint.asked[0] == endpoint.asked[1]
    if same:
        assert page(SAID) == ["It is a window."] and page(PROBLEM) == ""
        assert page("document.querySelectorAll('.turns').length") == 0
        return
    assert page(SAID) == ["A door."]
    click(page, ".earlier")
    assert page(SAID) == ["It is a"] and "wrote another answer" in page(PROBLEM)


def test_a_connection_that_stays_lost(browser, endpoint):
    page = opened(browser, endpoint.url)
    page("import('/page/asking.js').then(({ DELAYS }) => { DELAYS.splice(0, 9, 0.05); })")
    seen = threading.Event()
    endpoint.say("Half", seen, Drop())
    endpoint.say(Drop())
    ask(page, "What?")
    page.wait(f"{SAID}[0] === 'Half'")
    seen.set()
    page.wait(IDLE)
    assert page(SAID) == ["Half"]
    assert page(PROBLEM) == "The connection was lost and did not come back. What was written is kept."
    endpoint.say("Half and half.")
    click(page, ".resume")
    page.wait(f"{IDLE} && {SAID}[0] === 'Half and half.'")


def test_the_server_says_no_in_its_own_words(browser, endpoint):
    page = opened(browser, endpoint.url)
    endpoint.say(
        Refuse(429, "the server answers 1 requests at a time; ask again in 1 s", {"Retry-After": "1"})
    )
    endpoint.say("At last.")
    ask(page, "Hello?")
    page.wait(f"{PROBLEM}.includes('requests at a time; ask again in 1 s. Asking again in 1 s.')")
    page.wait(f"{IDLE} && {SAID}[0] === 'At last.'")
    assert page(PROBLEM) == ""
    endpoint.names[:] = ["third"]
    endpoint.say(Refuse(400, "temperature: must be less (it is 200)"))
    ask(page, "And?")
    page.wait(f"{IDLE} && {PROBLEM} === 'Temperature: must be less (it is 200)'")
    page.wait(f"{NOTICE} === 'first is not served here now; third answers instead.'")
    endpoint.say("Now", Fault("the server failed on this request; its log says why"))
    click(page, ".resume")
    page.wait(f"{IDLE} && {PROBLEM}.startsWith('The server failed on this request')")
    assert page(SAID)[-1] == "Now"
    answered(page, "Next?")
    said = [message["content"] for message in endpoint.asked[-1]["messages"]]
    assert said == ["Hello?", "At last.", "And?", "Now", "Next?"] and endpoint.asked[-1]["model"] == "third"


def test_the_key_is_asked_for_and_kept_in_the_tab_alone(browser):
    with scripted(key="sesame") as endpoint:
        page = browser.page().open(endpoint.url)
        page.wait("document.querySelector('#key').open")
        for key in ("sesam", "sesame"):
            page("document.querySelector('#key input').focus()")
            page.type(key)
            page.press("Enter")
            if key == "sesam":
                page.wait(
                    "!document.querySelector('#key .problem').hidden && document.querySelector('#key').open"
                )
                assert "Send the server's key" in page("document.querySelector('#key .problem').innerText")
        ready(page)
        answered(page, "Hello?")
        assert page(
            "[...Array(localStorage.length).keys()].map((at) => localStorage.getItem(localStorage.key(at))).join()"
        )
        assert "sesame" not in page("JSON.stringify(localStorage)")
        ready(page.open(endpoint.url))
        assert not page("document.querySelector('#key').open") and page("sessionStorage.length") == 1


def test_history_survives_a_reload_and_is_tidied(browser, endpoint, pictures):
    page = opened(browser, endpoint.url)
    titles = "[...document.querySelectorAll('#history .title')].map((title) => title.innerText)"
    page.choose("#foot input[type=file]", pictures / "red.jpg")
    page.wait(f"{ATTACHED}.length === 1")
    answered(page, "With a picture")
    click(page, "#new")
    answered(page, "Another")
    page.wait(f"{titles}.length === 2")
    endpoint.say("Half", threading.Event())
    ask(page, "Left")
    page.wait(f"{SAID}.at(-1) === 'Half'")
    kept(page, "version.text")  # what is under way is kept every second
    page.call("Page.reload")
    page.wait(f"document.body?.dataset.ready === '' && {SAID}.length === 2")
    assert page(titles) == ["Another", "With a picture"]
    assert page(SAID)[1] == "Half" and page(PROBLEM) == "The page was left while this was written."
    page("document.querySelectorAll('#history .open')[1].click()")
    page.wait("document.querySelector('.you img')?.naturalWidth === 48")
    page("document.querySelectorAll('#history .rename')[1].click()")
    page.type("Red")
    page.press("Enter")
    page.wait(f"{titles}.includes('Red')")
    file = page("""(async () => {
      const { openStore } = await import('/page/store.js'), { exported } = await import('/page/exchange.js');
      const store = await openStore();
      return exported(store, (await store.heads()).map((head) => head.id));
    })()""")
    (pictures / "kept.json").write_text(file)
    assert (
        decoded(json.loads(file)["conversations"][1]["pictures"][0]["data"])
        == (pictures / "red.jpg").read_bytes()
    )
    for left in (["Red"], []):
        click(page, "#history .delete")
        page.wait(f"JSON.stringify({titles}) === {json.dumps(json.dumps(left))}")
    click(page, "#notice button")
    page.wait(f"{titles}.join() === 'Red'")
    page.choose("#import-file", pictures / "kept.json")
    page.wait(f"{titles}.length === 3")
    page(
        "[...document.querySelectorAll('#history .title')].find((title) => title.innerText === 'Red').click()"
    )
    page.wait("document.querySelector('.you img')?.naturalWidth === 48")
    assert page(ASKED) == ["With a picture"] and page.errors == []


WRONG_FILES = [
    ("{", "it is no JSON"),
    ({"format": "other"}, "it is no export of this page"),
    ({"version": 9}, "its version is 9; this page reads version 1"),
    ({"conversations": [{}]}, "conversations[0].pictures must be a list"),
    (("rounds", [{"id": "r", "parent": "q"}]), "conversations[0].rounds[0].parent names what is not there"),
    (
        ("pictures", [{"id": "p", "name": "p", "data": "data:text/html;base64,AA=="}]),
        "pictures[0].data must be",
    ),
    (("chosen", {"": "nowhere"}), "conversations[0].chosen names what is not there"),
    (("columns", []), "conversations[0].columns must be 1 to 4"),
]


def test_files_that_are_not_taken_in(browser, endpoint, tmp_path):
    page = opened(browser, endpoint.url)
    for number, (change, says) in enumerate(WRONG_FILES):
        conversation = {
            "title": "t",
            "columns": [{"id": "c", "model": "first"}],
            "rounds": [],
            "chosen": {},
            "pictures": [],
        }
        file = {"format": "vitrail conversations", "version": 1, "conversations": [conversation]}
        if isinstance(change, dict):
            file.update(change)
        elif isinstance(change, tuple):
            conversation[change[0]] = change[1]
        path = tmp_path / f"{number}.json"
        path.write_text(change if isinstance(change, str) else json.dumps(file))
        page.choose("#import-file", path)
        page.wait(f"{NOTICE}.startsWith('{number}.json was not taken in: ')")
        assert says in page(NOTICE)
    assert page("document.querySelectorAll('#history .title').length") == 0


def test_side_by_side(browser, endpoint):
    page = opened(browser, endpoint.url)
    answered(page, "Before?")
    click(page, "#columns .add")
    assert page("[...document.querySelectorAll('select.model')].map((s) => s.value)") == ["first", "second"]
    page("document.querySelectorAll('#columns [title^=Settings]')[1].click()")
    page("document.querySelector('#settings [name=temperature]').focus()")
    page.type("0")
    page("document.querySelector('#settings [name=system]').focus()")
    page.type("Be brief.")
    click(page, "#settings [type=submit]")
    assert (
        page("document.querySelectorAll('.column')[1].innerText").split("\n")[-1]
        == "temperature 0, system prompt"
    )
    both = threading.Event()
    endpoint.say("One", both, ".")
    endpoint.say("Two", both, ".")
    ask(page, "What?")
    page.wait(f"{SAID}.slice(-2).sort().join() === 'One,Two'")
    both.set()
    page.wait(IDLE)
    first, second = sorted(endpoint.asked[1:], key=lambda body: body["model"])
    assert (first["model"], second["model"]) == ("first", "second")
    assert "temperature" not in first and second["temperature"] == 0
    assert [message["content"] for message in second["messages"]] == [
        "Be brief.",
        "Before?",
        "An answer.",
        "What?",
    ]
    tops = page(
        "[...document.querySelectorAll('.round:last-child .answer')].map((a) => a.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1] and page("document.querySelectorAll('.round:last-child .answer').length") == 2
    click(page, "#columns [aria-label='Take column B away']")
    assert page("document.querySelectorAll('.round:last-child .answer').length") == 1
    click(page, "#notice button")
    assert page("document.querySelectorAll('.round:last-child .answer').length") == 2
    kept(page)
    page.call("Page.reload")
    page.wait("document.body?.dataset.ready === '' && document.querySelectorAll('.column').length === 2")
    assert page(f"{SAID}.slice(-2).sort()") == ["One.", "Two."]


def test_events_are_read_however_they_are_cut(browser, endpoint):
    page = opened(browser, endpoint.url)
    read = page("""(async () => {
      const { eventData } = await import('/page/server.js');
      const text = 'data: a\\r\\ndata:b\\r\\n\\r\\n: said\\nid: 3\\ndata: é\\n\\rdata:  c\\r\\rdata: left';
      const bytes = new TextEncoder().encode(text);
      const found = [];
      for (const size of [1, 2, 3, 5, 1000]) {
        const parts = new ReadableStream({ start(to) {
          for (let at = 0; at < bytes.length; at += size) to.enqueue(bytes.slice(at, at + size));
          to.close();
        } });
        const events = [];
        for await (const data of eventData(parts)) events.push(data);
        found.push(events);
      }
      return found;
    })()""")
    assert read == [["a\nb", "é", " c"]] * 5


def test_the_model_itself_answers(browser, nano, pictures):
    """The page and the real endpoint: the answer is the one that a program gets."""
    from endpoint import NAME, served

    with served(nano, max_tokens=64) as running:
        page = opened(browser, running.url.removesuffix("v1"))
        click(page, "#columns [title^=Settings]")
        for name, value in (("temperature", "1.2"), ("max_tokens", "12"), ("seed", "5")):
            page(f"document.querySelector('#settings [name={name}]').focus()")
            page.type(value)
        click(page, "#settings [type=submit]")
        page.choose("#foot input[type=file]", pictures / "red.jpg")
        page.wait(f"{ATTACHED}.length === 1")
        ask(page, "What is it?")
        page.wait(f"{IDLE} && !!document.querySelector('.facts')")
        kept(page)
        url = "data:image/jpeg;base64," + base64.b64encode((pictures / "red.jpg").read_bytes()).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
        answer = running.client().chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": content}],
            temperature=1.2,
            max_tokens=12,
            seed=5,
        )
        stored = page("""(async () => {
          const store = await (await import('/page/store.js')).openStore();
          const { rounds: [round] } = await store.read(location.hash.slice(1));
          return Object.values(round.answers)[0].versions[0];
        })()""")
        assert stored["text"] == answer.choices[0].message.content and stored["state"] == "done"
        assert stored["tokens"] == answer.usage.completion_tokens
        assert page.errors == []
