"""What demonstrations cost as pictures in the prompt, and read apart (AIM), against shots on a CPU. Prints JSON.

    python benchmarks/aim.py [--shots 0 1 2 4 8] [--layers 4] [--repeats 3] [--memory]

A decoder of SmolLM2-135M's width (576, 9 heads over 3) with random weights behind the tower of ``nano_pretrained``, 64
visual tokens a picture. Sides: ``pictures`` in the prompt, ``apart`` with nothing read yet, and ``bank`` with rows that
a bank has. ``tokens`` of the prompt; ``seconds`` of processor time for encoding and prefill, the best of the repeats,
sides taking turns; ``ratio`` to ``pictures`` at the same shots; ``mib``: with ``--memory``, what the largest resident
size of a fresh process grows by in one prefill at the most shots (of ``bank`` without the reading).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

SIDES = ("pictures", "apart", "bank")


def bundle_of(layers: int) -> Any:
    """A model of random weights with the surgery done."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from vitrail.models.joining import join
    from vitrail.models.testbeds import nano_pretrained as parts

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
    )
    made = join(
        tower=parts.load_tower(),
        tower_name="convolutional",
        language=LlamaForCausalLM._from_config(config),
        tokenizer=parts.tokenizer(),
        connector={"name": "mlp", "pool": 8},
    )
    return made.operated("aim")


def chat_of(k: int) -> Any:
    """A question behind ``k`` demonstrations, all pictures different."""
    import io

    import numpy as np
    from PIL import Image as PILImage

    from vitrail.data.records import Chat

    def picture(seed: int) -> dict[str, Any]:
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        PILImage.fromarray(pixels).save(buffer, "PNG")
        return {"type": "image", "bytes": buffer.getvalue(), "width": 64, "height": 64}

    turns: list[dict[str, Any]] = []
    for n in range(k + 1):
        turns.append({"role": "user", "content": [picture(n), {"type": "text", "text": "What is this?"}]})
        turns.append({"role": "assistant", "content": "a red planet in the top left"})
    return Chat(messages=tuple(turns[:-1]))  # type: ignore[arg-type]


def prefill(bundle: Any, chat: Any, side: str, bank: Any) -> tuple[float, int]:
    """Processor seconds from chat to the logits behind the prompt, and the prompt's tokens."""
    import torch

    from vitrail.inference.aim import AIM
    from vitrail.inference.demonstration_bank import DemonstrationBank
    from vitrail.inference.inputs import model_inputs

    begin = time.process_time()
    if side != "pictures":
        method = AIM(bank=bank if side == "bank" else DemonstrationBank())
        chat = method.rewrite(bundle, chat, None).chat
    prompt = bundle.encoder.encode(chat, add_generation_prompt=True)
    inputs = model_inputs(bundle.model, bundle.collator()([prompt]))
    with torch.inference_mode():
        bundle.model(**inputs, use_cache=True, logits_to_keep=1)
    return time.process_time() - begin, prompt.length


def peak() -> float:
    """The largest resident size so far, MiB (of this process alone: ``ru_maxrss`` begins with its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def memory(side: str, k: int, layers: int) -> float:
    """Run in a fresh process: MiB that one prefill adds to the largest resident size."""
    import torch

    from vitrail.inference.aim import AIM
    from vitrail.inference.demonstration_bank import DemonstrationBank

    torch.set_num_threads(1)
    bundle, bank = bundle_of(layers), DemonstrationBank()
    prefill(bundle, chat_of(1), side, bank)
    if side == "bank":
        AIM(bank=bank).rewrite(bundle, chat_of(k), None)  # reads them, one at a time
    before = peak()
    prefill(bundle, chat_of(k), side, bank)
    return peak() - before


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of shots and side."""
    import torch

    from vitrail.inference.demonstration_bank import DemonstrationBank

    torch.set_num_threads(1)
    bundle, bank, rows = bundle_of(options.layers), DemonstrationBank(), []
    for k in options.shots:
        chat = chat_of(k)
        for side in SIDES:  # what is first is slow, and the bank is filled
            prefill(bundle, chat, side, bank)
        found: dict[str, list[tuple[float, int]]] = {side: [] for side in SIDES}
        for _ in range(options.repeats):
            for side in SIDES:
                found[side].append(prefill(bundle, chat, side, bank))
        base = min(found["pictures"])[0]
        for side in SIDES:
            seconds, tokens = min(found[side])
            row = {"shots": k, "side": side, "tokens": tokens, "seconds": round(seconds, 4)}
            rows.append({**row, "ratio": round(seconds / base, 3)})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 1, 2, 4, 8])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    told: dict[str, Any] = {"rows": measured(options)}
    if options.memory:
        context = multiprocessing.get_context("spawn")
        most = max(options.shots)
        told["mib"] = {}
        for side in ("pictures", "bank"):
            with context.Pool(1) as pool:
                told["mib"][side] = round(pool.apply(memory, (side, most, options.layers)), 1)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
