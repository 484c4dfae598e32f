"""https from a server of this machine, with certificates made here: whom to trust, names, dates, loops."""

from __future__ import annotations

import datetime

import pytest

from misbehaving_server import Secured, png
from vitrail.data.fetching.addresses import Networks, target_of
from vitrail.data.fetching.client import Client
from vitrail.data.fetching.failures import Failed
from vitrail.data.fetching.redirects import followed


def fetched(server, path="good.png"):
    client = Client(Networks(["127.0.0.0/8"]), "tests/1")
    try:
        return followed(target_of(server.address(path)), lambda one: client.get(one, 100_000), 3).body
    finally:
        client.close()


def test_a_picture_comes_over_tls_and_its_redirects_end(authority, trusted):
    with Secured(authority.issue_cert("127.0.0.1")) as server:
        assert fetched(server) == fetched(server, "hop.png") == png()
        with pytest.raises(Failed, match="too many redirects"):
            fetched(server, "loop.png")


def test_an_authority_that_nobody_knows_is_a_reason(authority, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with (
        Secured(authority.issue_cert("127.0.0.1")) as server,
        pytest.raises(Failed, match="CERTIFICATE_VERIFY_FAILED") as failed,
    ):
        fetched(server)
    assert failed.value.reason == "certificate" and not server.asked


def test_a_certificate_for_another_name_or_of_yesterday_is_a_reason(authority, trusted):
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for issued in (
        authority.issue_cert("other.example"),
        authority.issue_cert("127.0.0.1", not_after=yesterday),
    ):
        with Secured(issued) as server, pytest.raises(Failed) as failed:
            fetched(server)
        assert failed.value.reason == "certificate" and not server.asked
