"""Scenes a second on one core: composed alone, encoded, and as whole chats. Prints JSON.

    OMP_NUM_THREADS=1 python benchmarks/scenes.py [--n 1000]

Sprites are rendered beforehand (``render_sprites_s``); times are of this process's own CPU, so that other
work on the machine counts little. Encoders are compared on the same pictures: all are lossless.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from vitrail.data.scenes import suite
from vitrail.data.scenes.composer import compose
from vitrail.data.scenes.draws import Draws


def rate(work: Callable[[int], Any], count: int) -> float:
    start = time.process_time()
    for index in range(count):
        work(index)
    return round(count / (time.process_time() - start), 1)


def encoders(pictures: list[Image.Image]) -> dict[str, dict[str, float]]:
    settings: dict[str, dict[str, Any]] = {
        "png level 1, run length": {"format": "PNG", "compress_level": 1, "compress_type": 3},
        "png level 1": {"format": "PNG", "compress_level": 1},
        "png level 6": {"format": "PNG", "compress_level": 6},
        "webp lossless, method 0": {"format": "WEBP", "lossless": True, "method": 0, "quality": 0},
    }
    found = {}
    for name, setting in settings.items():
        sizes: list[int] = []

        def save(index: int, setting: dict[str, Any] = setting, sizes: list[int] = sizes) -> None:
            buffer = io.BytesIO()
            pictures[index].save(buffer, **setting)
            sizes.append(len(buffer.getvalue()))

        found[name] = {"pictures_per_s": rate(save, len(pictures)), "bytes": round(float(np.mean(sizes)))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1000, help="scenes to compose")
    count = parser.parse_args().n
    scenes = suite("scenes-v1")
    names = scenes.names("known")
    start = time.process_time()
    for name in names:
        scenes.library.render(name, 64)
    rendered = time.process_time() - start
    planner = scenes.planner("known")
    plans = [planner.plan(kind, Draws("benchmark", i)) for i in range(count) for kind in ("what",)]
    conversations, questions = scenes.conversations(n=count), scenes.questions(n=count)
    pictures = [Image.fromarray(questions.scene(i).pixels) for i in range(min(count, 200))]
    print(
        json.dumps(
            {
                "side": scenes.config.side,
                "things_per_scene": round(float(np.mean([len(plan.spec.items) for plan in plans])), 2),
                "sprites": len(names),
                "render_sprites_s": round(rendered, 2),
                "scenes_per_s": rate(
                    lambda i: compose(scenes.library, plans[i].spec, Draws("compose", i)), count
                ),
                "conversations_per_s": rate(lambda i: conversations[i], count),
                "questions_per_s": rate(lambda i: questions[i], count),
                "encoders": encoders(pictures),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
