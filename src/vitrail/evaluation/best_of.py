"""Inferencer ``best_of``: of several samples the one that preference learning rewards most (RLAIF-V, arXiv 2405.17220).

The model samples ``n`` answers and ranks them itself, by its log-probability against that of the model it began as,
a token (:mod:`vitrail.inference.self_reward`). It costs n samples and two forwards of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from vitrail.evaluation.inferencers import Asked, Generate
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.task import Settings

if TYPE_CHECKING:
    from vitrail.inference.generation import GenerationSettings
    from vitrail.models.bundle import Bundle


class BestOf:
    """See the module."""

    gives = "text"

    class Config(Settings):
        """``reference``: the model before preference learning, a folder, run or hub name (after the loop ``rlaif_v``:
        ``rounds/start/run``, or what the recipe began with). ``n`` samples with ``temperature`` and ``top_p``.
        """

        reference: str = Field(min_length=1)
        n: int = Field(default=8, ge=2)
        max_new_tokens: int = Field(default=64, ge=1)
        temperature: float = Field(default=0.7, gt=0)
        top_p: float = Field(default=1.0, gt=0, le=1)
        seed: int = Field(default=0, ge=0)

    def __init__(self, config: Config) -> None:
        self.config = config
        self._generate = Generate(Generate.Config(max_new_tokens=config.max_new_tokens))
        self._reference: Bundle | None = None

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Asked:
        """Tokens of the prompt. ValueError for a text, or if prompt and answer may not fit."""
        return self._generate.encode(bundle, prompt, root)

    def ask(self, bundle: Bundle, asked: list[Asked], batch_size: int) -> list[dict[str, Any]]:
        """For each the best ``text``, whether it is ``finished``, and its ``reward`` in nats a token."""
        from vitrail.inference.generation import generate_from
        from vitrail.inference.self_reward import SelfReward, answered

        prompts = [one.prompt for one in asked]
        drawn = [
            generate_from(bundle, prompts, self._settings(number), batch_size=batch_size)
            for number in range(self.config.n)
        ]
        reward = SelfReward(bundle, self._before(bundle))
        kept = [[one for one in replies if one.tokens] for replies in zip(*drawn, strict=True)]
        rows = [answered(bundle, p, one) for p, replies in zip(prompts, kept, strict=True) for one in replies]
        values = iter(reward.rewards(rows, batch_size=batch_size))
        found = []
        for replies in kept:
            scored = [(next(values), one) for one in replies]
            if not scored:
                found.append({"text": "", "finished": True, "reward": None})
                continue
            value, best = max(scored, key=lambda one: one[0])
            found.append({"text": best.text, "finished": best.finished, "reward": round(value, 6)})
        return found

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """Nothing beyond the settings."""
        return {}

    def _before(self, bundle: Bundle) -> Bundle:
        if self._reference is None:
            from vitrail.models.loading import load

            device = next(bundle.model.parameters()).device
            self._reference = load(self.config.reference)
            self._reference.model.to(device)
        return self._reference

    def _settings(self, number: int) -> GenerationSettings:
        from vitrail.inference.generation import GenerationSettings

        c = self.config
        return GenerationSettings(
            max_new_tokens=c.max_new_tokens,
            temperature=c.temperature,
            top_p=c.top_p,
            seed=c.seed * 1000 + number,
        )
