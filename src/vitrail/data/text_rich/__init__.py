"""Pictures whose meaning is in their text: charts, maps and pages, drawn from known values, with exact questions."""

from vitrail.data.text_rich.source import TextRich

__all__ = ["TextRich"]
