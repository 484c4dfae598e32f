"""Ranking by likeness: a dual encoder's answer to a question with options, and retrieval as such a question.

The inferencer ``similarity`` ranks the options by the model's logits for the picture, ``exp(s) · cos(picture, option)``
plus b (CLIP's zero-shot classification, Radford et al., arXiv 2103.00020). The question's own words are not read: an
option must say by itself what the picture would have to show. ``among: all`` turns pairs of picture and text into
retrieval: the options of every question are all the different texts of the source, so that accuracy is R@1 from picture
to text and chance is one over their number. (:mod:`vitrail.evaluation.retrieval` has R@k in both directions.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.task import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from vitrail.models.bundle import Bundle

DIGITS = 6
TIE = 1e-5


@dataclass(frozen=True)
class AskedPicture:
    """A picture and the texts that it is held against."""

    image: Image
    root: Path | None
    options: tuple[str, ...]


class Similarity:
    """Rank the options by how alike picture and option are."""

    gives = "ranking"

    class Config(Settings):
        """``among``: the question's own ``options``, or ``all`` texts of a source of pairs (see
        :class:`EveryText`, which the recipe puts around the source).
        """

        among: Literal["options", "all"] = "options"

    def __init__(self, config: Config) -> None:
        self.config = config

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> AskedPicture:
        """Picture and options. ValueError for no options, another number of pictures than one, or a model that is no
        dual encoder.
        """
        if bundle.family.kind != "dual encoder":
            raise ValueError(
                f"inferencer 'similarity' needs a dual encoder, and this model is a {bundle.family.kind} one; use "
                "'likelihood'"
            )
        if not prompt.options:
            raise ValueError("has no options to rank; use among: all for pairs of picture and text")
        images = prompt.chat.images
        if len(images) != 1:
            raise ValueError(f"has {len(images)} pictures; a dual encoder sees one")
        return AskedPicture(images[0], root, tuple(prompt.beginning + option for option in prompt.options))

    def ask(self, bundle: Bundle, asked: list[AskedPicture], batch_size: int) -> list[dict[str, Any]]:
        """For each: the ``values`` ranked by, ``choice``, ``margin``, ``tie``. Options within 1e-5 are tied."""
        import torch

        texts = list(dict.fromkeys(text for one in asked for text in one.options))
        place = {text: index for index, text in enumerate(texts)}
        y = _embedded(texts, batch_size, lambda some: _texts(bundle, some))
        x = _embedded(asked, batch_size, lambda some: _pictures(bundle, some))
        model = bundle.model
        with torch.inference_mode():
            logits = x @ y.T * model.logit_scale.float().exp().cpu()
            if getattr(model, "logit_bias", None) is not None:
                logits = logits + model.logit_bias.float().cpu()
        return [
            ranked([float(row[place[text]]) for text in one.options])
            for row, one in zip(logits, asked, strict=True)
        ]

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """Nothing beyond the settings."""
        return {}


def ranked(values: list[float]) -> dict[str, Any]:
    """What an answers file keeps of options ranked by ``values``; those within 1e-5 are tied."""
    top = max(values)
    close = [index for index, value in enumerate(values) if top - value < TIE]
    second = sorted(values)[-2] if len(values) > 1 else top
    return {
        "values": [round(value, DIGITS) for value in values],
        "choice": close[0],
        "margin": round(top - second, DIGITS),
        "tie": len(close) > 1,
    }


def _embedded(items: Sequence[Any], batch_size: int, embed: Any) -> Tensor:
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        parts = [embed(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]
        return F.normalize(torch.cat(parts).float(), dim=-1).cpu()


def _texts(bundle: Bundle, texts: Sequence[str]) -> Tensor:
    from vitrail.models.experts.clip_scorer import text_inputs

    device = bundle.device
    inputs = text_inputs(bundle.model, bundle.tokenizer, texts, bundle.encoder.max_length)
    output = bundle.model.get_text_features(**{name: value.to(device) for name, value in inputs.items()})
    return output.pooler_output if hasattr(output, "pooler_output") else output


def _pictures(bundle: Bundle, asked: Sequence[AskedPicture]) -> Tensor:
    inputs = bundle.vision([(one.image, one.root) for one in asked], [1] * len(asked))
    output = bundle.model.get_image_features(
        **{name: value.to(bundle.device) for name, value in inputs.items()}
    )
    return output.pooler_output if hasattr(output, "pooler_output") else output


class EveryText:
    """A source of pairs as questions: which of all the different texts belongs to this picture?

    Equal texts are one option. The question has the pair's picture alone. ValueError for fewer than two texts, or a
    record that is no pair (:func:`vitrail.models.pairs.pair_of` says what one is).
    """

    def __init__(self, source: Any) -> None:
        from vitrail.models.pairs import pair_of

        self.source, self.root = source, source.root
        self._pairs = [pair_of(record) for record in source]
        self.texts = list(dict.fromkeys(text for _, text in self._pairs))
        if len(self.texts) < 2:
            raise ValueError(
                f"{source.name} has {len(self.texts)} different texts; retrieval needs 2 or more"
            )
        self._options = tuple((Text(text=text),) for text in self.texts)
        self._place = {text: index for index, text in enumerate(self.texts)}

    @property
    def name(self) -> str:
        """For logs and reports."""
        return f"{self.source.name}/retrieval"

    @property
    def fingerprint(self) -> str:
        """Of the pairs, and of being asked so."""
        from vitrail.storage.cache import key

        return key("every-text", self.source.fingerprint)

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Chat:
        record, (image, text) = self.source[index], self._pairs[index]
        question = Message(role="user", content=(image, Text(text="Which text belongs to this picture?")))
        meta = {name: record.meta[name] for name in ("picture", "names") if name in record.meta}
        return Chat(
            id=record.id,
            messages=(question,),
            choices=Choices(options=self._options, answer=self._place[text]),
            meta={**meta, "kind": "retrieval"},
        )
