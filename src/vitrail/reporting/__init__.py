"""Self-contained HTML pages: tables, charts, galleries. They open offline, in light and dark, on a phone."""

from __future__ import annotations

from vitrail.reporting.gallery import Gallery, Question
from vitrail.reporting.page import Notice, Page, Section, Text
from vitrail.reporting.pictures import Picture, embed
from vitrail.reporting.plots import Bars, Curves
from vitrail.reporting.tables import Code, DataTable, Headline, KeyValues

__all__ = [
    "Bars",
    "Code",
    "Curves",
    "DataTable",
    "Gallery",
    "Headline",
    "KeyValues",
    "Notice",
    "Page",
    "Picture",
    "Question",
    "Section",
    "Text",
    "embed",
]
