"""Make the parts of the testbed ``nano_pretrained``: a tower, a tokenizer and a language model, each in minutes.

    python scripts/nano_parts.py [tower] [tokenizer] [language] [reading]        (default: all, in this order)

The tower learns to name the thing that each cell of a picture shows; its last layer, which names, is thrown away. The
language model reads conversations about scenes without their pictures: half of them begin with what the scene holds
in words. ``reading`` goes on with it on questions alone, nine of ten with the answer written before them, so that it
looks things up before it answers, as language models do. Both are ordinary recipes.

Both see the training fold with seeds that no study uses, and the names "known" and "helpers" alone; the figures are of
the development fold. What is written: ``src/vitrail/models/testbeds/parts/``. Threads: ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitrail.data.scenes import suite
from vitrail.data.scenes.suites import SceneSuite
from vitrail.models.testbeds.nano_pretrained import SUITE, wrapped_tokenizer
from vitrail.models.towers.convolutional import ConvolutionalTower
from vitrail.storage.atomic import write_bytes, write_json

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "src/vitrail/models/testbeds/parts"
SEED = 700_000
"""Of scenes and weights; the seeds of studies are small numbers."""
SCENES = {"known": 7500, "helpers": 2500}
TOWER: dict[str, Any] = {"image_size": 64, "channels": [24, 64, 128], "blocks": 4}
TOWER_STEPS, TOWER_BATCH, TOWER_RATE = 700, 64, 2e-3
COVERED, DOUBTFUL = 0.25, 0.06
"""A cell shows the thing that covers this share of it; one covered less, but more than the second, is not learnt."""
VOCABULARY = 1024
LANGUAGE: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
TEXTS = {"known": 6000, "helpers": 2000}
READINGS = {"known": 4000, "helpers": 1000}
LANGUAGE_STAGE: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 32, "max_steps": 500}
READING_STAGE: dict[str, Any] = {"learning_rate": 2e-3, "batch_size": 16, "max_steps": 650}


def spoken(scenes: SceneSuite) -> list[str]:
    """The names that the tower learns; class 0 is the background."""
    return sorted(name for names in SCENES for name in scenes.names(names))


def pictures(
    scenes: SceneSuite, fold: str, names: str, n: int, classes: list[str], side: int
) -> tuple[Tensor, Tensor]:
    """``(n, 3, 64, 64)`` bytes, and for each cell ``(n, side, side)`` the class of what it shows (−100: doubtful)."""
    number = {name: place for place, name in enumerate(classes, start=1)}
    source = scenes.conversations(fold=fold, seed=SEED, n=n, names=names)
    pixels, cells = [], []
    for index in range(n):
        scene = source.scene(index)
        things = [number[item.name] for item in scene.objects]
        pixels.append(scene.pixels.transpose(2, 0, 1))
        cells.append(_cells(scene.labels, things, len(classes), side))
    return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(cells))


def _cells(labels: np.ndarray, things: list[int], classes: int, side: int) -> np.ndarray:
    shares = np.zeros((classes + 1, side, side))
    step = labels.shape[0] // side
    for place, thing in enumerate(things, start=1):
        shares[thing] += (labels == place).reshape(side, step, side, step).mean(axis=(1, 3))
    most = shares.argmax(axis=0)
    share = shares.max(axis=0)
    return np.where(share >= COVERED, most, np.where(share > DOUBTFUL, -100, 0))


def make_tower() -> dict[str, Any]:
    """Train the tower, write it, and measure the written weights."""
    scenes = suite(SUITE)
    classes = spoken(scenes)
    tower = ConvolutionalTower(ConvolutionalTower.Config(**TOWER))
    side = tower.grid(0, 0)[0]
    drawn = [pictures(scenes, "train", names, n, classes, side) for names, n in SCENES.items()]
    pixels, cells = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    print(f"tower: {len(pixels)} pictures", flush=True)
    torch.manual_seed(SEED)
    tower = ConvolutionalTower(ConvolutionalTower.Config(**TOWER))
    name = nn.Linear(tower.width, len(classes) + 1)
    seconds = _fit(tower, name, pixels, cells)
    half = {key: value.half().contiguous() for key, value in tower.state_dict().items()}
    tower.load_state_dict({key: value.float() for key, value in half.items()})
    figures: dict[str, Any] = {
        "parameters": sum(p.numel() for p in tower.parameters()),
        "seconds": round(seconds),
    }
    for names in SCENES:
        held = pictures(scenes, "development", names, 500, classes, side)
        figures[names] = naming(tower, name, *held)
    return {"settings": TOWER, "steps": TOWER_STEPS, "figures": figures, **_written("tower", half)}


def _fit(tower: ConvolutionalTower, name: nn.Linear, pixels: Tensor, cells: Tensor) -> float:
    started = time.monotonic()
    parameters = [*tower.parameters(), *name.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=TOWER_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, TOWER_RATE, TOWER_STEPS, pct_start=0.1)
    order = torch.cat(
        [torch.randperm(len(pixels)) for _ in range(1 + TOWER_STEPS * TOWER_BATCH // len(pixels))]
    )
    for step in range(TOWER_STEPS):
        chosen = order[step * TOWER_BATCH : (step + 1) * TOWER_BATCH]
        logits = name(tower(scaled(pixels[chosen])).tokens)
        loss = F.cross_entropy(logits, cells[chosen].flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(
                f"tower: step {step + 1}, loss {loss.item():.4f}, {time.monotonic() - started:.0f} s",
                flush=True,
            )
    return time.monotonic() - started


def scaled(pixels: Tensor) -> Tensor:
    """Bytes → what the tower's image processor makes of them."""
    return pixels.float() / 127.5 - 1


