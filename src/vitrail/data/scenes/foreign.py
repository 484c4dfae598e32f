"""Pages of which a known share of pictures and captions is from elsewhere: what a filter of documents should find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.data.records import Content, Document, Text
from vitrail.data.scenes.captions import caption
from vitrail.data.scenes.documents import free_scene, speakable
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import Scene
from vitrail.data.scenes.source import SceneSource

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite


class ForeignPages(SceneSource[Document]):
    """Two to four pictures, each before its caption; each picture and each caption is, with probability ``foreign``,
    that of a scene which is nowhere in the page.

    The test of mOSCAR's joint filter (arXiv 2406.08707) against known truth: ``meta["foreign"]`` lists the places of
    foreign parts in the content. Pages of equal seeds differ in nothing else, whatever ``foreign`` is.
    """

    use = "documents"

    def __init__(
        self, suite: SceneSuite, fold: str, seed: int, n: int, names: str, foreign: float = 0.0
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if not 0 <= foreign <= 1:
            raise ValueError(f"foreign is {foreign}; give a share from 0 to 1")
        self.pool, self.foreign = speakable(suite, names), foreign

    def _settings(self) -> tuple[Any, ...]:
        return ("foreign", self.foreign)

    def _scene(self, draws: Draws) -> Scene:
        config = self.suite.config
        return free_scene(self.pool, config.side, draws.integer(1, config.most), draws)

    def __getitem__(self, index: int) -> Document:
        """Picture, caption, picture, caption, …"""
        index = self._checked(index)
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        scenes = [self._scene(draws) for _ in range(draws.integer(2, 4))]
        content: list[Content] = []
        foreign: list[int] = []
        for number, scene in enumerate(scenes):
            for part in ("picture", "caption"):
                chance = Draws("foreign", part, self.name, index, number)
                shown = scene
                if chance.chance(self.foreign):
                    shown = self._scene(chance)
                    foreign.append(len(content))
                if part == "picture":
                    content.append(shown.image())
                else:
                    words = Draws("caption", self.name, index, number)
                    content.append(Text(text=f"{caption(shown, self.suite.config.wording, words)}\n"))
        meta = {**self._meta(index, scenes[0]), "foreign": foreign}
        return Document(id=f"{self.name}/{index}", content=tuple(content), meta=meta)
