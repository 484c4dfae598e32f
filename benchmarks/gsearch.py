"""What dropping visual tokens by a schedule saves (G-Search, P-Sigmoid), against keeping all. Prints JSON.

    python benchmarks/gsearch.py [--shape smollm2|llava-1.5-7b] [--budgets 0.5 0.33 0.2] [--words 48] [--tokens 16]
                                 [--device cpu] [--repeats 3]

A LLaVA with random weights and 576 visual tokens: SmolLM2-135M's decoder (width 576, 30 layers), or on an accelerator
LLaVA-1.5-7B's (width 4096, 32 layers, bfloat16). Its tower is small in both, as no schedule changes it; its time is in
the prefill of every side. Sides take turns: ``all`` tokens without the method, ``all, ranked`` (a schedule that keeps
everything, so that what ranking costs can be seen), and for each budget a falling sigmoid and one cut behind the second
layer, as FastV makes it. ``prefill`` and ``step`` (a token behind the prompt) in seconds, the best of the repeats:
processor time on a CPU, wall time on an accelerator; ``faster``: how many times as fast as ``all``, in the prefill, a
step, and an answer of ``--tokens``; ``cache_mib``: keys and values of the prompt.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "smollm2": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "llava-1.5-7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
}
VISUAL, VOCABULARY = 576, 32_000


def model_of(shape: str, device: str) -> Any:
    """The LLaVA with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    vision = transformers.CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=336,
        patch_size=14,
        projection_dim=64,
    )
    text = transformers.LlamaConfig(
        **SHAPES[shape], vocab_size=VOCABULARY, max_position_embeddings=4096, tie_word_embeddings=True
    )
    config = transformers.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=VOCABULARY - 1, tie_word_embeddings=True
    )
    with torch.device(device):
        made = transformers.LlavaForConditionalGeneration._from_config(
            config, dtype=torch.float32 if device == "cpu" else torch.bfloat16
        )
    return made.eval()


def inputs_of(model: Any, words: int, device: str) -> dict[str, Any]:
    """A picture between a few words and the rest of them."""
    import torch

    draws = torch.Generator().manual_seed(0)
    told = torch.randint(3, VOCABULARY - 1, (1, words), generator=draws)
    picture = torch.full((1, VISUAL), model.config.image_token_index)
    ids = torch.cat([told[:, :4], picture, told[:, 4:]], 1).to(device)
    pixels = torch.randn((1, 3, 336, 336), generator=draws).to(device, model.dtype)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def schedules(shape: str, budgets: list[float], words: int) -> dict[str, Any]:
    """The sides' schedules by name; None for the model as it is."""
    from vitrail.inference.keep_schedule import Shape, cut_at_budget, everything, p_sigmoid

    sizes = SHAPES[shape]
    costs = Shape(sizes["hidden_size"], sizes["intermediate_size"], sizes["num_hidden_layers"], VISUAL, words)
    found: dict[str, Any] = {"all": None, "all, ranked": everything(sizes["num_hidden_layers"])}
    for budget in budgets:
        found[f"sigmoid at {budget:g}"] = p_sigmoid(10.0, 0.5, budget, costs)
        found[f"one cut at {budget:g}"] = cut_at_budget(2, budget, costs)
    return found


def clock(device: str) -> Callable[[], float]:
    """Processor seconds on a CPU; on an accelerator wall seconds, once it is done."""
    if device == "cpu":
        return time.process_time

    def now() -> float:
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    return now


def answer(
    model: Any, inputs: dict[str, Any], schedule: Any, tokens: int, now: Callable[[], float]
) -> dict[str, float]:
    """Seconds of a prefill and of a step behind it, and the MiB that the prompt's cache takes."""
    import torch

    from vitrail.models.rules.gsearch import keep_scheduled
    from vitrail.models.rules.standing import stand, withdraw

    rule = None if schedule is None else keep_scheduled(schedule.rates, "text")
    if rule is not None:
        stand(model, "gsearch", rule)
    try:
        with torch.inference_mode():
            begin = now()
            out = model(**inputs, use_cache=True, logits_to_keep=1)
            read = now()
            cache = out.past_key_values
            size = sum(one.nbytes for layer in cache.layers for one in (layer.keys, layer.values))
            mask, began = inputs["attention_mask"], now()
            for _ in range(tokens):
                ids = out.logits[:, -1:].argmax(-1)
                mask = torch.cat([mask, torch.ones_like(ids)], 1)
                out = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
            return {"prefill": read - begin, "step": (now() - began) / tokens, "cache_mib": size / 2**20}
    finally:
        if rule is not None:
            withdraw(model, "gsearch")


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each side."""
    model = model_of(options.shape, options.device)
    inputs = inputs_of(model, options.words, options.device)
    sides, now = schedules(options.shape, options.budgets, options.words), clock(options.device)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for turn in range(options.repeats + 1):
        for name, schedule in sides.items():
            seen = answer(model, inputs, schedule, options.tokens, now)
            if turn:  # the first is slow
                found[name].append(seen)
    best = {name: {key: min(one[key] for one in seen) for key in seen[0]} for name, seen in found.items()}
    rows = []
    for name, one in best.items():
        times = {**one, "answer": one["prefill"] + options.tokens * one["step"]}
        base = {**best["all"], "answer": best["all"]["prefill"] + options.tokens * best["all"]["step"]}
        faster = {key: round(base[key] / times[key], 2) for key in ("prefill", "step", "answer")}
        mean = None if sides[name] is None else round(sides[name].mean, 3)
        rows.append(
            {
                "side": name,
                "mean_share": mean,
                "prefill": round(one["prefill"], 4),
                "step": round(one["step"], 5),
                "cache_mib": round(one["cache_mib"], 2),
                "faster": faster,
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="smollm2")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.5, 0.33, 0.2])
    parser.add_argument("--words", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    rows = measured(options)
    print(json.dumps({"shape": options.shape, "tokens": options.tokens, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
