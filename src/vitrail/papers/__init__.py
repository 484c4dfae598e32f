"""The catalogue: one TOML a paper, with the files that build it and what was measured. Imports nothing of ours."""

from __future__ import annotations

from vitrail.papers.catalogue import paper, read
from vitrail.papers.entry import Paper
from vitrail.papers.evidence import Evidence, evidence_of

__all__ = ["Evidence", "Paper", "evidence_of", "paper", "read"]
