"""A frozen model that runs beside the one that trains, on the same batch.

It is loaded when it is first asked, stands in evaluation mode, never sees a gradient, is no part of the objective's
parameters (so that no checkpoint holds it and no optimiser knows it), and can leave memory in the middle of a stage.

**The same tokens.** :mod:`vitrail.objectives.alignment` checks that both models cut texts and pictures alike. The
teacher gets the student's tokens, with its own placeholder where a picture stands. Pictures are shared where both
models see them alike (one image processor, or stored features of one tower); otherwise the collator prepares them for
the teacher, too. A teacher that takes no pictures reads the words alone, and is asked at words alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from torch import Tensor, nn

from vitrail.objectives.alignment import Aligned, Reader, align
from vitrail.objectives.forward import FOR_TEACHERS, Batch, Needs, Seen, look

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


class TeacherConfig(BaseModel):
    """Where a teacher comes from, in one of three ways.

    ``path``: a model's folder, a run's, or a hub name. ``recipe``: a recipe (shipped name, file, or its fields) that
    is run once and kept by its content. ``times``: the model of this recipe, trained by its own stages so many times as
    long without a teacher (2: twice as long; 0.25: a weaker one). ``dtype``: of its weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str | None = Field(default=None, min_length=1)
    recipe: str | dict[str, Any] | None = None
    times: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _by_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> TeacherConfig:
        given = [name for name in ("path", "recipe", "times") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"both {given[0]} and {given[1]}" if given else "none"
            raise ValueError(f"a teacher is named by one of path, recipe and times, and here is {found}")
        return self


NamedTeacher = Annotated[
    TeacherConfig, WithJsonSchema({"anyOf": [{"type": "string"}, TeacherConfig.model_json_schema()]})
]
"""A teacher in an objective's ``Config``: its path alone, or the fields of :class:`TeacherConfig`."""


class Teacher:
    """A frozen model beside the student's bundle.

    ``opened`` gives the teacher's bundle when it is needed, as often as it is asked. ``student`` is the bundle that
    trains; None for a student that is fed the teacher's own batches. ``name`` is for messages.
    """

    def __init__(
        self, opened: Callable[[], Bundle], student: Bundle | None = None, name: str = "teacher"
    ) -> None:
        self.name, self.calls = name, 0
        self._opened, self._student = opened, student
        self._bundle: Bundle | None = None
        self._aligned: Aligned | None = None
        self._feeds: Callable[[Sequence[Any]], dict[str, Tensor]] | None = None
        self._arguments: tuple[str, ...] = ()
        self._prefix = f"{FOR_TEACHERS}0."

    @classmethod
    def of(cls, bundle: Bundle, student: Bundle | None = None) -> Teacher:
        """A teacher that is loaded already."""
        return cls(lambda: bundle, student, bundle.name)

    @property
    def present(self) -> bool:
        """Whether its weights are in memory."""
        return self._bundle is not None

    @property
    def bundle(self) -> Bundle:
        """The model with what feeds it; loaded now if it was not. ValueError if it does not go with the student."""
        if self._bundle is None:
            with torch.random.fork_rng(devices=[]):
                bundle = self._opened()
            bundle.model.requires_grad_(False)
            bundle.model.eval()
            self._aligned = self._align(bundle)
            self._share(bundle)
            self._bundle = bundle
        return self._bundle

    @property
    def model(self) -> nn.Module:
        """The frozen model."""
        model: nn.Module = self.bundle.model
        return model

    @property
    def vocabulary(self) -> int:
        """How many words both know: the first so many."""
        return self._known.vocabulary

    @property
    def text_alone(self) -> bool:
        """Whether it reads words alone beside a student that sees pictures."""
        return self._known.text_alone

    @property
    def _known(self) -> Aligned:
        _ = self.bundle
        assert self._aligned is not None
        return self._aligned

    def release(self) -> None:
        """Leave memory. It is loaded again if it is asked again."""
        self._bundle = None

    def _align(self, bundle: Bundle) -> Aligned:
        own = Reader.of(bundle.encoder)
        other = own if self._student is None else Reader.of(self._student.encoder)
        try:
            return align(other, own)
        except ValueError as error:
            raise ValueError(f"teacher {self.name}: {error}") from None

    def _share(self, bundle: Bundle) -> None:
        """Decide what the teacher's pictures are read from."""
        rules = bundle.family.pixels
        self._arguments, self._feeds = rules.arguments, None
        if self._student is None or bundle.encoder.planner is None:
            return
        theirs = self._student.vision
        if hasattr(theirs, "tower"):
            if _same_tower(bundle, self._student):
                self._arguments = ("vision_features",)
                return
        elif rules == self._student.family.pixels and _settings(bundle.vision) == _settings(theirs):
            return
        self._feeds = _Feeds(bundle)

    def feed(self, collator: Any, slot: int = 0) -> None:
        """Let a :class:`~vitrail.models.batches.Collator` of the student's also prepare what the teacher needs.

        ``slot`` tells the teachers of one stage apart.
        """
        _ = self.bundle
        if self._feeds is None:
            return
        self._prefix = f"{FOR_TEACHERS}{slot}."
        before, feeds, prefix = collator.from_records, self._feeds, self._prefix

        def both(records: Sequence[Any]) -> dict[str, Tensor]:
            found = before(records) if before is not None else {}
            own = feeds(records)
            return {**found, **{f"{prefix}{name}": value for name, value in own.items()}}

        collator.from_records = both

    def readable(self, batch: Batch) -> Bool[Tensor, "batch tokens"]:
        """Where the teacher can be asked: everywhere, or for one without pictures at words that it knows."""
        present: Tensor = batch["attention_mask"].bool()
        if not self.text_alone:
            return present
        return present & ~batch["layout"].visual & (batch["input_ids"] < self._width)

    @property
    def _width(self) -> int:
        return int(self.bundle.model.get_input_embeddings().weight.shape[0])

    @torch.no_grad()
    def look(self, batch: Batch, needs: Needs) -> Seen:
        """What the teacher gives on ``batch``, without gradients, at positions that it can read.

        ValueError where it stands in training mode, or gives a logit that is not a number.
        """
        model = self.model
        if model.training:
            raise ValueError(
                f"teacher {self.name} is in training mode, so its answers are random; call eval()"
            )
        device = batch["input_ids"].device
        if next(model.parameters()).device != device:
            model.to(device)
        self.calls += 1
        if self.text_alone:
            seen = self._words_alone(batch, needs)
        else:
            seen = look(model, self._batch(batch), needs)
        if needs.logits is not None and bool(torch.isnan(seen.logits(needs.logits)).any()):
            raise ValueError(
                f"teacher {self.name} gives logits that are not numbers; look at its weights and dtype"
            )
        return seen

    def _batch(self, batch: Batch) -> dict[str, Any]:
        bundle, layout = self.bundle, batch.get("layout")
        found = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
        if layout is None:  # a batch that was put together by hand: the student's own arguments
            return {name: value for name, value in batch.items() if not name.startswith(FOR_TEACHERS)}
        if int(layout.segment.max()) > 0:
            raise ValueError(
                f"rows hold several records, and teacher {self.name} would read across them; train without packing"
            )
        placeholder = bundle.encoder.image_token_id
        if placeholder is not None:
            found["input_ids"] = found["input_ids"].masked_fill(layout.visual, placeholder)
        if self._feeds is None:
            found |= {name: batch[name] for name in self._arguments if name in batch}
        else:
            found |= {
                name.removeprefix(self._prefix): value
                for name, value in batch.items()
                if name.startswith(self._prefix)
            }
        if bundle.family.further is not None:
            found |= bundle.family.further(layout)
        return {**found, "layout": layout}

    def _words_alone(self, batch: Batch, needs: Needs) -> Seen:
        """The rows without what the teacher does not know, closed up; what is seen comes in the same order."""
        kept = self.readable(batch)
        most = max(int(kept.sum(1).max()), 1)
        index = (~kept).long().argsort(dim=1, stable=True)[:, :most]
        mask = kept.gather(1, index)

        def closed(at: Tensor | None) -> Tensor | None:
            assert at is None or not bool((at & ~kept).any()), "a teacher without pictures was asked at one"
            return None if at is None else at.gather(1, index) & mask

        words = batch["input_ids"].gather(1, index).masked_fill(~mask, 0)
        own = Needs(closed(needs.logits), closed(needs.states), closed(needs.embeddings))
        seen = look(self.model, {"input_ids": words, "attention_mask": mask.long()}, own)
        return seen.at(needs)

    def mark(self) -> int:
        """A number that tells this teacher's weights from others', for stages that go on another day."""
        import hashlib

        digest = hashlib.sha256()
        for name, parameter in self.model.named_parameters():
            flat = parameter.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // 1024)].float().cpu().numpy()
            digest.update(f"{name} {tuple(parameter.shape)} ".encode() + sample.tobytes())
        return int.from_bytes(digest.digest()[:7], "big")


class _Feeds:
    """A teacher's own arguments for the records of a batch; holds no weights, so that workers can have it."""

    def __init__(self, bundle: Bundle) -> None:
        from vitrail.models.surgery import operating

        self.vision = bundle.vision
        self.surgeries = [(surgery, record) for _, surgery, record in operating.done(bundle.model.config)]

    def __call__(self, records: Sequence[Any]) -> dict[str, Tensor]:
        pictures = [(image, record.root) for record in records for image in record.images]
        found = dict(self.vision(pictures, [len(record.images) for record in records]))
        for surgery, record in self.surgeries:
            found |= surgery.batch_inputs(records, record)
        return found


def _settings(vision: Any) -> Mapping[str, Any] | None:
    processor = getattr(vision, "image_processor", None)
    described: Mapping[str, Any] | None = None if processor is None else processor.to_dict()
    return described


def _same_tower(bundle: Bundle, student: Bundle) -> bool:
    """Whether stored features of the student's tower are the teacher's, too."""
    from vitrail.models.frozen import weights_fingerprint

    own: nn.Module | None = getattr(bundle.model, "tower", None)
    if own is None or _settings(bundle.vision) != _settings(student.vision):
        return False
    return weights_fingerprint(own) == weights_fingerprint(student.model.tower)
