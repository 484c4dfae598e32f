"""What every cell imports, so that processes that run cells begin with it. Nothing computes here."""

import transformers.trainer

import vitrail.models
import vitrail.recipes.run
import vitrail.training.trainer

__all__ = ["transformers", "vitrail"]
