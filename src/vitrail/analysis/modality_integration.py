"""The Modality Integration Rate (MIR): how far pictures lie from words inside a language model.

Huang et al., "Deciphering Cross-Modal Alignment in Large Vision-Language Models with Modality Integration Rate"
(arXiv 2410.07167). With the states ``V_l`` of a picture's tokens and ``T_l`` of the words of an unrelated text behind
it, at the layers 1 … L::

    V, T ← s V, s T        s = 1 / mean ‖t‖        (one factor for both: their relation stays)
    rows with |‖x‖ − median| > 3 sd ← the medians of each dimension, for V and T apart
    MIR = log10 Σ_l d²(V_l, T_l)                    (d² of vitrail.analysis.frechet)

Lower is closer. It is computed after a model's alignment stage, before its tuning, without training. Deviations: every
way to the matrix root here converges, so that all agree (the paper's "fast" mode is such an iteration). Their data are
TextVQA's pictures and stories of CNN / DailyMail; here they are anybody's. With fewer states than dimensions,
covariances are singular, and the value depends on how many there are: compare at equal ``n`` alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.analysis.frechet import Method, Moments, frechet_of_moments
from vitrail.analysis.hidden_states import (
    StateCollector,
    States,
    collect_hidden_states,
    collect_moments,
)
from vitrail.analysis.unrelated_texts import unrelated_pairs
from vitrail.data.records import Chat
from vitrail.data.sources import Source
from vitrail.inference.inputs import evaluating, model_inputs
from vitrail.models.bundle import Bundle
from vitrail.models.logits import logits_at, shifted

if TYPE_CHECKING:
    from vitrail.reporting.plots import Curves

OUTLIERS = 3.0
"""Standard deviations of the lengths beyond which a state is an outlier."""


@dataclass(frozen=True)
class LayerDistance:
    """One layer: the distance d², how many states of pictures and words, and the shares that were outliers."""

    distance: float
    vision_tokens: int
    text_tokens: int
    vision_outliers: float = 0.0
    text_outliers: float = 0.0


@dataclass(frozen=True)
class MIRResult:
    """``value`` is log10 of the sum over ``layers`` (−∞ where pictures and words are the same); ``notes`` say what
    limits it.
    """

    value: float
    layers: tuple[int, ...]
    per_layer: tuple[LayerDistance, ...]
    notes: tuple[str, ...] = ()

    @property
    def distances(self) -> tuple[float, ...]:
        """d² of each layer."""
        return tuple(layer.distance for layer in self.per_layer)

    @property
    def counts(self) -> tuple[int, int]:
        """States of pictures and of words."""
        return self.per_layer[0].vision_tokens, self.per_layer[0].text_tokens

    @property
    def outlier_rates(self) -> tuple[tuple[float, float], ...]:
        """For each layer the shares of pictures' and of words' states that were replaced."""
        return tuple((layer.vision_outliers, layer.text_outliers) for layer in self.per_layer)


@dataclass(frozen=True)
class Indicators:
    """What is known of a model before it is tuned: MIR, and loss (nats a token) and perplexity on its own data."""

    mir: float
    loss: float
    perplexity: float


def text_centric_scale(
    vision: Float[Tensor, "total dim"], text: Float[Tensor, "others dim"]
) -> tuple[Tensor, Tensor]:
    """Both, divided by the mean length of the text's. ValueError if all of those are zero."""
    mean = float(text.double().norm(dim=-1).mean())
    return vision * _inverse(mean), text * _inverse(mean)


def _inverse(mean: float) -> float:
    if not mean:
        raise ValueError("every text state is zero: there is no scale to measure pictures by")
    return 1 / mean


