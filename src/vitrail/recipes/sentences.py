"""Texts and translations as what a masked encoder trains on, and who says where their entities are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vitrail.data.entities import Entity, of_meta
from vitrail.recipes.encoded_list import EncodedList

if TYPE_CHECKING:
    from vitrail.models.sentences import EncodedSentence
    from vitrail.objectives.objective import Objective


class SentenceRecords(EncodedList["EncodedSentence"]):
    """The texts and pairs of a source; a longer one is cut, of a pair the longer side first."""

    what = "sentences"
    lacking = "no text to read"

    def _encode(self, record: Any) -> EncodedSentence:
        sentence: EncodedSentence = self.encoder.encode(record, root=self.source.root)
        return sentence

    def pictures(self) -> list[Any]:
        """None."""
        return []


class Annotation:
    """The entities of records, each text asked about once."""

    def __init__(self, tagger: Any) -> None:
        self.tagger = tagger
        self._known: dict[str, list[Entity]] = {}

    def __call__(self, sentence: EncodedSentence) -> list[list[Entity]]:
        """Of each of a record's texts. ValueError where the data should say so and does not."""
        if getattr(self.tagger, "from_records", False):
            pair = len(sentence.texts) > 1
            found = [
                of_meta(sentence.meta, n if pair else None, text) for n, text in enumerate(sentence.texts)
            ]
            if any(one is None for one in found):
                self.tagger.entities(sentence.texts)
            return [one or [] for one in found]
        self.prepare([sentence])
        return [self._known[text] for text in sentence.texts]

    def prepare(self, sentences: Sequence[EncodedSentence]) -> None:
        """Ask about every text that is not known yet, all at once."""
        if getattr(self.tagger, "from_records", False):
            return
        texts = dict.fromkeys(text for one in sentences for text in one.texts)
        wanted = [text for text in texts if text not in self._known]
        if wanted:
            self._known |= dict(zip(wanted, self.tagger.entities(wanted), strict=True))


def annotate(objective: Objective, collator: Any, records: Any, note: Callable[[str], None]) -> None:
    """Give ``collator`` the tagger that ``objective`` (or a part of a sum) asks for, and say what it finds.

    ValueError where records cannot be annotated, or where nothing in them is an entity.
    """
    from vitrail.models.sentences import columns

    parts: list[Any] = [one for one in objective.modules() if hasattr(one, "annotator")]
    if not parts or not hasattr(collator, "annotate"):
        return
    annotation = Annotation(parts[0].annotator())
    annotation.prepare(records)
    counts: Counter[str] = Counter()
    tokens = lost = 0
    for number, sentence in enumerate(records):
        try:
            found = annotation(sentence)
        except ValueError as error:
            raise ValueError(f"record {sentence.id or number}: {error}") from None
        counts.update(entity.type for side in found for entity in side)
        here = int(columns(sentence, found)[0].max(initial=-1)) + 1
        lost += sum(map(len, found)) - here
        tokens += sentence.labelled
    if not counts:
        raise ValueError(
            "the tagger finds no entity in any text, so that nothing would be learnt; check its settings"
        )
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    note(f"entities: {told} in {tokens:,} tokens; {lost:,} lost to cuts")
    collator.annotate = annotation