@torch.no_grad()
def naming(tower: ConvolutionalTower, name: nn.Linear, pixels: Tensor, cells: Tensor) -> dict[str, float]:
    """How many of the cells that show a thing are named right, and recall and precision of the things of a picture."""
    guesses = torch.cat(
        [name(tower.eval()(scaled(some)).tokens).argmax(-1) for some in pixels.split(100)]
    ).reshape(cells.shape)
    found = right = there = 0
    for guess, truth in zip(guesses, cells, strict=True):
        said, shown = (set(one.flatten().tolist()) - {0, -100} for one in (guess[truth != -100], truth))
        found, right, there = found + len(said), right + len(said & shown), there + len(shown)
    things = cells > 0
    return {
        "cells": round(float((guesses == cells)[things].float().mean()), 4),
        "recall": round(right / max(1, there), 4),
        "precision": round(right / max(1, found), 4),
    }


def chats(
    scenes: SceneSuite, fold: str, names: str, n: int, told: float = 0.5, twice: bool = False, **options: Any
) -> list[Any]:
    """Conversations without pictures; a share of ``told`` begins with what the scene holds.

    ``twice`` says each place in front of its thing and behind it. ``options`` are those of the suite's conversations.
    """
    found = []
    source = scenes.conversations(fold=fold, seed=SEED + 1 + twice, n=n, names=names, **options)
    for index, chat in enumerate(source):
        begins = int((index + 1) * told + 0.5) > int(index * told + 0.5)
        objects = chat.meta["scene"]["objects"]
        first, *rest = chat.messages
        parts = [(_told_twice if twice else _told)(scenes, objects)] * begins + [first.text]
        said = first.content[-1].model_copy(update={"text": "\n".join(parts)})
        messages = (first.model_copy(update={"content": (said,)}), *rest)
        found.append(chat.model_copy(update={"messages": messages, "meta": {}}))
    return found


def _told(scenes: SceneSuite, objects: list[dict[str, Any]]) -> str:
    """``top left: red lobster. center: cow.``, in reading order."""
    parts = []
    for one in _in_order(objects):
        thing = scenes.library[one["name"]]
        colour = "" if one["colour"] is None or one["colour"] in thing.name.split() else f"{one['colour']} "
        parts.append(f"{one['cell']}: {colour}{thing.name}.")
    return " ".join(parts)


def _told_twice(scenes: SceneSuite, objects: list[dict[str, Any]]) -> str:
    """``top left: lobster, red, top left. center: cow, center.``: either can be looked up by what stands before it."""
    parts = []
    for one in _in_order(objects):
        said = [one["name"], *([one["colour"]] if one["colour"] else []), one["cell"]]
        parts.append(f"{one['cell']}: {', '.join(said)}.")
    return " ".join(parts)


