"""The frames of a video at equal distances, one after the other, and its sound (PyAV, extra ``video``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image as PILImage


def frames(
    path: Path, fps: float, start: float = 0.0, end: float | None = None
) -> Iterator[tuple[float, PILImage.Image]]:
    """Time in seconds and picture of ``fps`` frames a second, from ``start`` to before ``end``; one is held at a time.

    A frame is the first one shown at or after its time. ValueError for what is no video.
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps}; take more than 0 frames a second")
    av, wanted = _av(), start
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path.name} holds no video stream")
            stream = container.streams.video[0]
            begin = float((stream.start_time or 0) * stream.time_base)
            if start > 0:
                container.seek(int((start + begin) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                time = float(frame.time or 0.0) - begin
                if end is not None and time >= end:
                    return
                if time + 1e-6 >= wanted:
                    yield time, frame.to_image()
                    wanted = start + (int((time - start) * fps + 1e-6) + 1) / fps
    except av.FFmpegError as error:
        raise _unreadable(path, error) from None


def seconds(path: Path) -> float:
    """How long a video or a sound is. ValueError for what is neither."""
    av = _av()
    try:
        with av.open(str(path)) as container:
            return float((container.duration or 0) / av.time_base)
    except av.FFmpegError as error:
        raise _unreadable(path, error) from None


def sound(path: Path, sampling_rate: int = 16_000) -> Float[np.ndarray, "samples"]:
    """The sound of a video or of a sound file, one channel, −1 to 1; empty without a sound."""
    av = _av()
    parts: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return np.zeros(0, np.float32)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=sampling_rate)
            for frame in container.decode(container.streams.audio[0]):
                parts += [one.to_ndarray()[0] for one in resampler.resample(frame)]
            parts += [one.to_ndarray()[0] for one in resampler.resample(None)]
    except av.FFmpegError as error:
        raise _unreadable(path, error) from None
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def about(path: Path) -> dict[str, Any]:
    """What ``<name>.info.json`` beside a video says of it, as yt-dlp writes it; empty without one.

    ValueError for a file that is no JSON object.
    """
    beside = path.with_suffix(".info.json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{beside.name} is not JSON ({error}); correct or remove it") from None
    if not isinstance(found, dict):
        raise ValueError(f"{beside.name} must hold a JSON object; correct or remove it")
    return found


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path.name} cannot be read ({error}); replace it by a whole one")


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise ImportError("reading videos needs PyAV; install vitrail[video]") from None
    return av
