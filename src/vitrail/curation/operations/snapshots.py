"""Pages that are there again in another snapshot of a crawl: by their texts, and by their address.

As InfiMM-WebMath (arXiv 2409.12568): near duplicates inside each snapshot, then between neighbouring snapshots and
never over the whole crawl; equal addresses inside a year, of which the most recent copy stays. Signatures are FineWeb's
(five words, 14 bands of 8 rows, a similarity of about 0.75); that the paper kept these figures is not verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from vitrail.curation.operations.duplicates import NearDuplicates
from vitrail.curation.operations.operation import CorpusOperation, OperationConfig, Outcome, dropped
from vitrail.data.records import Document


def snapshot_of(document: Document, field: str, characters: int | None) -> str:
    """The snapshot that ``meta[field]`` names, or its first characters. ValueError where it names none."""
    value = document.meta.get(field)
    if value in (None, ""):
        raise ValueError(f"meta.{field} is missing, so its snapshot is unknown; name another field")
    return str(value)[:characters]


class SnapshotDuplicates(NearDuplicates):
    """Documents alike to one kept in their snapshot, or in one of the ``neighbours`` before it.

    Of two alike in one snapshot the first in the corpus's order stays, of two in neighbouring ones the earlier.
    """

    class Config(NearDuplicates.Config):
        """``field`` of ``meta`` and how many ``characters`` of it name a snapshot: by default the month of a page's
        date; ``order``: the snapshots from old to new (default: as their names sort).
        """

        threshold: float = Field(default=0.75, gt=0, le=1)
        slack: float = Field(default=0.05, ge=0, lt=1)
        bands: int = Field(default=14, ge=1)
        rows: int = Field(default=8, ge=1)
        ngrams: tuple[int, ...] = Field(default=(5,), min_length=1)
        unit: Literal["characters", "words"] = "words"
        field: str = "date"
        characters: int | None = Field(default=7, ge=1)
        order: tuple[str, ...] = ()
        neighbours: int = Field(default=1, ge=0)

    config: Config

    def sketch_schema(self) -> Any:
        """Language, signature and snapshot."""
        import pyarrow as pa

        return super().sketch_schema().append(pa.field("snapshot", pa.string()))

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        snapshot = snapshot_of(document, self.config.field, self.config.characters)
        return {**super().sketch(document), "snapshot": snapshot}

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """The position of the kept document that is alike, for each one that goes."""
        names = sorted({sketch["snapshot"] for sketch in sketches})
        order = list(self.config.order) or names
        unknown = [name for name in names if name not in order]
        if unknown:
            raise ValueError(
                f"snapshot_duplicates.order: there is no snapshot {unknown[0]!r} in it; add it in its place"
            )
        recent: list[_Snapshot] = []
        decisions: dict[int, int] = {}
        for name in order:
            here = _Snapshot(self.config)
            for place, sketch in enumerate(sketches):
                if sketch["snapshot"] != name or not sketch["signature"]:
                    continue
                alike = next(
                    (found for one in [here, *recent] if (found := one.alike(sketch)) is not None), None
                )
                if alike is None:
                    here.keep(place, sketch)
                else:
                    decisions[place] = alike
            recent = [here, *recent][: self.config.neighbours]
        return decisions

    def apply(self, document: Document, decision: Any) -> Outcome:
        """Dropped."""
        return dropped("near duplicate in a neighbouring snapshot")


class _Snapshot:
    """Signatures of the documents kept in one snapshot, by band."""

    def __init__(self, config: SnapshotDuplicates.Config) -> None:
        self.limit = config.threshold - config.slack
        self.bands, self.width = config.bands, config.rows * 4
        self.tables: dict[tuple[str, int, bytes], list[int]] = {}
        self.kept: dict[int, np.ndarray] = {}

    def _keys(self, sketch: dict[str, Any]) -> list[tuple[str, int, bytes]]:
        raw, width = sketch["signature"], self.width
        return [
            (sketch["language"], band, raw[band * width : (band + 1) * width]) for band in range(self.bands)
        ]

    def alike(self, sketch: dict[str, Any]) -> int | None:
        """The first document kept here that is alike, or None."""
        signature = np.frombuffer(sketch["signature"], dtype="<u4")
        candidates = sorted({one for key in self._keys(sketch) for one in self.tables.get(key, ())})
        return next((one for one in candidates if (self.kept[one] == signature).mean() >= self.limit), None)

    def keep(self, place: int, sketch: dict[str, Any]) -> None:
        """Remember a document that stays."""
        self.kept[place] = np.frombuffer(sketch["signature"], dtype="<u4")
        for key in self._keys(sketch):
            self.tables.setdefault(key, []).append(place)


class RepeatedAddresses(CorpusOperation):
    """Of documents with one address, in one year, the most recent stays; of equal dates the last one."""

    class Config(OperationConfig):
        """``address`` and ``date``: fields of ``meta``, ISO dates; ``within``: how many characters of the date must
        be equal (4: the year; 0: at any time). Documents without an address stay.
        """

        address: str = "url"
        date: str = "date"
        within: int = Field(default=4, ge=0)

    config: Config

    def sketch_schema(self) -> Any:
        """Address and date."""
        import pyarrow as pa

        return pa.schema([("address", pa.string()), ("date", pa.string())])

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        values = (document.meta.get(self.config.address), document.meta.get(self.config.date))
        address, date = ("" if value is None else str(value) for value in values)
        return {"address": address, "date": date}

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """The position of the copy that stays, for each one that goes."""
        latest: dict[tuple[str, str], tuple[str, int]] = {}
        for place, sketch in enumerate(sketches):
            if sketch["address"]:
                name = (sketch["address"], sketch["date"][: self.config.within])
                latest[name] = max(latest.get(name, ("", -1)), (sketch["date"], place))
        decisions: dict[int, int] = {}
        for place, sketch in enumerate(sketches):
            stays = latest.get((sketch["address"], sketch["date"][: self.config.within]), ("", place))[1]
            if stays != place:
                decisions[place] = stays
        return decisions

    def apply(self, document: Document, decision: Any) -> Outcome:
        """Dropped."""
        return dropped("older copy of an address")
