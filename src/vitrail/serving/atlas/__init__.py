"""The atlas: a static site of the catalogue that opens from disk and asks for nothing outside itself."""

from __future__ import annotations

from vitrail.serving.atlas.site import build

__all__ = ["build"]
