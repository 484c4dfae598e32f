"""Frames of a video, by the rules that benchmarks choose them with.

SEED-Bench takes ``count`` frames from the middle of equal parts of a clip (``middles``, :func:`segment_middles`); a
clip is the whole video, or a segment of it in seconds or in frames. Video-MME's harnesses take frames at equal
distances, the first and last among them (``ends``) or neither (``interior``), or so many a second (``fps``). Frames are
read through PyAV (extra ``video``), or are pictures in a folder, cut beforehand.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitrail.data.records import Image

TIMEOUT = 120.0
"""Seconds that reading one clip's frames may take."""
FROM_KEY_FRAME = 250
"""A first frame behind this one is reached by seeking to a key frame instead of decoding from the beginning."""


Rule = Literal["middles", "ends", "interior", "fps"]


@dataclass(frozen=True)
class Clip:
    """``count`` frames of the video at ``path``; of ``segment`` (start, end) in ``unit``, or of the whole.

    ``rule`` chooses them; of ``fps`` frames a second there are as many as the clip has (``count`` is not asked).
    """

    path: str
    count: int = 8
    segment: tuple[float, float] | None = None
    unit: Literal["seconds", "frames"] = "seconds"
    rule: Rule = "middles"
    fps: float = 1.0

    def images(self, root: Path) -> tuple[Image, ...]:
        """The frames as pictures, in their order. ValueError where the video cannot be read."""
        path = root / self.path
        if path.is_dir():
            return _cut_beforehand(path, self)
        return read_frames(path, self)

    def timed(self, root: Path) -> tuple[tuple[Image, ...], tuple[float, ...]]:
        """The frames and their seconds in the video. ValueError also for frames cut beforehand, whose time is lost."""
        path = root / self.path
        if path.is_dir():
            raise ValueError(f"{path.name} holds frames without their times; subtitles need the video itself")
        return timed_frames(path, self)


def segment_middles(frames: int, count: int) -> list[int]:
    """The indices of ``count`` frames in the middle of equal parts of ``frames``; all of them where there are fewer.

    ``seg = (frames − 1) / count``, ``index_i = int(seg / 2) + round(seg · i)``, halves rounded to even (SEED-Bench).
    """
    if frames < 1 or count < 1:
        raise ValueError(f"frames is {frames} and count {count}; both must be 1 or more")
    if frames < count:
        return list(range(frames))
    part = (frames - 1) / count
    return [int(part / 2) + round(part * place) for place in range(count)]


