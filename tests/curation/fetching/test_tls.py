"""What TLS makes fail is a reason like any other, and counted."""

from __future__ import annotations

import pytest

from misbehaving_server import Secured, Server
from vitrail.curation.operations.fetch_images import FetchImages
from vitrail.data.records import Document, Image, Text

pytest.importorskip("protego")
SETTINGS = {"allow_networks": ("127.0.0.0/8",), "ports": (), "retries": 0, "per_second": 1e6}


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
