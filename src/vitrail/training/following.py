"""A mixture that follows losses, inside a stage: measured at the end of each round, resumed exactly.

The steps of a round are fed by a loader of their own, so that workers, which read ahead, never draw beyond it: the
records do not depend on how many there are. A checkpoint keeps the rule's state and the shares of every round so far
(``mixture.json``); ``mixture.jsonl`` beside the metrics says what was measured and decided.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.mixtures.mixing import Mixing
from vitrail.storage import atomic
from vitrail.storage.log import JsonlLog
from vitrail.training.mixed_steps import round_steps
from vitrail.training.probing import Prober

FILE, STATE = "mixture.jsonl", "mixture.json"


class Follower:
    """Changes a mixture's shares after every round (a companion of the stage).

    ``prober`` measures the losses that the rule follows.
    """

    def __init__(self, mixing: Mixing, prober: Prober, folder: Path) -> None:
        self.mixing, self.prober = mixing, prober
        self.every = 1
        self.log = JsonlLog(folder / FILE)
        self.sampler = mixing.sampler()
        self.rounds: list[list[float]] = []

    def begin(self, trainer: Any, checkpoint: Path | None) -> None:
        """The first round's shares, or those of the checkpoint.

        ValueError if the stage is no whole number of rounds.
        """
        self.prober.attach(trainer)
        steps = trainer.args.max_steps
        self.every = self.mixing.rule.every(steps)
        if checkpoint is None:
            self.sampler = self.mixing.sampler()
            self.rounds = [self.sampler.mixture.tolist()]
        else:
            state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
            self.sampler.load_state_dict(state["rule"])
            self.rounds = state["rounds"]
        if trainer.is_world_process_zero():
            self.log.truncate_after(lambda row: row["step"] <= trainer.counters.step)
            if checkpoint is None:
                self.log.append({"step": 0, "shares": self._named(self.rounds[0])})

    def after_step(self, trainer: Any, step: int, last: bool) -> None:
        """At the end of a round: measure, and decide the next one's shares."""
        if step % self.every and not last:
            return
        found = trainer.agreed(self.prober.measure(trainer.joint.model))
        losses = {name: row["loss"] for name, row in found.items()}
        shares = self.sampler.update(list(losses.values())).tolist()
        self.rounds.append(shares)
        if trainer.is_world_process_zero():
            row = {
                "step": step,
                "losses": losses,
                "right": {name: row["right"] for name, row in found.items()},
            }
            self.log.append({**row, **({} if last else {"shares": self._named(shares)})})

    def save(self, place: Path) -> None:
        """``mixture.json``."""
        atomic.write_json(place / STATE, {"rule": self.sampler.state_dict(), "rounds": self.rounds})

    def close(self) -> None:
        """Give the log back."""
        self.log.close()

    def shares_of(self, number: int) -> np.ndarray:
        """The shares of the leaves in a round, which has begun."""
        return self.mixing.shares_with(np.array(self.rounds[number]))

    def _named(self, shares: list[float]) -> dict[str, float]:
        return dict(zip(self.mixing.names, shares, strict=True))


class RoundsLoader:
    """The micro-batches of a stage on a mixture that follows losses; iterating begins behind the steps already made."""

    def __init__(self, trainer: Any, follower: Follower) -> None:
        self.trainer, self.follower = trainer, follower
        self.dataset = trainer.records

    def __len__(self) -> int:
        return len(self.trainer.sampler)

    def __iter__(self) -> Iterator[Any]:
        trainer, every, sampler = self.trainer, self.follower.every, self.trainer.sampler
        done, steps = trainer.counters.step, trainer.args.max_steps
        draws = self.follower.mixing.draws(trainer.data_seed)
        for number in range(math.ceil(steps / every)):
            if number * every + every <= done:  # over, but what it drew is gone
                draws.round(every * sampler.size, self.follower.shares_of(number))
                continue
            shares = self.follower.shares_of(number)
            planned = round_steps(draws, shares, every, sampler.size, trainer.lengths)
            planned = planned[max(done - number * every, 0) : steps - number * every]
            yield from trainer.loader(list(chain.from_iterable(sampler.split(step) for step in planned)))


def read_shares(folder: Path) -> list[dict[str, Any]]:
    """The rows of a stage's ``mixture.jsonl``, oldest first."""
    return JsonlLog(Path(folder) / FILE).read()