def replace_outliers(rows: Float[Tensor, "total dim"], k: float = OUTLIERS) -> tuple[Tensor, float]:
    """``rows`` with those of unusual length replaced by the medians of each dimension, and the share replaced.

    Unusual is more than ``k`` standard deviations (divisor n − 1) from the median length. A median of an even number
    is the lower of the two in the middle (torch's).
    """
    if not k > 0:
        raise ValueError(f"outliers is {k}; give a positive number of standard deviations, or None")
    lengths = rows.double().norm(dim=-1)
    far = (lengths - lengths.median()).abs() > k * lengths.std()
    replaced = torch.where(far[:, None], rows.median(dim=0).values, rows)
    return replaced, float(far.double().mean())


def layer_distance(
    vision: Float[Tensor, "total dim"],
    text: Float[Tensor, "others dim"],
    *,
    method: Method = "eig",
    normalise: bool = True,
    outliers: float | None = OUTLIERS,
) -> LayerDistance:
    """One layer's distance; ``normalise`` and ``outliers`` switch the two steps in front of it.

    ValueError for fewer than two states of a kind, different dimensions, or states that are not finite.
    """
    for name, rows in (("visual", vision), ("text", text)):
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} {name} states have no covariance; give at least 2")
    if vision.shape[-1] != text.shape[-1]:
        raise ValueError(
            f"visual states have {vision.shape[-1]} dimensions, text states {text.shape[-1]}; they must be of one layer"
        )
    for name, rows in (("visual", vision), ("text", text)):
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(f"a {name} state is NaN or infinite; look for the layer where that begins")
    if normalise:
        vision, text = text_centric_scale(vision, text)
    shares = [0.0, 0.0]
    if outliers is not None:
        vision, shares[0] = replace_outliers(vision, outliers)
        text, shares[1] = replace_outliers(text, outliers)
    distance = frechet_of_moments(Moments.of(vision), Moments.of(text), method)
    return LayerDistance(distance, len(vision), len(text), *shares)


def modality_integration_rate(
    states: Mapping[int, States],
    *,
    method: Method = "eig",
    normalise: bool = True,
    outliers: float | None = OUTLIERS,
    layers: Sequence[int] | None = None,
) -> MIRResult:
    """MIR of collected states (layer → visual and text states), over ``layers`` (default: all but 0).

    ValueError for a layer that is not there, and what :func:`layer_distance` refuses.
    """
    chosen = _chosen(layers, sorted(states))
    found = {
        layer: layer_distance(*states[layer], method=method, normalise=normalise, outliers=outliers)
        for layer in chosen
    }
    return _result(found, next(iter(states.values()))[0].shape[-1])


def measure(
    bundle: Bundle,
    source: Source,
    n: int = 100,
    *,
    texts: Source | Sequence[str] | None = None,
    seed: int = 0,
    method: Method = "eig",
    normalise: bool = True,
    outliers: float | None = OUTLIERS,
    layers: Sequence[int] | None = None,
    batch_size: int = 4,
    max_words: int = 400,
    max_bytes: float = 2e9,
) -> MIRResult:
    """MIR of a model over ``n`` pictures of ``source``, each with a text that has nothing to do with it.

    Args:
        bundle: a multimodal model.
        source: chats with pictures.
        n: how many pictures.
        texts: long texts, as strings or records (default: answers to other pictures of ``source``).
        seed: which pictures and texts, and which with which.
        method: of the matrix root.
        normalise: divide by the mean length of the text's states.
        outliers: standard deviations; None leaves outliers, and then no state is kept: one run, little memory.
        layers: of which layers (default: all but what enters the first).
        batch_size: records a forward.
        max_words: texts are cut behind so many words.
        max_bytes: what states kept at once may take. Layers that do not fit wait for another run over the records.

    ValueError if there are not ``n`` pictures or texts, for a model that takes none, or an unknown layer.
    """
    records = unrelated_pairs(source, n, texts=texts, seed=seed, max_words=max_words)
    encoded = [bundle.encoder.encode(record, root=source.root) for record in records]
    collector = StateCollector(bundle, batch_size)
    chosen = _chosen(layers, range(collector.num_layers() + 1))
    dim = bundle.model.config.get_text_config().hidden_size
    found: dict[int, LayerDistance] = {}
    if outliers is None:
        for layer, (vision, text) in collect_moments(collector, encoded, chosen).items():
            factor = _inverse(text.norms / max(text.count, 1)) if normalise else 1.0
            pair = [one.moments().scaled(factor) for one in (vision, text)]
            distance = frechet_of_moments(pair[0], pair[1], method)
            found[layer] = LayerDistance(distance, vision.count, text.count)
        return _result(found, dim)
    a_layer = 4.0 * dim * sum(record.length for record in encoded)
    at_once = max(1, int(max_bytes / a_layer))
    for begin in range(0, len(chosen), at_once):
        group = chosen[begin : begin + at_once]
        for layer, (seen, read) in collect_hidden_states(collector, encoded, group).items():
            found[layer] = layer_distance(seen, read, method=method, normalise=normalise, outliers=outliers)
    return _result(found, dim)


