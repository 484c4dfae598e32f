"""Files of records in everybody's formats and containers. :func:`open_source` reads one; :func:`write_jsonl`,
:func:`write_parquet` and :func:`convert` write one.
"""

from __future__ import annotations

from vitrail.data.readers.convert import convert
from vitrail.data.readers.json_array import JsonArraySource
from vitrail.data.readers.jsonl import JsonlSource
from vitrail.data.readers.opening import open_source
from vitrail.data.readers.parquet import ParquetSource
from vitrail.data.readers.problems import RecordError
from vitrail.data.readers.row_source import RowSource
from vitrail.data.readers.writing import write_jsonl, write_parquet

__all__ = [
    "JsonArraySource",
    "JsonlSource",
    "ParquetSource",
    "RecordError",
    "RowSource",
    "convert",
    "open_source",
    "write_jsonl",
    "write_parquet",
]
