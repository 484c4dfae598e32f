"""Data made ready before a stage trains: tokens in shards, each written whole, so that a killed preparation goes on.

::

    prepared/<name>/prepared.json            what it was made from: data, settings, processor
    prepared/<name>/shard-<number>.safetensors

A run that finds such a folder reads its tokens from there, and refuses it where data, settings or processor are others
now. Pictures stay where they are: their features have a cache of their own (:mod:`vitrail.models.frozen`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.models.encoding import Encoded
from vitrail.storage import atomic

FOLDER, MANIFEST = "prepared", "prepared.json"
SHARD = 256
"""Records in a shard: how much work a killed preparation can lose."""

_COLUMNS = tuple(one.name for one in fields(Encoded) if one.name not in ("images", "root", "id", "meta"))
_SIZES = ((32, 32), (336, 336), (640, 480), (480, 640), (1280, 256), (256, 1280), (2048, 1536))


@dataclass(frozen=True)
class Outcome:
    """What became of a record: its ``rows`` of tokens and the turns cut from its end, or why it was set aside.

    ``long``: because it has too many tokens.
    """

    rows: tuple[Encoded, ...] = ()
    turns_cut: int = 0
    reason: str | None = None
    long: bool = False


class Prepared:
    """Outcomes of the records of ``source`` in ``folder``; those that are not there are computed, and kept.

    ``made_from``: plain values that the outcomes depend on. ValueError if the folder was made from others.
    ``writes``: whether what is computed is written (of several processes one writes).
    """

    def __init__(self, folder: Path, source: Any, made_from: dict[str, Any], *, writes: bool = True) -> None:
        self.folder, self.source, self.writes = folder, source, writes
        self.computed = 0
        self._waiting: dict[int, Outcome] = {}
        self._open: tuple[int, list[Outcome]] | None = None
        here = {"data": source.fingerprint, "records": len(source), **made_from}
        path = folder / MANIFEST
        if path.exists():
            self._check(json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(here)))
        elif writes:
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_json(path, here)
        if writes:
            atomic.sweep(folder)

    def _check(self, there: dict[str, Any], here: dict[str, Any]) -> None:
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise ValueError(
                    f"{self.folder} was prepared from another {name} than there is now; set it back, or remove the "
                    "folder (and run vitrail prepare again)"
                )

    def __call__(self, number: int, compute: Callable[[int], Outcome]) -> Outcome:
        """What became of record ``number``. Records are asked for in rising order."""
        shard = number // SHARD
        if self._open is None or self._open[0] != shard:
            path = self._path(shard)
            self._open = (shard, self._read(path, shard * SHARD)) if path.exists() else (shard, [])
        if known := self._open[1]:
            return known[number - shard * SHARD]
        outcome = compute(number)
        self.computed += 1
        self._waiting[number] = outcome
        if number + 1 == min((shard + 1) * SHARD, len(self.source)):
            if self.writes:
                self._write(shard)
            self._waiting.clear()
        return outcome

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}.safetensors"

    def _write(self, shard: int) -> None:
        from safetensors.numpy import save

        outcomes = [self._waiting[number] for number in sorted(self._waiting)]
        rows = [row for outcome in outcomes for row in outcome.rows]
        arrays = {
            name: np.concatenate([getattr(row, name) for row in rows])
            if rows
            else np.zeros(0, dtype=np.int64)
            for name in _COLUMNS
        }
        told = [
            [[[row.length, len(row.images)] for row in one.rows], one.turns_cut, one.reason, one.long]
            for one in outcomes
        ]
        with atomic.new_file(self._path(shard)) as file:
            file.write(save(arrays, metadata={"outcomes": json.dumps(told)}))

    def _read(self, path: Path, first: int) -> list[Outcome]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                told = json.loads(file.metadata()["outcomes"])
                arrays = {name: file.get_tensor(name) for name in _COLUMNS}
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            raise ValueError(f"{path} is damaged; remove it, and it is prepared again") from None
        begin, found = 0, []
        for place, (shapes, turns_cut, reason, long) in enumerate(told):
            rows = []
            record = self.source[first + place] if shapes else None
            for length, images in shapes:
                columns = {name: array[begin : begin + length] for name, array in arrays.items()}
                rows.append(_encoded(columns, record, images, self.source.root))
                begin += length
            found.append(Outcome(tuple(rows), turns_cut, reason, long))
        return found


def _encoded(columns: dict[str, np.ndarray], record: Any, images: int, root: Path | None) -> Encoded:
    chat = record.kind == "chat"
    return Encoded(
        **columns,
        images=tuple(record.images[:images]) if chat else (),
        root=root if chat else None,
        id=record.id,
        meta=record.meta,
    )


def processor_fingerprint(bundle: Any) -> str:
    """A hash of what makes tokens of a record: tokenizer, chat template, and what pictures of some sizes become."""
    from vitrail.models.frozen import plain_settings
    from vitrail.models.tokenising import written_whole
    from vitrail.storage.cache import key

    encoder = bundle.encoder
    tokenizer = encoder.tokenizer
    words = written_whole(tokenizer)
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id, encoder.image_token_id, encoder.end_of_turn]
    pictures = plain_settings(getattr(bundle.processor, "image_processor", None))
    plans = [_plan(encoder.planner, size) for size in _SIZES] if encoder.planner is not None else []
    return key("processor", words, special, encoder.chat_template, pictures, plans)


def _plan(planner: Any, size: tuple[int, int]) -> list[Any]:
    from vitrail.data.image_plans.plan import Marker, plans_of

    try:
        spans = plans_of(planner, [size])[0].spans
    except ValueError as refused:
        return [str(refused)]
    return [span.text if isinstance(span, Marker) else np.asarray(span.coords).tolist() for span in spans]
