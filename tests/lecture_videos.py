"""Lessons composed for tests: slides with text, and a sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

SIZE = (320, 240)
RATE = 16_000


def slide(text: str, seed: int = 0) -> Image.Image:
    """A picture with ``text``, and a shape whose place ``seed`` says."""
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((20 + 60 * (seed % 4), 120, 100 + 60 * (seed % 4), 220), fill=(40 * (seed % 6), 90, 160))
    draw.text((12, 20), text, fill="black", font=ImageFont.load_default(size=30))
    return picture


def lecture(
    path: Path, slides: Sequence[Image.Image], seconds: float, sound: np.ndarray | None = None, fps: int = 4
) -> Path:
    """A video at ``path`` that shows each slide for so many seconds, with a sound of 16 kHz."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=fps)
        pictures.width, pictures.height, pictures.pix_fmt, pictures.bit_rate = *SIZE, "yuv420p", 4_000_000
        voice = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for picture in slides:
            for _ in range(round(seconds * fps)):
                container.mux(pictures.encode(av.VideoFrame.from_image(picture)))
        container.mux(pictures.encode())
        if voice is not None:
            for start in range(0, len(sound), 1024):
                part = np.ascontiguousarray(sound[start : start + 1024].astype(np.float32))[None]
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(voice.encode(frame))
            container.mux(voice.encode())
    return path


def tone(seconds: float, loudness: float = 0.3) -> np.ndarray:
    return loudness * np.sin(np.arange(int(seconds * RATE)) * 0.17)
