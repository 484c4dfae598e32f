"""Text sees the latest picture before it, and none before that (Flamingo, arXiv 2204.14198, §2.3; mOSCAR, 2406.08707).

In a document of several pictures each paragraph then reads its own. Adds no parameter; the cache forgets pictures that
nobody will see again.
"""

from __future__ import annotations

from typing import Any

from vitrail.models.rules.masks import latest_picture
from vitrail.models.rules.rule import Rule
from vitrail.models.surgery.standing_rule import StandingRule
from vitrail.models.towers.tower import ComponentConfig


class LatestPicture(StandingRule):
    """Of the pictures before it each token sees the last alone."""

    name = "latest_picture"

    class Config(ComponentConfig):
        """``evict``: whether the cache forgets the pictures before the last, which changes no answer."""

        evict: bool = True

    def rule(self, model: Any, record: dict[str, Any]) -> Rule:
        """The mask, in every layer."""
        return latest_picture(evict=self.config.evict)
