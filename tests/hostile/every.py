"""All cases together."""

from __future__ import annotations

from hostile.case import Case
from hostile.containers import containers
from hostile.paths import paths
from hostile.pictures import no_pictures, odd_pictures, truncated
from hostile.rows import wrong_types
from hostile.texts import texts


def all_cases() -> list[Case]:
    """Every case but the slow ones."""
    return [*truncated(), *no_pictures(), *odd_pictures(), *paths(), *wrong_types(), *texts(), *containers()]
