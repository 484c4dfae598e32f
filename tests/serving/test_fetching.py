"""Pictures by address: off unless allowed, the same answer as sent, and a web that misbehaves holds up nobody."""

import asyncio
import base64
import http.client
import ipaddress
import json
import socket
import threading
import time

import pytest

import dual_encoders
from endpoint import NAME, question, served
from misbehaving_server import Secured, Server, png
from vitrail.inference.clue import ClueJudge, ClueSettings
from vitrail.inference.constitution import Constitution
from vitrail.models.loading import load
from vitrail.serving.errors import Refused
from vitrail.serving.fetching import PictureFetcher
from vitrail.serving.settings import Fetching

LOCAL = {"allow_networks": ("127.0.0.0/8",), "ports": (), "max_bytes": 200_000}
WHERE = "messages[0].content[0].image_url.url"
NOWHERE = "its host has no address that this server may ask"


@pytest.fixture
def web():
    with Server() as running:
        yield running


def data_url(raw):
    return f"data:image/png;base64,{base64.b64encode(raw).decode()}"


def about(*urls, **fields):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return question([*parts, {"type": "text", "text": "What is it?"}], logprobs=True, **fields)


def until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def fetching_threads():
    return [one for one in threading.enumerate() if one.name == "vitrail-fetch"]


def refused(address, resolve=None, **settings):
    """What a client is told of one address."""
    more = {} if resolve is None else {"resolve": resolve}
    with pytest.raises(Refused) as caught:
        asyncio.run(
            PictureFetcher(Fetching(**{**LOCAL, **settings}), 10**7, **more).fetched({WHERE: address})
        )
    assert caught.value.param == WHERE
    return caught.value


# through a server


def test_addresses_are_refused_unless_they_are_allowed(nano, web):
    with served(nano) as running:
        status, _, body = running.send(about(web.address("good.png")))
        assert status == 400 and "addresses and paths are not opened here" in body["error"]["message"]
        assert running.send(None, "/v1/models", "GET")[2]["data"][0]["image_addresses"] is False
    assert not web.asked


def test_a_picture_by_address_is_the_picture_that_is_sent(nano, web):
    """The same answers, whole and streamed, wherever the pictures come from; each address is asked once."""
    with served(nano, fetching=Fetching(**LOCAL, max_seconds=300)) as running:
        sent = [png(), png(9, (1, 2, 3)), png()]
        named = [web.address("hop.png"), data_url(sent[1]), web.address("hop.png")]
        one, two = about(*map(data_url, sent)), about(*named)
        (_, _, first), (_, _, second) = running.send(one), running.send(two)
        assert first["choices"] == second["choices"] and first["usage"] == second["usage"]
        client = running.client()
        texts = [[c.choices[0].delta.content for c in client.chat.completions.create(**body, stream=True)]
                 for body in (one, two)]  # fmt: skip
        assert texts[0] == texts[1]
        assert web.asked == ["/hop.png", "/good.png"] * 2
        assert web.headers == {"host", "user-agent", "accept", "accept-encoding"}
        status, _, body = running.send(about(web.address("html.png")))
        assert status == 400 and "is no picture that is read here" in body["error"]["message"]
        assert "html" not in body["error"]["message"] and body["error"]["param"] == WHERE
        status, _, body = running.send(about(web.address("half.png")))
        assert status == 400 and "is a broken picture; name another" in body["error"]["message"]
        status, _, body = running.send(about(web.address("bomb.png")))
        assert status == 400 and "is a picture of more than 64,000,000 pixels" in str(body)
        assert running.send(about(web.address("gone.png")))[0] == 400
        assert running.empty()
        counts = running.metrics()
        assert counts["vitrail_pictures_fetched_total", ("came", "no")] == 1
        assert counts["vitrail_pictures_fetched_total", ("came", "yes")] == 5
        assert running.send(None, "/v1/models", "GET")[2]["data"][0]["image_addresses"] is True


def test_no_path_and_no_other_scheme(nano):
    with served(nano, images=2, fetching=Fetching(**LOCAL)) as running:
        for url in ("file:///etc/passwd", "/etc/passwd", "ftp://example.org/a.png", "gopher://x/", "a.png"):
            status, _, body = running.send(about(url))
            assert status == 400 and "only http and https addresses are fetched" in body["error"]["message"]


