"""One picture from a server that misbehaves in every way: what cannot be had says why, within bounds."""

from __future__ import annotations

import ipaddress

import pytest

from misbehaving_server import Server, png
from vitrail.data.fetching.addresses import Networks, target_of
from vitrail.data.fetching.client import Client
from vitrail.data.fetching.failures import Failed, Refused
from vitrail.data.fetching.pictures import ACCEPT, examined
from vitrail.data.fetching.redirects import followed


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


def fetched(address, networks=("127.0.0.0/8",), seconds=60.0, max_bytes=200_000, **more):
    client = Client(Networks(networks), "tests/1", **more)
    try:
        return followed(target_of(address), lambda one: client.get(one, max_bytes, ACCEPT, seconds), 3)
    finally:
        client.close()


@pytest.mark.parametrize(
    "path, reason",
    [
        ("html.png", "no picture"),
        ("svg.png", "no picture"),
        ("empty.png", "empty"),
        ("bomb.png", "too many pixels"),
        ("half.png", "broken picture"),
        ("loop.png", "too many redirects"),
        ("away.png", "address not public"),
        ("metadata.png", "address not public"),
        ("file.png", "scheme"),
        ("badhop.png", "bad address"),
        ("endless.png", "too many bytes"),
        ("promise.png", "too many bytes"),
        ("drip.png", "too slow"),
        ("slowhead.png", "too slow"),
        ("silent.png", "too slow"),
        ("short.png", "broken off"),
        ("dropped.png", "broken off"),
        ("gzipbomb.png", "too many bytes"),
        ("zstd.png", "content encoding"),
        ("gone.png", "status 404"),
        ("dead.png", "status 503"),
    ],
)
def test_what_cannot_be_had_says_why(server, path, reason):
    seconds = 0.5 if reason == "too slow" else 60.0
    with pytest.raises((Refused, Failed)) as failed:
        examined(fetched(server.address(path), seconds=seconds).body, max_pixels=64_000_000)
    assert failed.value.reason == reason


def test_what_can_be_had(server):
    for path in ("good.png", "hop.png", "gzipped.png"):
        assert fetched(server.address(path)).body == png()
    assert server.agents == {"tests/1"}
    assert server.headers == {"host", "user-agent", "accept", "accept-encoding"}  # no credentials, no traces


def test_no_time_is_no_request(server):
    asked = len(server.asked)
    with pytest.raises(Failed, match="too slow"):
        fetched(server.address("good.png"), seconds=-1.0, resolve=None)
    assert len(server.asked) == asked


def test_this_machine_is_not_asked_under_any_of_its_names(server):
    asked = len(server.asked)
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises((Refused, Failed)) as failed:
            fetched(server.address("good.png", host), networks=())
        assert failed.value.reason in ("address not public", "no such host")
    assert len(server.asked) == asked


def test_a_name_that_leads_elsewhere_at_the_next_hop_is_judged_again(server):
    answers = ["127.0.0.1", "10.0.0.1"]
    asked = len(server.asked)
    client = Client(
        Networks(["127.0.0.0/8"]), "tests/1", resolve=lambda *_: [ipaddress.ip_address(answers.pop(0))]
    )
    target = target_of(server.address("dropped.png", "rebinding.example"))  # a connection for each request
    reasons = []
    for _ in range(2):
        with pytest.raises((Refused, Failed)) as failed:
            client.get(target, 1_000)
        reasons.append(failed.value.reason)
    client.close()
    assert reasons == ["broken off", "address not public"] and len(server.asked) == asked + 1
