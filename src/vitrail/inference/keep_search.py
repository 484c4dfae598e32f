"""Finding a schedule of visual tokens: greedily for a quality, or by Bayesian optimisation for a budget.

*G-Search* (arXiv 2412.00556, scenario I) walks from shallow to deep and finds for each layer the least share that,
kept in this and all deeper layers, loses no more than a tolerance; the deeper ones then get their turn. Where the needs
of layers never grow with depth that is optimal for every cost that grows with the shares. *P-Sigmoid* (scenario II)
tunes the two shape parameters of a falling sigmoid whose height meets a budget, by a Gaussian process and expected
improvement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.inference.keep_schedule import KeepSchedule, Shape, everything, p_sigmoid

if TYPE_CHECKING:
    from pathlib import Path

    from vitrail.data.records import Chat
    from vitrail.models.bundle import Bundle

Evaluate = Callable[[KeepSchedule], float]
"""The quality of a schedule on calibration data: higher is better."""


@dataclass(frozen=True)
class Tried:
    """A schedule that was evaluated, and its quality."""

    schedule: KeepSchedule
    quality: float


@dataclass
class Trace:
    """Everything that a search evaluated, in order; nothing twice."""

    evaluate: Evaluate
    tried: list[Tried] = field(default_factory=list)
    _known: dict[tuple[float, ...], float] = field(default_factory=dict)

    def __call__(self, schedule: KeepSchedule) -> float:
        """Its quality. ValueError for one that is not a number."""
        if schedule.rates not in self._known:
            quality = float(self.evaluate(schedule))
            if math.isnan(quality):
                raise ValueError(f"evaluate gave no number for {list(schedule.rates)}; give a finite quality")
            self._known[schedule.rates] = quality
            self.tried.append(Tried(schedule, quality))
        return self._known[schedule.rates]


def g_search(
    evaluate: Evaluate,
    depth: int,
    *,
    step: float = 0.1,
    tolerance: float = 0.0,
    group: int = 1,
    first: int = 1,
) -> tuple[KeepSchedule, Trace]:
    """The schedule that G-Search finds for ``depth`` layers, on a grid of ``step``, and what it tried.

    Bisection: at most ``1 + (layers / group) · ⌈log₂(1/step)⌉`` evaluations. ``tolerance``: how much quality
    may be lost against keeping all. ``group`` neighbouring layers get one share. ``first``: the first layer that may
    drop (behind deepstack or windowed layers; see a family's ``prune``). ValueError for a step that does not divide 1.
    """
    count = round(1 / step) if step > 0 else 0
    if not count or not math.isclose(count * step, 1, abs_tol=1e-6):
        raise ValueError(f"step is {step}; give one that divides 1, such as 0.1")
    if tolerance < 0 or group < 1 or first < 1:
        raise ValueError(
            f"tolerance is {tolerance}, group {group}, first {first}; give 0 or more, and 1 or more"
        )
    trace = Trace(evaluate)
    wanted = trace(everything(depth)) - tolerance
    rates = [count] * depth
    for layer in range(first, depth, group):

        def with_share(share: int, layer: int = layer) -> KeepSchedule:
            return KeepSchedule(tuple(one / count for one in [*rates[:layer], *[share] * (depth - layer)]))

        low, high = 0, rates[layer]  # high suffices; 0, no token at all, is not tried
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if trace(with_share(middle)) >= wanted else (middle, high)
        rates[layer:] = [high] * (depth - layer)
    return KeepSchedule(tuple(one / count for one in rates)), trace


def p_sigmoid_search(
    evaluate: Evaluate,
    budget: float,
    shape: Shape,
    *,
    trials: int = 30,
    random_trials: int = 5,
    steepest: float = 40.0,
    seed: int = 0,
) -> tuple[KeepSchedule, Trace]:
    """The best falling sigmoid at ``budget`` after ``trials`` evaluations, the first ``random_trials`` of them drawn.

    Searched: steepness from 0 to ``steepest`` and midpoint from 0 to 1. The same seed gives the same search. Needs
    scikit-learn (extra ``search-schedule``). ValueError as :func:`p_sigmoid`.
    """
    if not 1 <= random_trials <= trials:
        raise ValueError(f"random_trials is {random_trials} and trials {trials}; give 1 up to trials")
    trace, draw = Trace(evaluate), np.random.default_rng(seed)
    points: list[np.ndarray] = []
    values: list[float] = []

    def made(point: np.ndarray) -> KeepSchedule:
        return p_sigmoid(steepest * float(point[0]), float(point[1]), budget, shape)

    for number in range(trials):
        point = draw.random(2) if number < random_trials else _most_promising(points, values, draw)
        points.append(point)
        values.append(trace(made(point)))
    return made(points[int(np.argmax(values))]), trace


def _most_promising(
    points: Sequence[np.ndarray], values: Sequence[float], draw: np.random.Generator
) -> np.ndarray:
    """The candidate of largest expected improvement under a Gaussian process (Matérn 5/2).

    The process is over the ranks of the values as normal scores: a few bad trials would otherwise hide all
    differences between good ones.
    """
    from scipy.stats import norm, rankdata

    known = np.array(points)
    seen = norm.ppf((rankdata(values) - 0.5) / len(values))
    model = _gaussian_process(known, seen)
    best = known[int(np.argmax(seen))]
    near = np.clip(best + draw.normal(scale=0.05, size=(128, 2)), 0, 1)
    candidates = np.concatenate([draw.random((512, 2)), near])
    mean, deviation = model.predict(candidates, return_std=True)
    deviation = np.maximum(deviation, 1e-9)
    gain = mean - seen.max()
    improvement = gain * norm.cdf(gain / deviation) + deviation * norm.pdf(gain / deviation)
    return candidates[int(np.argmax(improvement))]


def _gaussian_process(points: np.ndarray, values: np.ndarray) -> Any:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    except ImportError:
        raise ImportError(
            "the search under a budget needs scikit-learn: pip install 'vitrail[search-schedule]'"
        ) from None
    import warnings

    lengths = Matern(length_scale=[0.3, 0.3], length_scale_bounds=(0.03, 3.0), nu=2.5)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * lengths + WhiteKernel(1e-4, (1e-7, 0.3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, random_state=0).fit(points, values)


def agreement(
    bundle: Bundle,
    chats: Sequence[Chat],
    *,
    root: Path | None = None,
    batch_size: int = 8,
    ranking: Any = "text",
) -> Evaluate:
    """A quality that needs no answers: how far next-token log-probabilities stay those of the whole model.

    Minus the mean Kullback–Leibler divergence from the model that keeps all, in nats, at the last prompt token of each
    of the calibration ``chats``. ValueError for none.
    """
    import torch

    from vitrail.inference.inputs import evaluating, model_inputs
    from vitrail.models.rules import applied
    from vitrail.models.rules.gsearch import keep_scheduled

    if not chats:
        raise ValueError("the calibration set is empty; give a few dozen chats with pictures")
    encoded = [bundle.encoder.encode(chat, add_generation_prompt=True, root=root) for chat in chats]
    batches = [
        bundle.collator("left")(encoded[begin : begin + batch_size])
        for begin in range(0, len(encoded), batch_size)
    ]

    def distributions(schedule: KeepSchedule) -> torch.Tensor:
        found = []
        rule = keep_scheduled(schedule.rates, ranking)
        for batch in batches:
            inputs = model_inputs(bundle.model, batch)
            layout = batch["layout"].to(inputs["input_ids"].device)
            with evaluating(bundle.model), applied(bundle.model, rule, layout):
                logits = bundle.model(**inputs, use_cache=False, logits_to_keep=1).logits
            found.append(logits[:, -1].float().log_softmax(-1).cpu())
        return torch.cat(found)

    whole: list[torch.Tensor] = []

    def evaluate(schedule: KeepSchedule) -> float:
        if not whole:
            from vitrail.models.rules.target import Target

            whole.append(distributions(everything(Target.of(bundle.model).num_layers)))
        divergence = (whole[0].exp() * (whole[0] - distributions(schedule))).sum(-1)
        return -float(divergence.mean())

    return evaluate
