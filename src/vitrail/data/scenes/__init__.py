"""Composed scenes with exact truth: pictures, captions, questions, documents, changes, videos."""

from vitrail.data.scenes.suites import SceneSuite, suite, suites

__all__ = ["SceneSuite", "suite", "suites"]
