"""A model loaded and asked in a process of its own; run as a file, by :mod:`vitrail.serving.exports.verifying`.

Nothing of vitrail is imported here, and unless the job says so nothing can be: what comes out is what anybody gets who
has transformers alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LAST = 32
"""At how many of a prompt's last tokens predictions are compared."""


def predictions(output: Any) -> dict[str, Any]:
    """What is compared of a model's output, float32: log-probabilities at the last tokens, or embeddings."""
    import torch

    with torch.inference_mode():
        if getattr(output, "logits", None) is not None:
            return {"log_probs": output.logits[:, -LAST:].float().log_softmax(-1).contiguous()}
        return {name: output[name].float().contiguous() for name in ("image_embeds", "text_embeds")}


def ask(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The predictions of ``model`` on ``inputs``."""
    import torch

    with torch.inference_mode():
        return predictions(model(**inputs))


def main(job_file: str) -> None:
    """Read a job, load its model, answer, and write the answers."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    if not job["vitrail"]:
        sys.modules["vitrail"] = None  # type: ignore[assignment]  # importing it fails
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(job["threads"])
    library = __import__("vitrail.models", fromlist=["models"]) if job["vitrail"] else transformers
    kind = getattr(library, job["class"])
    model, told = kind.from_pretrained(job["folder"], dtype=torch.float32, output_loading_info=True)
    wrong = {name: sorted(map(str, told[name])) for name in ("missing_keys", "unexpected_keys") if told[name]}
    if wrong:
        raise SystemExit(f"its weights do not fit its configuration: {wrong}")
    found: dict[str, Any] = {}
    inputs = load_file(job["inputs"])
    prompts: list[dict[str, Any]] = [{} for _ in range(job["prompts"])]
    for name, value in inputs.items():
        place, _, argument = name.partition("/")
        prompts[int(place)][argument] = value
    for number, prompt in enumerate(prompts):
        for name, value in ask(model.eval(), prompt).items():
            found[f"{number}/{name}"] = value
    for number, messages in enumerate(job["messages"]):
        for name, value in _processed(job["folder"], messages).items():
            found[f"{number}/made/{name}"] = value.contiguous()
    save_file(found, job["out"])


def _processed(folder: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What the folder's own processor makes of a conversation."""
    from PIL import Image
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    for message in messages:
        for part in message["content"]:
            if part["type"] == "image":
                part["image"] = Image.open(part.pop("path")).convert("RGB")
    made = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return {name: made[name] for name in ("input_ids", "pixel_values") if name in made}


if __name__ == "__main__":
    main(sys.argv[1])
