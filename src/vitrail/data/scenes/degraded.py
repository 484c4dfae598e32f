"""Scenes of known distortion: what distorts this picture, how strongly, and a score that falls with its strength.

The questions of Q-Bench (arXiv 2309.14181) with exact truth: corruptions of :mod:`vitrail.data.corruptions.pictures` at
severities 0 (none) to 5.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.corruptions.pictures import corrupt_picture
from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.data.scenes.documents import free_scene
from vitrail.data.scenes.source import SceneSource, chosen

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

KINDS = {
    "gaussian_blur": "blur",
    "gaussian_noise": "noise",
    "pixelate": "coarse pixels",
    "darkness": "too little light",
    "contrast": "low contrast",
}
"""Corruptions and their names in answers."""
ASKED = ("yes-or-no", "what", "how")
WEAK, STRONG = 2, 5


class Degraded(SceneSource[Chat]):
    """``n`` questions, types (``kinds``; default all) in turn; with ``rated``, ``n`` pictures with minus their severity
    as the answer.
    """

    use = "degraded"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        rated: bool = False,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if rated and kinds is not None:
            raise ValueError(f"kinds is {list(kinds)}, but a rated picture is asked one thing; leave it out")
        self.rated, self.pool, self.kinds = rated, suite.pool(names), chosen(kinds, ASKED)

    def _settings(self) -> tuple[Any, ...]:
        return (self.rated, *(self.kinds if self.kinds != ASKED else ()))

    def __getitem__(self, index: int) -> Chat:
        """The picture, and a question about what distorts it."""
        index = self._checked(index)
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        scene = free_scene(self.pool, self.suite.config.side, draws.integer(1, self.suite.config.most), draws)
        kind = draws.pick(list(KINDS))
        asked = self.kinds[index % len(self.kinds)]
        there = self.rated or asked != "yes-or-no" or index // len(self.kinds) % 2 == 0
        severity = draws.pick((WEAK, STRONG)) if there else 0
        if self.rated:
            severity = draws.integer(0, 5)
        image = _distorted(scene.image(), kind, severity, [self.seed, index])
        meta = {**self._meta(index, scene), "distortion": kind, "severity": severity}
        if self.rated:
            return self._rated(index, image, severity, meta)
        text, options, answer = _question(asked, kind, severity, draws)
        meta |= {"kind": asked, "groups": {"concern": "distortion"}}
        return Chat(
            id=f"{self.name}/{index}",
            messages=(Message(role="user", content=(image, Text(text=text))),),
            choices=Choices(options=tuple((Text(text=one),) for one in options), answer=answer),
            meta=meta,
        )

    def _rated(self, index: int, image: Image, severity: int, meta: dict[str, Any]) -> Chat:
        asked = Message(role="user", content=(image, Text(text="Rate the quality of the image.")))
        said = Message(role="assistant", content=(Text(text=repr(float(-severity))),))
        return Chat(id=f"{self.name}/{index}", messages=(asked, said), meta={**meta, "kind": "scenes"})


def _question(asked: str, kind: str, severity: int, draws: Any) -> tuple[str, list[str], int]:
    name = KINDS[kind]
    if asked == "yes-or-no":
        return f"Does {name} distort this picture?", ["yes", "no"], 0 if severity else 1
    if asked == "how":
        return f"How strong is the {name}?", ["slight", "severe"], int(severity == STRONG)
    others = draws.sample([other for other in KINDS.values() if other != name], 3)
    options = draws.shuffled([name, *others])
    return "What distorts this picture most?", options, options.index(name)


def _distorted(image: Image, kind: str, severity: int, seed: list[int]) -> Image:
    picture = image.open().convert("RGB")
    if severity:
        picture = corrupt_picture(picture, kind, severity, np.random.default_rng(seed))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=picture.width, height=picture.height)
