"""Many addresses of a server that misbehaves: reasons, politeness, resuming."""

from __future__ import annotations

import ipaddress
import json

import pytest

from misbehaving_server import Server, png
from vitrail.curation.fetching.fetcher import Fetcher, FetchSettings
from vitrail.curation.fetching.pace import Pace

pytest.importorskip("protego")
LOCAL = ("127.0.0.0/8",)


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def server():
    with Server() as running:
        yield running


def fetcher(folder, clock=None, resolve=None, **settings):
    clock = clock or Clock()
    told = {
        "allow_networks": LOCAL,
        "ports": (),
        "max_seconds": 60.0,
        "max_bytes": 200_000,
        "retries": 1,
        **settings,
    }
    more = {} if resolve is None else {"resolve": resolve}
    return Fetcher(
        FetchSettings(**told), folder, pace=Pace(1 / told.get("per_second", 1.0), clock, clock.sleep), **more
    )


@pytest.mark.parametrize(
    "path, reason",
    [
        ("html.png", "no picture"),
        ("bomb.png", "too many pixels"),
        ("loop.png", "too many redirects"),
        ("away.png", "address not public"),
        ("file.png", "scheme"),
        ("endless.png", "too many bytes"),
        ("drip.png", "too slow"),
        ("short.png", "broken off"),
        ("gone.png", "status 404"),
        ("dead.png", "status 503"),
        ("noai.png", "X-Robots-Tag"),
        ("hours.png", "host left alone"),
    ],
)
def test_what_cannot_be_had_says_why(server, tmp_path, path, reason):
    address = server.address(path)
    patience = {"max_seconds": 0.5} if reason == "too slow" else {}
    result = fetcher(tmp_path, **patience).run([address])[address]
    assert result.reason == reason and not result.path
    assert not [file for file in tmp_path.rglob("*.*") if file.suffix in (".png", ".jpg")]


def test_pictures_lie_by_content_and_nothing_is_asked_for_twice(server, tmp_path):
    paths = ["good.png", "good.png?again", "hop.png", "other.bin", "gzipped.png", "html.png"]
    addresses = [server.address(path) for path in paths]
    found = fetcher(tmp_path).run(addresses)
    good, again, hop, other, gzipped, html = (found[address] for address in addresses)
    assert good.path == again.path == hop.path == gzipped.path != other.path
    assert (tmp_path / good.path).read_bytes() == png() and (good.width, good.height) == (8, 8)
    assert other.path.endswith(".png") and html.reason == "no picture"
    asked = len(server.asked)
    assert server.counts["/robots.txt"] == 1 and all("vitrail" in agent for agent in server.agents)
    assert fetcher(tmp_path).run(addresses) == found and len(server.asked) == asked
    (tmp_path / other.path).unlink()  # lost: asked for again, and that alone but for robots.txt
    assert fetcher(tmp_path).run(addresses) == found and len(server.asked) == asked + 2
    assert fetcher(tmp_path, retries=0).run(addresses) == found  # under other terms failures are tried again
    assert server.counts["/html.png"] == 2
    few = fetcher(tmp_path, max_bytes=20).run(addresses[:1])
    assert few[addresses[0]].reason == "too many bytes"


def test_a_run_that_was_stopped_goes_on(server, tmp_path):
    addresses = [server.address(f"good.png?{n}") for n in range(6)]
    stopped = fetcher(tmp_path)
    noted = stopped._noted

    def stop(address, result):
        if address == addresses[3]:
            raise KeyboardInterrupt
        return noted(address, result)

    stopped._noted = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run(addresses)
    with open(tmp_path / "addresses.jsonl", "ab") as log:
        log.write(b'{"address": "http://torn')
    found = fetcher(tmp_path).run(addresses)
    assert {one.path for one in found.values()} == {found[addresses[0]].path}
    assert [server.asked.count(f"/good.png?{n}") for n in range(6)] == [1, 1, 1, 2, 1, 1]


def test_the_order_of_addresses_and_hosts_side_by_side_change_nothing(server, tmp_path):
    hosts = [f"127.0.0.{n}" for n in range(1, 5)]
    addresses = [
        server.address(path, host) for host in hosts for path in ("good.png", "other.bin", "html.png")
    ]
    resolve = lambda host, port: [ipaddress.ip_address("127.0.0.1")]  # noqa: E731
    one = fetcher(tmp_path / "one", resolve=resolve, hosts=1).run(addresses)
    two = fetcher(tmp_path / "two", resolve=resolve, hosts=4).run(reversed(addresses))
    assert one == two and list(one) != []
    assert sorted(p.name for p in (tmp_path / "one").rglob("*.png")) == sorted(
        p.name for p in (tmp_path / "two").rglob("*.png")
    )


def test_what_passes_is_tried_again_and_a_server_is_waited_for(server, tmp_path):
    clock = Clock()
    addresses = [server.address(path) for path in ("busy.png", "ill.png")]
    found = fetcher(tmp_path, clock, retries=2, backoff=4.0).run(addresses)
    assert all(one.path for one in found.values())
    # robots.txt at once; busy after a second, and again after its seven; ill after one, then after 4 and 8.
    assert clock.slept == [1.0, 7.0, 1.0, 4.0, 8.0]


def test_a_host_that_wants_to_be_left_alone_is_asked_no_more(server, tmp_path):
    addresses = [server.address("hours.png"), server.address("loop.png"), server.address("zzz.png")]
    found = fetcher(tmp_path).run(addresses)
    assert {one.reason for one in found.values()} == {"host left alone"}
    assert "7,200 seconds" in found[addresses[2]].detail and "/zzz.png" not in server.asked
    dead = [server.address(f"dead.png?{n}") for n in range(5)]
    found = fetcher(tmp_path, retries=0, give_up=2).run(dead)
    assert [found[one].reason for one in dead] == ["status 503"] * 2 + ["host left alone"] * 3


def test_robots_txt_is_obeyed_also_behind_redirects(server, tmp_path):
    clock = Clock()
    server.robots = (
        "User-agent: *\nDisallow: /good\n\nUser-agent: vitrail\nDisallow: /secret\nCrawl-delay: 5\n"
    )
    addresses = [server.address(path) for path in ("good.png", "secret/a.png", "to.png")]
    found = fetcher(tmp_path, clock).run(addresses)
    assert [found[one].reason for one in addresses] == ["", "robots.txt", "robots.txt"]
    assert not any(path.startswith("/secret") for path in server.asked)
    assert clock.slept == [5.0, 5.0]
    server.robots = "x" * 600_000
    assert fetcher(tmp_path / "two").run(addresses[:1])[addresses[0]].reason == "robots.txt cannot be had"


def test_a_name_that_leads_elsewhere_later_is_judged_again(server, tmp_path):
    address = server.address("good.png", "rebinding.example")
    answers = ["127.0.0.1", "10.0.0.1"]
    found = fetcher(tmp_path, resolve=lambda host, port: [ipaddress.ip_address(answers.pop(0))]).run(
        [address]
    )
    assert found[address].reason == "address not public" and server.asked == ["/robots.txt"]


def test_the_store_says_what_became_of_every_address(server, tmp_path):
    addresses = [server.address("good.png"), "ftp://example.org/a.png"]
    fetcher(tmp_path).run(addresses)
    rows = [json.loads(line) for line in (tmp_path / "addresses.jsonl").open()]
    assert {row["address"]: row["reason"] for row in rows} == {addresses[0]: "", addresses[1]: "scheme"}
    known = fetcher(tmp_path).known([*addresses, "http://example.org/never"])
    assert set(known) == set(addresses)