def test_what_is_refused_anyway_is_not_fetched(nano, web):
    """Too many pictures, another's turn, another model: before anything is asked for."""
    with served(nano, images=2, fetching=Fetching(**LOCAL)) as running:
        address = web.address("good.png")
        part = {"type": "image_url", "image_url": {"url": address}}
        said = [{"role": "assistant", "content": [part]}, {"role": "user", "content": "?"}]
        bodies = (about(address, address, address), {**question(), "messages": said})
        assert [running.send(body)[0] for body in bodies] == [400, 400]
        assert running.send({**about(address), "model": "other"})[0] == 404
    assert not web.asked


def test_a_silent_server_holds_up_nobody_and_is_left_when_the_client_leaves(nano, web):
    with served(nano, fetching=Fetching(**LOCAL, max_seconds=600)) as running:
        body = json.dumps(about(web.address("silent.png"))).encode()
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        until(lambda: "/silent.png" in web.asked)
        assert running.send(question())[0] == running.send(about(web.address("good.png")))[0] == 200
        assert running.gate.here == 1 and len(fetching_threads()) == 1
        connection.close()
        assert running.empty(60)
        until(lambda: not fetching_threads())


def test_a_server_that_stops_waits_for_a_fetch_no_longer_than_it_may_take(nano, web):
    answers = []
    with served(nano, fetching=Fetching(**LOCAL, max_seconds=1.0)) as running:
        body = about(web.address("drip.png"))
        asking = threading.Thread(target=lambda: answers.append(running.send(body)))
        asking.start()
        until(lambda: running.gate.here)
    asking.join(60)
    assert answers[0][0] == 400 and "was not here within 1 s" in answers[0][2]["error"]["message"]


def test_embeddings_and_verdicts_are_of_the_same_picture(nano, web, tmp_path):
    dual_encoders.save("clip", tmp_path)
    fetching = Fetching(**LOCAL, max_seconds=300)
    parts = [
        {"type": "image_url", "image_url": {"url": url}} for url in (data_url(png()), web.address("good.png"))
    ]
    with served(load(tmp_path), fetching=fetching) as running:
        sent, named = (
            running.send({"model": NAME, "messages": [{"role": "user", "content": [part]}]}, "/v1/embeddings")
            for part in parts
        )
        assert sent[0] == 200 and sent[2] == named[2]
    rules = Constitution.model_validate([{"id": "a", "text": "No dogs.", "clauses": [["a dog is there"]]}])
    judge = ClueJudge(nano, rules, ClueSettings(undecided="prior"))
    with served(nano, judge=judge, fetching=fetching) as running:
        status, _, body = running.send({"input": parts}, "/v1/moderations")
        assert status == 200 and body["results"][0] == body["results"][1]


def test_over_tls(authority, trusted, nano):
    with (
        Secured(authority.issue_cert("127.0.0.1")) as web,
        Secured(authority.issue_cert("other.example")) as wrong,
        served(nano, fetching=Fetching(**LOCAL, max_seconds=300)) as running,
    ):
        assert running.send(about(web.address("hop.png")))[0] == 200
        status, _, body = running.send(about(wrong.address("good.png")))
        assert status == 400 and "no certificate that this server trusts" in body["error"]["message"]
        assert not wrong.asked


# what a client is told, and how many at once


@pytest.mark.parametrize(
    "path, why",
    [
        ("loop.png", "it is redirected more than 3 times"),
        ("away.png", NOWHERE),
        ("metadata.png", NOWHERE),
        ("file.png", "it leads to what is neither http nor https"),
        ("badhop.png", "it is no address of http or https"),
        ("endless.png", "it has more than 200,000 bytes"),
        ("promise.png", "it has more than 200,000 bytes"),
        ("gzipbomb.png", "it has more than 200,000 bytes"),
        ("drip.png", "it was not here within 0.5 s"),
        ("slowhead.png", "it was not here within 0.5 s"),
        ("silent.png", "it was not here within 0.5 s"),
        ("short.png", "its server broke off"),
        ("zstd.png", "it comes in a content encoding that was not asked for"),
        ("gone.png", "its server answers with status 404"),
    ],
)
def test_what_cannot_be_had_says_why(web, path, why):
    patience = {"max_seconds": 0.5} if "0.5 s" in why else {"max_seconds": 300}
    said = refused(web.address(path), **patience)
    assert (said.status, said.code) == (400, "invalid_image_url")
    assert said.message.startswith(f"{WHERE} cannot be fetched: {why}")
    assert said.message.endswith("or send the picture itself as data:image/png;base64,…")


