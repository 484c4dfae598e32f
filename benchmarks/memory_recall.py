"""How long a memory takes to be asked, and whether it finds, from 10 to 100,000 concepts. Prints JSON.

    OMP_NUM_THREADS=1 python benchmarks/memory_recall.py [--sizes 10 100 1000 10000 100000] [--dim 768]

Concepts are unit vectors drawn at random; a query is one of them with noise of ``--noise`` times its length in all.
``found``: the share of queries whose concept is nearest (chance falls as the memory grows). ``ask_ms``: one query,
median of ``--queries``, once the vectors are in memory; ``open_s``: opening and the first query; ``edit_ms``: an entry
replaced, and the next query (median of five); ``forget_ms``: an entry gone, to the byte. ``flat_ms`` is a bare product
in numpy with the same vectors, so that ``ask_ms / flat_ms`` is what the store adds. Writes wait for the disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.storage.memories import MemoryStore


def drawn(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    rows = rng.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(path: Path, size: int, dim: int, queries: int, noise: float) -> dict[str, float]:
    rng = np.random.default_rng(size)
    rows = drawn(rng, size, dim)

    def fill(store: MemoryStore) -> None:
        store.declare("pictures", dim, "benchmark")
        with store.batch():
            for number, row in enumerate(rows):
                store.put(str(number), {"name": f"concept {number}"}, None, {"pictures": row})

    with MemoryStore(path, writing=True) as store:
        filled = seconds(lambda: fill(store))
    chosen = rng.integers(size, size=queries)
    asked = rows[chosen] + noise * drawn(rng, queries, dim)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)

    def first() -> None:
        with MemoryStore(path) as reader:
            reader.nearest("pictures", asked[0], 2)

    opened = seconds(first)
    with MemoryStore(path, writing=True) as store:
        store.nearest("pictures", asked[0], 2)
        times, right = [], 0
        for query, truth in zip(asked, chosen, strict=True):
            start = time.perf_counter()
            (found,) = store.nearest("pictures", query, 2)
            times.append(time.perf_counter() - start)
            right += found[0].key == str(truth)
        flat = [seconds(lambda query=query: np.argmax(rows @ query)) for query in asked]

        def edit(number: int) -> None:
            store.put(str(number), {"name": "edited"}, None, {"pictures": rows[number]})
            store.nearest("pictures", asked[0], 2)

        edits = [seconds(lambda number=number: edit(number)) for number in range(5)]
        forgot = [seconds(lambda number=number: store.forget(str(number))) for number in range(5)]
    return {
        "found": right / queries,
        "ask_ms": round(1000 * statistics.median(times), 3),
        "flat_ms": round(1000 * statistics.median(flat), 3),
        "open_s": round(opened, 3),
        "fill_s": round(filled, 2),
        "edit_ms": round(1000 * statistics.median(edits), 1),
        "forget_ms": round(1000 * statistics.median(forgot), 1),
        "bytes": path.stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--noise", type=float, default=5.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            size: measured(Path(folder) / f"memory-{size}", size, args.dim, args.queries, args.noise)
            for size in args.sizes
        }
    print(json.dumps({"dim": args.dim, "noise": args.noise, "sizes": found}, indent=2))


if __name__ == "__main__":
    main()
