"""Shared fixtures: nano models, pictures, a private cache; shapes in signatures are checked while tests run."""

from __future__ import annotations

import io
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import jaxtyping
import numpy as np
import pytest
from PIL import Image as PILImage

from vitrail.data.records import Chat, Image

# Shapes written into signatures are checked: jaxtyping binds the axis names, beartype calls the check.
# (Not the configuration: transformers makes it a dataclass with an __init__ of its own.)
_MODELS = (
    "batches",
    "connectors",
    "dual_encoder",
    "experts",
    "features",
    "layout",
    "logits",
    "pooling",
    "surgery",
    "towers",
    "vlm",
)
_CHECKED = [*(f"vitrail.models.{name}" for name in _MODELS), "vitrail.objectives"]
_hook = jaxtyping.install_import_hook(_CHECKED, "beartype.beartype")


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch, request):
    """Tests have a cache of their own, one for all workers, unless they ask for the user's (`shared_cache`)."""
    if "shared_cache" not in request.fixturenames:
        base = tmp_path_factory.getbasetemp()
        root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        monkeypatch.setenv("VITRAIL_CACHE", str(root / "cache"))


@pytest.fixture
def shared_cache():
    """The user's own cache, for what is slow to fetch (the small testbed)."""


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Image:
    """A picture of noise as a typed part."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=size[0], height=size[1])


def chat(*turns: str, images: int = 1, seed: int = 0, id: str | None = None) -> Chat:
    """A chat that begins with ``images`` pictures; turns alternate between user and assistant."""
    first = [*(picture(seed * 100 + i) for i in range(images)), {"type": "text", "text": turns[0]}]
    messages = [{"role": "user", "content": first}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(turns[1:], 1)]
    return Chat(messages=messages, id=id)


@pytest.fixture(scope="session")
def nano():
    """A nano model with random weights (do not change it)."""
    from vitrail.models.testbeds import nano

    return nano.build(seed=0)


@pytest.fixture(scope="module")
def saved_family(tmp_path_factory):
    """Tiny models of the families on disk, each written once: ``saved_family("llava")`` is a folder. "nano" is ours."""
    import families
    from vitrail.models.testbeds import nano

    root = tmp_path_factory.mktemp("families")

    def get(name):
        if not (root / name).exists():
            nano.build(seed=0).save(root / name) if name == "nano" else families.save_family(
                name, root / name
            )
        return root / name

    return get


@pytest.fixture
def fresh_nano():
    """A nano model that a test may change."""
    from vitrail.models.testbeds import nano

    return nano.build(seed=0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skip is a failure: what tests need is installed there, and a skip would hide that it is not."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        if not any(expected in str(reason) for expected in EXPECTED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"unexpected skip in CI: {reason}"


EXPECTED_SKIPS = ("needs a GPU",)


def pytest_runtest_setup(item):
    """`debian("package")` skips by name where the package is missing."""
    for mark in item.iter_markers("debian"):
        listed = f"/var/lib/dpkg/info/{mark.args[0]}.list"
        if not os.path.exists(listed):
            pytest.skip(f"needs the Debian package {mark.args[0]}")


@pytest.fixture(scope="session")
def authority():
    """Whoever issues certificates for servers of tests (``misbehaving_server.Secured``)."""
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """The authority is one that this machine trusts."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
