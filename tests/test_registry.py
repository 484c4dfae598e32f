"""Names → components."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vitrail import registry


def test_every_component_that_is_listed_can_be_imported():
    for seam in registry.seams():
        for name in registry.names(seam):
            assert registry.get(seam, name) is not None


def test_listing_names_imports_no_torch():
    code = (
        "import sys; from vitrail import registry; registry.names('tower'); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_wrong_names_get_the_nearest_right_one():
    with pytest.raises(ValueError, match="no connector is called 'mlpp'; did you mean 'mlp'"):
        registry.get("connector", "mlpp")
    with pytest.raises(ValueError, match="known: convolutional, efficientnet_lite, huggingface"):
        registry.get("tower", "xyzzy")


def test_registering_twice_needs_the_same_target(monkeypatch):
    monkeypatch.setattr(registry, "_BUILT_IN", dict(registry._BUILT_IN))
    registry._all.cache_clear()
    try:
        registry.register("connector", "mine", "json:dumps")
        registry.register("connector", "mine", "json:dumps")
        assert registry.get("connector", "mine")([1]) == "[1]"
        with pytest.raises(ValueError, match="already registered as json:dumps"):
            registry.register("connector", "mine", "json:loads")
        registry.register("connector", "broken", "json:nothing_here")
        with pytest.raises(ImportError, match=r"connector 'broken' \(json:nothing_here\) cannot be imported"):
            registry.get("connector", "broken")
    finally:
        monkeypatch.undo()
        registry._all.cache_clear()


def test_other_packages_register_by_entry_point(monkeypatch):
    from importlib import metadata

    point = metadata.EntryPoint("connector.theirs", "json:loads", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [point])
    registry._all.cache_clear()
    try:
        assert registry.get("connector", "theirs")("3") == 3
    finally:
        monkeypatch.undo()
        registry._all.cache_clear()
