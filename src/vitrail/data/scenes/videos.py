"""Short videos: one thing crosses a scene of resting things, and every frame's truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat, Choices, Document, Message, Region, Text, Video
from vitrail.data.scenes.composer import paint
from vitrail.data.scenes.documents import free_scene, speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.pool import Pool
from vitrail.data.scenes.source import SceneSource
from vitrail.data.scenes.wording import confusable

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class Clip:
    """Frames as scenes; object ``mover`` goes in ``direction`` at even speed, the others rest."""

    frames: tuple[Scene, ...]
    mover: int
    direction: str
    fps: float

    def track(self, index: int) -> dict[int, tuple[float, float, float, float]]:
        """The ``xyxy`` box of object ``index`` in each frame."""
        return {number: frame.objects[index].box for number, frame in enumerate(self.frames)}

    def video(self) -> Video:
        """The frames as a record's content."""
        return Video(frames=tuple(frame.image() for frame in self.frames), fps=self.fps)


class Clips(SceneSource[Document]):
    """Videos of ``length`` frames, directions as likely as each other."""

    use = "videos"

    def __init__(
        self, suite: SceneSuite, fold: str, seed: int, n: int, names: str, length: int, fps: float
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if length < 2:
            raise ValueError(f"length is {length}; a video has at least 2 frames")
        self.pool, self.length, self.fps = speakable(suite, names), length, fps

    def _settings(self) -> tuple[Any, ...]:
        return self.length, self.fps

    def clip(self, index: int) -> Clip:
        """The frames of item ``index``, masks included."""
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, self._checked(index))
        return make_clip(self.pool, self.suite.config.side, self.length, self.fps, draws)

    def __getitem__(self, index: int) -> Document:
        """The video, a sentence about it, and a track for each thing (``image`` 0 is the video)."""
        index, clip = self._checked(index), self.clip(index)
        objects = clip.frames[0].objects
        phrase = objects[clip.mover].thing.phrase
        verb = "move" if objects[clip.mover].thing.number == "several" else "moves"
        text = f"{phrase[0].upper()}{phrase[1:]} {verb} {clip.direction}."
        tracks = (Region(label=item.name, track=dict(clip.track(i))) for i, item in enumerate(objects))
        return Document(
            id=f"{self.name}/{index}",
            content=(clip.video(), Text(text=text), *tracks),
            meta=self._truth(index, clip),
        )

    def chat(self, index: int) -> Chat:
        """The same video as a multiple-choice question: which way the thing moves."""
        index, clip = self._checked(index), self.clip(index)
        draws = Draws("ask", self.name, index)
        thing = clip.frames[0].objects[clip.mover].thing
        template = draws.pick(self.suite.config.wording.templates["motion"])
        text = template.format(noun=thing.name, **{"is": "are" if thing.number == "several" else "is"})
        options = draws.shuffled(list(DIRECTIONS))
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(clip.video(), Text(text=text))),),
            choices=Choices(
                options=tuple((Text(text=option),) for option in options),
                answer=options.index(clip.direction),
            ),
            meta={"kind": "motion", **self._truth(index, clip)},
        )

    def _truth(self, index: int, clip: Clip) -> dict[str, Any]:
        tracks = [list(map(list, clip.track(i).values())) for i in range(len(clip.frames[0].objects))]
        return {
            **self._meta(index, clip.frames[0]),
            "mover": clip.mover,
            "direction": clip.direction,
            "tracks": tracks,
        }


def make_clip(pool: Pool, side: int, length: int, fps: float, draws: Draws) -> Clip:
    """A thing that crosses the picture in a drawn direction, and up to two others that rest behind it."""
    for _ in range(50):
        scene = free_scene(pool, side, draws.integer(1, 3), draws)
        mover = scene.objects[0]
        if not any(confusable(mover.thing, other.thing) for other in scene.objects[1:]):
            break
    x1, y1, x2, y2 = mover.box
    half_x, half_y = (x2 - x1) / 2, (y2 - y1) / 2
    direction = draws.pick(list(DIRECTIONS))
    across, down = DIRECTIONS[direction]
    still_x, still_y = draws.uniform(half_x, side - half_x), draws.uniform(half_y, side - half_y)
    front = len(scene.objects)
    assert scene.backdrop is not None
    frames = []
    for number in range(length):
        share = number / (length - 1)
        x = _along(across, share, half_x, side) if across else still_x
        y = _along(down, share, half_y, side) if down else still_y
        moved = replace(scene.placements[0], x=x, y=y, depth=front)
        frames.append(paint(pool.library, [moved, *scene.placements[1:]], scene.backdrop, scene.background))
    return Clip(tuple(frames), 0, direction, fps)


def _along(sign: int, share: float, half: float, side: int) -> float:
    way = share if sign > 0 else 1 - share
    return half + way * (side - 2 * half)