def sample_frames(frames: int, count: int, rule: Rule = "ends") -> list[int]:
    """The indices of ``count`` of ``frames`` frames.

    ``ends``: ``linspace(0, frames − 1, count)`` rounded down; ``interior``: ``int(i frames / (count + 1))``, i = 1 …
    count; ``middles``: see :func:`segment_middles`. ValueError below 1, or for a rule that there is not.
    """
    if frames < 1 or count < 1:
        raise ValueError(f"frames is {frames} and count {count}; both must be 1 or more")
    if rule == "middles":
        return segment_middles(frames, count)
    if rule == "ends":
        return [0] if count == 1 else [place * (frames - 1) // (count - 1) for place in range(count)]
    if rule == "interior":
        return [place * frames // (count + 1) for place in range(1, count + 1)]
    raise ValueError(f"rule is {rule!r}; use ends, interior or middles")


def chosen(clip: Clip, frames: int, fps: float) -> list[int]:
    """The indices of a clip's frames in a video of ``frames`` frames. ValueError for an empty segment."""
    first, last = 0, frames - 1
    if clip.segment is not None:
        start, end = clip.segment
        scale = fps if clip.unit == "seconds" else 1.0
        first, last = (min(max(int(at * scale), 0), frames - 1) for at in (start, end))
    length = last - first + 1
    if clip.rule == "fps":
        if clip.fps <= 0 or fps <= 0:
            raise ValueError(f"fps is {clip.fps} of a video of {fps} frames a second; both must be above 0")
        taken = [int(place * fps / clip.fps) for place in range(int(length / fps * clip.fps))] or [0]
        return [first + min(index, length - 1) for index in taken]
    return [first + index for index in sample_frames(length, clip.count, clip.rule)]


def read_frames(path: Path, clip: Clip, timeout: float = TIMEOUT) -> tuple[Image, ...]:
    """A clip's frames as PNG, decoded with PyAV. ValueError for a file that is no video, or takes too long."""
    return timed_frames(path, clip, timeout)[0]


def timed_frames(
    path: Path, clip: Clip, timeout: float = TIMEOUT
) -> tuple[tuple[Image, ...], tuple[float, ...]]:
    """A clip's frames and their seconds. ValueError as :func:`read_frames`."""
    try:
        import av
    except ImportError:
        raise ImportError(
            "reading videos needs PyAV; install vitrail[video], or cut the frames beforehand"
        ) from None
    until = time.monotonic() + timeout
    try:
        with av.open(str(path), timeout=timeout) as container:
            if not container.streams.video:
                raise ValueError(f"{path.name} holds no video stream")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            frames = stream.frames or _counted(container, stream, until, path)
            places = chosen(clip, frames, fps)
            images = tuple(_decoded(container, stream, places, fps, until, path))
            return images, tuple(place / fps if fps > 0 else 0.0 for place in places)
    except av.FFmpegError as error:
        raise ValueError(
            f"the video {path.name} cannot be read ({error}); replace it by a whole one"
        ) from None


def _counted(container: Any, stream: Any, until: float, path: Path) -> int:
    """The number of frames where the header does not tell."""
    count = 0
    for packet in container.demux(stream):
        _in_time(until, path)
        count += packet.size > 0
    container.seek(0)
    if not count:
        raise ValueError(f"{path.name} holds no frame")
    return count


def _decoded(
    container: Any, stream: Any, wanted: Sequence[int], fps: float, until: float, path: Path
) -> list[Image]:
    """The wanted frames; gaps longer than :data:`FROM_KEY_FRAME` are skipped by seeking to a key frame."""
    found: dict[int, Image] = {}
    frames, index, seeking, frame = container.decode(stream), -1, False, None
    for place in sorted(set(wanted)):
        if fps > 0 and place - index > FROM_KEY_FRAME:
            begin = (stream.start_time or 0) + int(place / fps / stream.time_base)
            container.seek(begin, stream=stream)
            frames, seeking, frame, index = container.decode(stream), True, None, -1
        while frame is None or index < place:
            _in_time(until, path)
            frame = next(frames, None)
            if frame is None:
                break
            index = _index(frame, stream, fps) if seeking else index + 1
        if frame is None:
            break
        found[place] = _picture(frame)
    if not found:
        raise ValueError(f"{path.name} ends before frame {wanted[0]}; it is cut off")
    # A header may promise more frames than there are: the last one stands in.
    last = found[max(found)]
    return [found.get(place, last) for place in wanted]


def _index(frame: Any, stream: Any, fps: float) -> int:
    return round((frame.pts - (stream.start_time or 0)) * float(stream.time_base) * fps)


def _in_time(until: float, path: Path) -> None:
    if time.monotonic() > until:
        raise ValueError(f"reading the frames of {path.name} took too long and was given up")


def _picture(frame: Any) -> Image:
    buffer = io.BytesIO()
    picture = frame.to_image()
    picture.save(buffer, "PNG", compress_level=1)
    return Image(bytes=buffer.getvalue(), width=picture.width, height=picture.height)


def _cut_beforehand(folder: Path, clip: Clip) -> tuple[Image, ...]:
    files = sorted(
        (file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg")), key=_number
    )
    if not files:
        raise ValueError(f"the folder {folder.name} holds no frame (.png, .jpg)")
    # Frames beforehand have no rate: with the rule fps all of them are taken.
    rule = clip.rule if clip.rule != "fps" else "ends"
    count = clip.count if clip.rule != "fps" else len(files)
    return tuple(Image(path=str(files[index].resolve())) for index in sample_frames(len(files), count, rule))


def _number(file: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", file.stem)
    return (int(digits[-1]) if digits else 0, file.name)