def _in_order(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(objects, key=lambda one: (one["box"][1] + one["box"][3], one["box"][0]))


def make_tokenizer() -> dict[str, Any]:
    """Train the byte-level BPE on the sentences of training scenes and on the corpus of ``nano``."""
    from importlib import resources

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    scenes = suite(SUITE)
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = resources.files("vitrail.models.testbeds").joinpath("nano_corpus.txt").read_text("utf-8")
    texts = [
        message.text
        for names in TEXTS
        for chat in chats(scenes, "train", names, 1000)
        for message in chat.messages
    ]
    built.train_from_iterator([*texts, *corpus.splitlines()], trainer)
    data = built.to_str(pretty=False).encode()
    return {"settings": {"vocabulary": VOCABULARY}, **_file("tokenizer", "tokenizer.json", data)}


def make_language() -> dict[str, Any]:
    """Train the language model by a recipe on conversations, with and without what the scene holds."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _tokenizer()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {**LANGUAGE, "vocab_size": len(tokenizer), **ids}
    sizes = {name: value for name, value in settings.items() if name != "model_type"}
    torch.manual_seed(SEED)
    fresh = AutoModelForCausalLM.from_config(AutoConfig.for_model(settings["model_type"], **sizes))
    scenes = suite(SUITE)
    texts = [chat for names, n in TEXTS.items() for chat in chats(scenes, "train", names, n)]
    return {"settings": settings, **_trained(fresh, texts, LANGUAGE_STAGE)}


def make_reading() -> dict[str, Any]:
    """Go on with the language model of ``make_language``, on questions to what stands written before them."""
    from vitrail.models.testbeds.nano_pretrained import load_language

    scenes = suite(SUITE)
    texts = [
        chat
        for names, n in READINGS.items()
        for chat in chats(scenes, "train", names, n, 0.9, True, turns=(4, 6), kinds=scenes.kinds(names))
    ]
    settings = json.loads((PARTS / "parts.json").read_text("utf-8"))["language"]["settings"]
    return {"settings": settings, **_trained(load_language(), texts, READING_STAGE)}


def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    from vitrail.models.processing import CHAT_TEMPLATE

    tokenizer = wrapped_tokenizer(Tokenizer.from_str((PARTS / "tokenizer.json").read_text("utf-8")))
    tokenizer.chat_template = CHAT_TEMPLATE.replace("{{ image_token }}", "")
    return tokenizer


def _trained(model: Any, texts: list[Any], stage: dict[str, Any]) -> dict[str, Any]:
    """Take ``model`` through one stage of a recipe on a file of ``texts``, write it, and measure what is written."""
    from vitrail.data.readers import write_jsonl
    from vitrail.models.loading import load
    from vitrail.recipes.run import train

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model.save_pretrained(folder / "fresh")
        _tokenizer().save_pretrained(folder / "fresh")
        write_jsonl(texts, folder / "train.jsonl")
        begin = time.process_time()
        result = train(
            {
                "name": "nano-language",
                "seed": SEED,
                "model": {"path": str(folder / "fresh")},
                "data": {"texts": {"kind": "file", "path": str(folder / "train.jsonl")}},
                "stages": [
                    {"name": "read", "data": "texts", "trains": ["all"], "weight_decay": 0.05, **stage}
                ],
            },
            run_folder=folder / "run",
        )
        seconds = time.process_time() - begin
        bundle = load(result.model)
    model = bundle.model
    weights = {key: value for key, value in model.state_dict().items() if key != "lm_head.weight"}
    half = {key: value.half().contiguous() for key, value in weights.items()}
    model.load_state_dict({key: value.float() for key, value in half.items()}, strict=False)
    figures = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "processor seconds": round(seconds),
        "reads": {kind: reads(bundle, kind) for kind in suite(SUITE).kinds("known")},
    }
    return {"stage": stage, "figures": figures, **_written("language", half)}


@torch.no_grad()
def reads(bundle: Any, kind: str, n: int = 60) -> dict[str, float]:
    """How many questions of the development fold it answers right (four options), told what the scene holds or not."""
    scenes, right = suite(SUITE), {"told": 0, "not told": 0}
    asked: Any = scenes.questions("development", "known", SEED, n, (kind,))
    for chat in asked:
        told = _told_twice(scenes, chat.meta["scene"]["objects"])
        for condition, text in (
            ("told", f"{told}\n{chat.messages[0].text}"),
            ("not told", chat.messages[0].text),
        ):
            front = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
            scores = [
                _likelihood(bundle, front, f"{option[0].text}<|im_end|>") for option in chat.choices.options
            ]
            right[condition] += scores.index(max(scores)) == chat.choices.answer
    return {condition: round(count / n, 3) for condition, count in right.items()}


def _likelihood(bundle: Any, front: str, answer: str) -> float:
    parts = [bundle.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (front, answer)]
    ids = torch.tensor([parts[0] + parts[1]])
    shares = (
        bundle.model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1].log_softmax(-1)
    )
    return float(shares.gather(1, ids[0, 1:, None])[len(parts[0]) - 1 :].sum())


def _written(part: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    from safetensors.torch import save

    return _file(part, f"{part}.safetensors", save(weights))


def _file(part: str, name: str, data: bytes) -> dict[str, Any]:
    write_bytes(PARTS / name, data)
    command = f"python scripts/nano_parts.py {part}"
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "command": command}


MAKERS = {
    "tower": make_tower,
    "tokenizer": make_tokenizer,
    "language": make_language,
    "reading": make_reading,
}


def main(arguments: list[str]) -> int:
    """Make the parts that are asked for and write down what they are."""
    if unknown := [one for one in arguments if one not in MAKERS]:
        print(f"no part is called {unknown[0]!r}\n{__doc__}")
        return 2
    PARTS.mkdir(exist_ok=True)
    path = PARTS / "parts.json"
    told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for part in arguments or list(MAKERS):
        made = MAKERS[part]()
        made |= {"suite": suite(SUITE).fingerprint, "fold": "train", "names": list(SCENES)}
        if part != "tokenizer":
            made |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
        if part == "reading":  # the same file, trained further
            told["language"]["before"] = {
                key: told["language"][key] for key in ("command", "stage", "figures")
            }
            told["language"] |= {**made, "command": "python scripts/nano_parts.py language reading"}
        else:
            told[part] = made
        write_json(path, told)
        print(f"{part}: {made.get('figures', '')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
