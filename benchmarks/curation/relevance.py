"""What embedding documents together is worth to the joint filter of text and picture.

    python benchmarks/curation/relevance.py [--documents 48] [--hidden 256] [--layers 6] [--threads 1] [--repeats 2]

A SigLIP of random weights (224 pixels, patches of 32) embeds pages of one to four pictures, one by one and 64 at a
time; embedding costs the same whatever the weights. Decisions must be equal. Seconds are of the processor, the best of
the repeats, ways in turns. Give 24 documents or more: negatives come from the others.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image as PILImage
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from vitrail.curation.operations.relevance import RankRelevance
from vitrail.data.records import Document, Image, Text
from vitrail.models.experts.clip_scorer import ClipScorer


class Letters:
    """A tokenizer of 64 places, all of them in use, as SigLIP's is padded: letters are tokens."""

    model_max_length, pad_token_id, eos_token_id = 64, 0, 1
    model_input_names = ("input_ids",)

    def __call__(self, texts: list[str], **_: Any) -> dict[str, torch.Tensor]:
        rows = [[(ord(sign) % 250) + 2 for sign in text[:64]] for text in texts]
        return {"input_ids": torch.tensor([row + [0] * (64 - len(row)) for row in rows])}


def scorer(hidden: int, layers: int) -> ClipScorer:
    """The encoder, its picture processor and the letters."""
    shape = {
        "hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": 4
    }  # fmt: skip
    config = transformers.SiglipConfig(
        text_config={
            **shape,
            "vocab_size": 256,
            "max_position_embeddings": 64,
            "projection_size": hidden,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        vision_config={**shape, "image_size": 224, "patch_size": 32},
    )
    torch.manual_seed(0)
    images = SiglipImageProcessorPil(size={"height": 224, "width": 224})
    processor = SimpleNamespace(image_processor=images, tokenizer=Letters())
    return ClipScorer(transformers.SiglipModel(config), processor, batch_size=32)


def documents(n: int) -> list[Document]:
    """Pages of one to four pictures of noise and as many texts."""
    draw = np.random.default_rng(0)
    found = []
    for number in range(n):
        parts: list[Any] = []
        for place in range(number % 4 + 1):
            out = io.BytesIO()
            PILImage.fromarray(draw.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(out, "JPEG")
            parts += [Image(bytes=out.getvalue()), Text(text=f"what page {number} says of picture {place}")]
        found.append(Document(id=str(number), content=tuple(parts)))
    return found


def main() -> None:
    """Measure both ways in turns; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=48)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    given = documents(args.documents)
    pictures = sum(len(one.images) for one in given)
    config = RankRelevance.Config(encoder="given", n_negatives=15, top_k=2)
    operation = RankRelevance(config, scorer(args.hidden, args.layers))
    operation.sketches(given[:4])
    seconds: dict[int, list[float]] = {1: [], operation.sketched_together: []}
    decisions = []
    for _ in range(args.repeats):
        for together, spent in seconds.items():
            start = time.process_time()
            sketches = [
                one
                for at in range(0, len(given), together)
                for one in operation.sketches(given[at : at + together])
            ]
            spent.append(time.process_time() - start)
            decisions.append(operation.decide(sketches))
    each = {str(n): round(pictures / min(spent), 1) for n, spent in seconds.items()}
    one, many = (min(spent) for spent in seconds.values())
    print(json.dumps({
        "documents": len(given), "pictures": pictures, "threads": args.threads, "pictures_a_processor_second": each,
        "ratio": round(one / many, 2), "equal_decisions": all(found == decisions[0] for found in decisions),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
