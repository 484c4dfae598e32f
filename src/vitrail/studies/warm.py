"""What every cell imports, so that processes that run cells begin with it. Nothing computes here.

What has been imported by then stays for good, so the collector need not look at it again: it would at the end of every
stage, for a fifth of a second.
"""

import gc

import transformers.trainer

import vitrail.models
import vitrail.recipes.run
import vitrail.training.trainer

__all__ = ["transformers", "vitrail"]

gc.collect()
gc.freeze()


def quiet() -> None:
    """In a process of cells: no bars and notices of other libraries between the lines of the study."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
