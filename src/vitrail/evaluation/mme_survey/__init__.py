"""MME-Survey's taxonomy as data (Fu et al., arXiv 2411.15296): benchmarks by ability, and what a choice leaves
untested."""

from vitrail.evaluation.mme_survey.catalogue import Catalogue, Entry, read
from vitrail.evaluation.mme_survey.taxonomy import TAXONOMY

__all__ = ["TAXONOMY", "Catalogue", "Entry", "read"]
