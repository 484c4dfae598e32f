"""What every trainer gets: a LLaVA of a given size in a folder, and the same rows in each one's format.

    python benchmarks/train/material.py --size tiny --lengths spread --rows 256 --out FOLDER

``model/``: ``LlavaForConditionalGeneration`` with random weights, tokenizer, image processor and a chat template that
gives the tokens of ms-swift's ``llava1_5_hf``. ``pictures/``, and one picture, one question, one answer a row in
``rows.swift.jsonl``, ``rows.trl.jsonl`` and ``rows.vitrail.jsonl``; ``held.vitrail.jsonl`` for the loss at the end.
``lengths.json``: tokens of each row as the model sees them, so that tokens a second mean the same for everybody.
"""

from __future__ import annotations

import argparse
import json
import random
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "text": {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 4, "num_attention_heads": 4,
                     "num_key_value_heads": 2, "vocab_size": 1024},
        "vision": {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "image_size": 64, "patch_size": 8},
    },
    "smollm2": {
        "text": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                     "num_key_value_heads": 3, "vocab_size": 49152},
        "vision": {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4,
                       "image_size": 64, "patch_size": 8},
    },
}  # fmt: skip
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '\nASSISTANT:' }}{% else %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{{ part['text'] }}{% endfor %}{% endif %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""The last user turn ends with the word that asks for an answer, with or without a generation prompt."""


def tokenizer() -> Any:
    """The nano testbed's byte-level BPE, with LLaVA's special tokens."""
    path = resources.files("vitrail.models.testbeds") / "parts" / "tokenizer.json"
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    made.add_special_tokens({"additional_special_tokens": ["<image>"]})
    made.chat_template = TEMPLATE
    return made


def model(size: str, own: Any) -> Any:
    """The model with random weights of seed 0."""
    sizes = SIZES[size]
    torch.manual_seed(0)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**sizes["vision"], projection_dim=64),
        text_config=transformers.LlamaConfig(
            **sizes["text"], tie_word_embeddings=True, max_position_embeddings=2048,
            bos_token_id=own.bos_token_id, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id,
        ),
        image_token_index=own.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.LlavaForConditionalGeneration(config)


def rows(lengths: str, count: int) -> list[tuple[bytes, str, str]]:
    """Pictures (PNG), questions and answers. ``spread``: answers of one to many sentences; ``fixed``: of one length."""
    from vitrail.data.scenes import suite

    chats = suite("nano-scenes-v1").conversations(fold="train", seed=0, n=count, turns=(1, 6))
    draws = random.Random(0)
    found = []
    for chat in chats:
        picture = next(part for message in chat.messages for part in message.content if hasattr(part, "read"))
        texts = [part.text for message in chat.messages for part in message.content if hasattr(part, "text")]
        question, answer = texts[0], " ".join(texts[1:])
        if lengths == "fixed":
            words = (answer.split() * 40)[:40]
            answer = " ".join(words)
        elif draws.random() < 0.1:  # a long tail, as instruction data have
            answer = " ".join([answer] * draws.randint(3, 8))
        found.append((picture.read(None), question, answer))
    return found


def main() -> None:
    """Write the material."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--lengths", choices=("spread", "fixed"), default="spread")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--held", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    out = args.out.resolve()
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    own = tokenizer()
    made = model(args.size, own)
    made.save_pretrained(out / "model")
    side = SIZES[args.size]["vision"]["image_size"]
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        tokenizer=own,
        patch_size=SIZES[args.size]["vision"]["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(out / "model")
    swift, trl, tokens = [], [], []
    visual = (side // SIZES[args.size]["vision"]["patch_size"]) ** 2
    for number, (picture, question, answer) in enumerate(rows(args.lengths, args.rows + args.held)):
        path = out / "pictures" / f"{number}.png"
        path.write_bytes(picture)
        swift.append({
            "messages": [{"role": "user", "content": f"<image>\n{question}"}, {"role": "assistant", "content": answer}],
            "images": [str(path)],
        })  # fmt: skip
        trl.append({
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            "completion": [{"role": "assistant", "content": [{"type": "text", "text": answer}]}],
            "images": [str(path)],
        })  # fmt: skip
        text = f"<s>USER: <image>\n{question}\nASSISTANT:{answer}</s>"
        tokens.append(len(own(text, add_special_tokens=False).input_ids) - 1 + visual)
    beside = [{**line, "images": [f"pictures/{number}.png"]} for number, line in enumerate(swift)]
    for name, lines in (("swift", swift), ("trl", trl), ("vitrail", beside)):
        for part, chosen in (("rows", lines[: args.rows]), ("held", lines[args.rows :])):
            (out / f"{part}.{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in chosen))
    (out / "lengths.json").write_text(json.dumps(tokens[: args.rows]))


if __name__ == "__main__":
    main()
