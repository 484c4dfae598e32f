"""Is this thing in the picture? Yes and no in equal numbers, as POPE asks (Li et al., arXiv 2305.10355).

What is not there is drawn at ``random``, or is of the kind of something that is (``adversarial``). POPE's *popular*
has no counterpart: scenes show all things equally often. Answers can be put out of balance, for audits to find
(MME-Survey, arXiv 2411.15296).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.records import Chat, Choices, Message, Text
from vitrail.data.scenes.documents import free_scene, speakable
from vitrail.data.scenes.source import SceneSource
from vitrail.data.scenes.wording import confusable

if TYPE_CHECKING:
    from vitrail.data.scenes.suites import SceneSuite

How = Literal["random", "adversarial"]
HOW: tuple[How, ...] = ("random", "adversarial")
OPTIONS = ("yes", "no")


class Presence(SceneSource[Chat]):
    """``n`` questions: a present thing and an absent one in turn, absent ones by ``how`` in turn.

    ``yes``: the share of present things, where it is not one half. ValueError for what is no share.
    """

    use = "presence"

    def __init__(
        self,
        suite: SceneSuite,
        fold: str,
        seed: int,
        n: int,
        names: str,
        how: tuple[How, ...] = HOW,
        yes: float = 0.5,
    ) -> None:
        super().__init__(suite, fold, seed, n, names)
        if not how or set(how) - set(HOW):
            raise ValueError(f"how is {how}; use some of {', '.join(HOW)}")
        if not 0 <= yes <= 1:
            raise ValueError(f"yes is {yes}; give a share from 0 to 1")
        self.pool, self.how, self.yes = speakable(suite, names), tuple(how), yes

    def _settings(self) -> tuple[Any, ...]:
        return *self.how, *((f"yes {self.yes}",) if self.yes != 0.5 else ())

    def __getitem__(self, index: int) -> Chat:
        """The picture and the question; ``meta["kind"]`` is how the absent thing of its couple is drawn."""
        index = self._checked(index)
        how = self.how[index // 2 % len(self.how)]
        draws = self.suite.draws(self.use, self.fold, self.names, self.seed, index)
        config = self.suite.config
        scene = free_scene(self.pool, config.side, draws.integer(1, config.most), draws)
        things = [item.thing for item in scene.objects]
        there = math.ceil((index + 1) * self.yes) > math.ceil(index * self.yes)
        if there:
            thing = draws.pick(things)
        else:
            clear = [
                other
                for name in self.pool.names
                if not any(confusable(other := self.pool.library[name], thing) for thing in things)
            ]
            kinds = {thing.kind for thing in things}
            near = [other for other in clear if other.kind in kinds] if how == "adversarial" else clear
            thing = draws.pick(near or clear)
        return Chat(
            id=f"{self.name}/{index}",
            messages=(
                Message(
                    role="user",
                    content=(scene.image(), Text(text=f"Is there {thing.phrase} in the picture?")),
                ),
            ),
            choices=Choices(options=tuple((Text(text=word),) for word in OPTIONS), answer=0 if there else 1),
            meta={**self._meta(index, scene), "kind": how, "thing": thing.name},
        )
