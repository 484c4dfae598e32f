"""Before torch and transformers are used from the command line: threads, and no chatter between our lines."""

from __future__ import annotations

import logging
import warnings


def prepare_libraries(threads: int | None = None) -> None:
    """Set torch's CPU ``threads`` where given; keep other libraries' bars and notices off the terminal."""
    import torch
    from transformers.utils import logging as transformers_logging

    if threads:
        torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