def indicators(
    bundle: Bundle, source: Source, n: int = 100, *, batch_size: int = 4, seed: int = 0
) -> Indicators:
    """MIR beside what people look at otherwise: loss and perplexity of the first ``n`` records' answers."""
    loss = answer_loss(bundle, source, n, batch_size=batch_size)
    return Indicators(
        measure(bundle, source, n, batch_size=batch_size, seed=seed).value, loss, math.exp(min(loss, 700.0))
    )


def answer_loss(bundle: Bundle, source: Source, n: int, *, batch_size: int = 4) -> float:
    """Mean negative log-likelihood of a labelled token over the chats among the first ``n`` records, in nats.

    ValueError where nothing is labelled.
    """
    chats = [record for index in range(min(n, len(source))) if isinstance(record := source[index], Chat)]
    encoded = [bundle.encoder.encode(chat, root=source.root) for chat in chats]
    collate, total, count = bundle.collator(), 0.0, 0
    for start in range(0, len(encoded), batch_size):
        batch = collate(encoded[start : start + batch_size])
        keep, targets = shifted(batch["labels"].to(bundle.device))
        with evaluating(bundle.model):
            output = logits_at(bundle.model, keep, **model_inputs(bundle.model, batch))
            losses = torch.nn.functional.cross_entropy(output.logits.float(), targets, reduction="none")
        total += float(losses.double().sum())
        count += len(targets)
    if not count:
        raise ValueError(f"the first {n} records of {source.name!r} have no answer to predict")
    return total / count


def curves(results: Mapping[str, MIRResult], title: str = "Distance of pictures from words") -> Curves:
    """A chart for reports: d² by layer, one line a model."""
    from vitrail.reporting.plots import Curves

    return Curves(
        title=title,
        series={name: (result.layers, result.distances) for name, result in results.items()},
        x_label="layer",
        y_label="Fréchet distance",
        log=True,
        note=" ".join(f"{name}: MIR {result.value:.3f}." for name, result in results.items()),
    )


def _chosen(layers: Sequence[int] | None, there: Sequence[int]) -> list[int]:
    chosen = [layer for layer in there if layer > 0] if layers is None else list(dict.fromkeys(layers))
    missing = [layer for layer in chosen if layer not in there]
    if missing:
        raise ValueError(
            f"layers holds {missing[0]}, which is not returned; there are {there[0]} to {there[-1]}"
        )
    if not chosen:
        raise ValueError("layers is empty; give at least one")
    return chosen


def _result(found: Mapping[int, LayerDistance], dim: int) -> MIRResult:
    per_layer = tuple(found.values())
    total = math.fsum(layer.distance for layer in per_layer)
    fewest = min(per_layer[0].vision_tokens, per_layer[0].text_tokens)
    notes: tuple[str, ...] = ()
    if fewest <= dim:
        notes = (
            f"{fewest} states have a singular covariance in {dim} dimensions: the value depends on n; compare it "
            "at equal n alone, or raise n",
        )
        warnings.warn(notes[0], stacklevel=3)
    value = math.log10(total) if total > 0 else -math.inf
    return MIRResult(value, tuple(found), per_layer, notes)