def test_the_inside_of_the_network_stays_in_the_dark(web):
    """A name that leads inside, one that leads nowhere and a redirect to either are told alike."""

    def nowhere(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    inside = lambda host, port: [ipaddress.ip_address("10.0.0.7")]  # noqa: E731
    said = {
        refused("http://vault.internal/", inside, allow_networks=()).message,
        refused("http://vault.internal/", nowhere).message,
        refused("http://10.0.0.7/").message,
        refused("http://[::ffff:10.0.0.7]/").message,
        refused("http://169.254.169.254/latest/meta-data/").message,
        refused(web.address("good.png"), allow_networks=()).message,
        refused(web.address("away.png"), max_seconds=300).message,
    }
    (one,) = said
    assert NOWHERE in one and "10.0" not in one and "vault" not in one and "/good.png" not in web.asked


def test_a_name_that_leads_inside_at_its_next_look_up_gains_nothing(web):
    answers = ["127.0.0.1", "10.0.0.1"]
    resolve = lambda host, port: [ipaddress.ip_address(answers.pop(0))]  # noqa: E731
    said = refused(web.address("hop.png", "rebinding.example"), resolve, max_seconds=300)
    assert NOWHERE in said.message and web.asked == ["/hop.png"] and not answers


@pytest.mark.parametrize(
    "address, settings, why",
    [
        ("http://example.org:22/", {"ports": (80, 443)}, "this server asks ports 80, 443 alone"),
        ("http://example.org/", {"allow_hosts": ("*.example.org",)}, "its host is none of those"),
        ("http://me:secret@example.org/", {}, "without a name or password"),
        ("http://example.org/" + "a" * 9_000, {}, "it is no address of http or https"),
        ("http:example.org", {}, "it is no address of http or https"),
    ],
)
def test_addresses_that_are_not_asked(address, settings, why):
    said = refused(address, lambda *_: pytest.fail("nothing is looked up"), **settings)
    assert why in said.message and "secret" not in said.message


def test_a_redirect_is_judged_by_its_host_and_port(web):
    port = web.port
    assert "its host is none of those" in refused(web.address("away.png"), allow_hosts=("127.0.0.1",)).message
    assert f"asks ports {port} alone" in refused(web.address("away.png"), ports=(port,)).message


def test_pictures_of_a_request_have_a_bound_together(web):
    wanted = {f"place {n}": web.address(f"good.png?{n}") for n in range(6)}
    settings = Fetching(**LOCAL, max_seconds=300)
    size = len(png())
    assert len(asyncio.run(PictureFetcher(settings, 6 * size).fetched(wanted))) == 6
    with pytest.raises(Refused, match=f"have together more than {6 * size - 1} bytes; name fewer or smaller"):
        asyncio.run(PictureFetcher(settings, 6 * size - 1).fetched(wanted))


def test_one_slow_host_has_a_part_of_the_places_alone(web):
    here = lambda host, port: [ipaddress.ip_address("127.0.0.1")]  # noqa: E731
    fetcher = PictureFetcher(Fetching(**LOCAL, max_seconds=600, together=4), 10**7, resolve=here)

    async def run():
        slow = asyncio.create_task(fetcher.fetched({"slow": web.address("silent.png", "slow.example")}))
        while "/silent.png" not in web.asked:
            await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="as many pictures as it may; ask again later") as busy:
            await fetcher._place("late", "slow.example", time.monotonic() + 0.05)
        assert busy.value.status == 429 and busy.value.headers["Retry-After"]
        good = web.address("good.png", "good.example")
        assert await fetcher.fetched({"good": good}) == {good: png()}
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        leave = await fetcher._place("next", "slow.example", time.monotonic() + 60)  # the place is free again
        leave()
        assert fetcher._places._value == 4

    asyncio.run(run())


def test_a_name_whose_look_up_takes_long_is_not_waited_for(web):
    """The resolver cannot be broken off: its thread stays, in its place, and everybody else goes on."""
    go_on = threading.Event()

    def resolve(host, port):
        if host == "slow.example":
            go_on.wait(60)
        return [ipaddress.ip_address("127.0.0.1")]

    fetcher = PictureFetcher(Fetching(**LOCAL, max_seconds=0.2, together=4), 10**7, resolve=resolve)

    async def run():
        with pytest.raises(Refused, match=r"was not here within 0\.2 s"):
            await fetcher.fetched({"slow": web.address("good.png", "slow.example")})
        assert fetcher._places._value == 3
        go_on.set()
        while fetcher._places._value < 4:
            await asyncio.sleep(0.01)
        assert not web.asked

    asyncio.run(run())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"allow_hosts": ("a b",)}, "allow_hosts has 'a b', which is no host"),
        ({"allow_networks": ("lan",)}, "allow_networks has 'lan', which is no network"),
        ({"max_seconds": float("inf")}, "finite"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        Fetching(**settings)
