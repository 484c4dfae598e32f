"""https from a server of this machine, with certificates made here: whom to trust, names, dates, loops."""

from __future__ import annotations

import datetime
import ssl

import pytest

from misbehaving_server import Server, png
from vitrail.curation.fetching.fetcher import Fetcher, FetchSettings
from vitrail.curation.operations.fetch_images import FetchImages
from vitrail.data.records import Document, Image, Text

pytest.importorskip("protego")
SETTINGS = {"allow_networks": ("127.0.0.0/8",), "ports": (), "retries": 0, "per_second": 1e6}


class Secured(Server):
    """The same server behind TLS, with the certificate that ``issued`` is."""

    def __init__(self, issued) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def address(self, path: str, host: str = "127.0.0.1") -> str:
        return super().address(path, host).replace("http:", "https:")


@pytest.fixture(scope="module")
def authority():
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """The authority is one that this machine trusts."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


def fetched(server: Server, folder, path: str = "good.png", host: str = "127.0.0.1"):
    address = server.address(path, host)
    return Fetcher(FetchSettings(**SETTINGS), folder).run([address])[address]


def test_a_picture_comes_over_tls_and_its_redirects_end(authority, trusted, tmp_path):
    with Secured(authority.issue_cert("127.0.0.1")) as server:
        found = fetched(server, tmp_path / "store")
        assert (tmp_path / "store" / found.path).read_bytes() == png()
        assert fetched(server, tmp_path / "store", "hop.png").path == found.path
        assert fetched(server, tmp_path / "store", "loop.png").reason == "too many redirects"


def test_an_authority_that_nobody_knows_is_a_reason(authority, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with Secured(authority.issue_cert("127.0.0.1")) as server:
        found = fetched(server, tmp_path)
    assert found.reason == "certificate" and "CERTIFICATE_VERIFY_FAILED" in found.detail and not server.asked


def test_a_certificate_for_another_name_or_of_yesterday_is_a_reason(authority, trusted, tmp_path):
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for number, issued in enumerate(
        [authority.issue_cert("other.example"), authority.issue_cert("127.0.0.1", not_after=yesterday)]
    ):
        with Secured(issued) as server:
            assert fetched(server, tmp_path / str(number)).reason == "certificate" and not server.asked


def test_what_is_no_tls_is_a_reason_and_counted(authority, trusted, tmp_path):
    with Server() as plain, Secured(authority.issue_cert("other.example")) as wrong:
        over_tls = plain.address("good.png").replace("http:", "https:")
        document = Document(
            content=(Text(text="about"), Image(url=over_tls), Image(url=wrong.address("good.png")))
        )
        operation = FetchImages(FetchImages.Config(**SETTINGS, store="media"))
        operation.root = tmp_path
        decision = operation.decide([operation.sketch(document)])[0]
        outcome = operation.apply(document, decision)
    assert outcome.removed == {"not fetched: certificate": 2} and not outcome.document.images
