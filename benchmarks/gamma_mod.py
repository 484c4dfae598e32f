"""Time and operations of routed layers against the share of visual tokens that skip. Prints JSON.

    python benchmarks/gamma_mod.py [--visual 576] [--words 64] [--layers 8] [--skips 0 0.25 0.5 0.75] [--repeats 5]
                                   [--threads 1] [--device cpu] [--hidden 576] [--step]

A Llama of SmolLM2-135M's width with ``--layers`` layers, of which all but the first and the last are routed, and random
weights. ``prefill``: a forward over pictures and words without gradients; ``step`` (with ``--step``): forward and
backward. ``dense`` is the same model without routed layers. Every skip share runs with exactly so many tokens kept, as
training does it; at inference thresholds decide, and the same gather and scatter follow. ``predicted`` is
``vitrail.models.surgery.routing_costs.routed_flops`` as a share of dense; times are the best of ``--repeats``, measured
in turns.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

from vitrail import registry
from vitrail.models.layout import Layout, Modality, Speaker
from vitrail.models.surgery.operating import operate
from vitrail.models.surgery.routing import recorded
from vitrail.models.surgery.routing_costs import kept_in_training, routed_flops


def model_of(options: argparse.Namespace, skip: float | None) -> Any:
    import transformers as T

    torch.manual_seed(0)
    config = T.LlamaConfig(
        vocab_size=1000,
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 8 // 3,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        num_key_value_heads=max(1, options.hidden // 192),
        max_position_embeddings=8192,
    )
    model = T.LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
    if skip is not None:
        operate(model, "gamma_mod", {"layers": tuple(range(1, options.layers - 1)), "skip": skip})
    return model.to(options.device).train()


def layout_of(visual: int, words: int, device: str) -> Layout:
    tokens = visual + words
    picture = torch.arange(tokens) < visual
    none = torch.full((1, tokens), -1)
    return Layout(
        segment=torch.zeros(1, tokens, dtype=torch.long),
        modality=torch.where(picture, int(Modality.IMAGE), int(Modality.TEXT))[None],
        item=torch.where(picture, 0, -1)[None],
        frame=none,
        row=none,
        col=none,
        speaker=torch.full((1, tokens), int(Speaker.USER)),
        weight=torch.zeros(1, tokens),
        droppable=picture[None],
    ).to(device)


def timed(model: Any, ids: torch.Tensor, layout: Layout, backward: bool) -> float:
    mask = torch.ones_like(ids)
    if ids.device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    with recorded(layout), torch.set_grad_enabled(backward):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1).logits
        if backward:
            logits.square().sum().backward()
            model.zero_grad(set_to_none=True)
    if ids.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visual", type=int, nargs="+", default=[576])
    parser.add_argument("--words", type=int, default=64)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--skips", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--step", action="store_true", help="measure forward and backward, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    registry.register("surgery", "gamma_mod", "vitrail.models.surgery.gamma_mod:GammaMod")
    rows = []
    for visual in options.visual:
        tokens = visual + options.words
        ids = torch.randint(0, 1000, (1, tokens), generator=torch.Generator().manual_seed(0)).to(
            options.device
        )
        layout = layout_of(visual, options.words, options.device)
        models = {skip: model_of(options, skip) for skip in (None, *options.skips)}
        kinds = [("prefill", False), *([("step", True)] if options.step else [])]
        times: dict[Any, list[float]] = {(kind, skip): [] for kind, _ in kinds for skip in models}
        for turn in range(options.repeats + 1):
            for kind, backward in kinds:
                for skip, model in models.items():
                    seconds = timed(model, ids, layout, backward)
                    if turn:
                        times[kind, skip].append(seconds)
        dense = routed_flops(models[None], tokens)
        for skip, model in models.items():
            kept = {} if skip is None else kept_in_training(model.gamma_mod, tokens, visual)
            row = {
                "visual": visual,
                "skip": "dense" if skip is None else skip,
                "predicted": round(routed_flops(model, tokens, kept) / dense, 3),
            }
            for kind, _ in kinds:
                best, base = min(times[kind, skip]), min(times[kind, None])
                row |= {f"{kind}_s": round(best, 4), f"{kind}_of_dense": round(best / base, 3)}
            rows.append(row)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(
        json.dumps(
            {"torch": torch.__version__, "device": device, **vars(options), "rows": rows},
            indent=2,
            default=str,
        )
    )


if __name__ == "__main__":
    main()
