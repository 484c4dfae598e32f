"""What a layer rule costs beside ``is_causal``, on a CPU. Prints JSON.

    python benchmarks/rules.py [--layers 2] [--rows 4] [--tokens 512] [--repeats 5] [--threads 1]

A decoder of SmolLM2-135M's width (576, 9 heads over 3 of keys and values) with random weights and a small vocabulary
reads rows of which the first half is one picture. Times are those of a forward, and of forward and backward; ``times``
are ratios to the same model without a rule (SDPA with ``is_causal``). ``mask_s`` is what making the masks of one
forward takes. ``keep_attended`` drops half of the picture behind the first layer, so it may cost less than nothing.
With one thread, seconds are of the process's own CPU: other work on the machine counts little. Sides take turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any


def model_of(layers: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    return LlamaForCausalLM._from_config(config)


def batch_of(rows: int, tokens: int) -> tuple[dict[str, Any], Any]:
    import torch

    from vitrail.models.layout import Layout, Modality, Speaker

    ids = torch.randint(0, 1024, (rows, tokens), generator=torch.Generator().manual_seed(0))
    visual = (torch.arange(tokens) < tokens // 2).expand(rows, -1)
    place = torch.where(visual, 0, -1)
    layout = Layout(
        segment=torch.zeros_like(ids),
        modality=torch.where(visual, int(Modality.IMAGE), int(Modality.TEXT)),
        item=place,
        frame=place,
        row=place,
        col=place,
        speaker=torch.full_like(ids, int(Speaker.USER)),
        weight=torch.zeros(ids.shape),
        droppable=visual,
    )
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}, layout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("layers", 2), ("rows", 4), ("tokens", 512), ("repeats", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()

    import torch

    from vitrail.models.rules import applied, keep_attended, same_segment, visual_isolated, window
    from vitrail.models.rules.call import Call
    from vitrail.models.rules.lowering import _boolean
    from vitrail.models.rules.target import Target

    torch.set_num_threads(options.threads)
    model = model_of(options.layers)
    inputs, layout = batch_of(options.rows, options.tokens)
    several = visual_isolated().on(range(0, options.layers, 2)) & window(256, evict=False)
    rules = {
        "none": None,
        "same_segment": same_segment(),
        "visual_isolated": visual_isolated(),
        "two groups of layers": several,
        "keep_attended": keep_attended(1, 0.5),
    }
    clock = time.process_time if options.threads == 1 else time.perf_counter

    def timed(action: Callable[[], Any]) -> float:
        begin = clock()
        action()
        return clock() - begin

    def forward(rule: Any) -> None:
        with torch.no_grad(), applied(model, rule, layout):
            model(**inputs)

    def step(rule: Any) -> None:
        with applied(model, rule, layout):
            model(**inputs).logits.float().square().mean().backward()
        model.zero_grad()

    seconds: dict[str, dict[str, float]] = {name: {} for name in rules}
    for _ in range(options.repeats + 1):  # the first round warms up
        for name, rule in rules.items():
            for what, action in (("forward_s", forward), ("step_s", step)):
                found = timed(lambda action=action, rule=rule: action(rule))
                best = seconds[name].get(what)
                seconds[name][what] = found if best is None else min(best, found)
    given = {
        "batch_size": options.rows,
        "q_length": options.tokens,
        "kv_length": options.tokens,
        "mask_function": lambda b, h, q, k: k <= q,
        "attention_mask": layout.present,
    }
    target, plain, found = Target.of(model), seconds["none"], {}
    for name, rule in rules.items():
        found[name] = {what: round(value, 4) for what, value in seconds[name].items()}
        found[name]["times"] = {
            what.removesuffix("_s"): round(value / plain[what], 2) for what, value in seconds[name].items()
        }
        if rule is not None and (rule.mask is not None or rule.isolation):
            call = Call(rule, target, layout)
            found[name]["mask_s"] = round(
                min(timed(lambda call=call: _boolean(call, given)) for _ in range(options.repeats)), 4
            )
    print(json.dumps({**vars(options), "rules": found}, indent=2))


if __name__ == "__main__":
    main()
