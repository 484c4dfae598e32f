"""Seconds of one layer's distance in the Modality Integration Rate, by way to the matrix root and width. Prints JSON.

    python benchmarks/mir.py [--widths 128 256 576] [--rows 2000] [--threads 1] [--repeats 2] [--device cpu]

Planted states: ``rows`` visual and as many text ones of two Gaussians, float32 as a model gives them; distances are
computed in float64. ``outliers`` is the step before; ``moments`` the means and covariances, which every way needs.
``value`` lets the ways be compared. With one thread on a CPU, seconds are of the process's own time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, get_args


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 576])
    parser.add_argument("--device", default="cpu")
    for name, default in (("rows", 2000), ("threads", 1), ("repeats", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()

    import torch

    from vitrail.analysis.frechet import Method, Moments, frechet_of_moments
    from vitrail.analysis.modality_integration import replace_outliers

    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clock = time.process_time if options.threads == 1 and device.type == "cpu" else time.perf_counter

    def timed(action: Callable[[], Any]) -> tuple[float, Any]:
        best, result = float("inf"), None
        for _ in range(options.repeats):
            begin = clock()
            result = action()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, clock() - begin)
        return round(best, 4), result

    found: dict[str, Any] = {}
    for width in options.widths:
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(width, width, generator=generator) / width**0.5 + torch.eye(width)
        vision = (torch.randn(options.rows, width, generator=generator) * 1.5 + 0.1).to(device)
        text = (torch.randn(options.rows, width, generator=generator) @ mix).to(device)
        outliers, _ = timed(lambda: (replace_outliers(vision), replace_outliers(text)))  # noqa: B023
        seconds, pair = timed(lambda: (Moments.of(vision), Moments.of(text)))  # noqa: B023
        row: dict[str, Any] = {"outliers_s": outliers, "moments_s": seconds}
        for method in get_args(Method):
            spent, value = timed(lambda: frechet_of_moments(*pair, method))  # noqa: B023
            row[method] = {"seconds": spent, "value": round(value, 6)}
        found[str(width)] = row
    print(json.dumps({**vars(options), "widths": found}, indent=2))


if __name__ == "__main__":
    main()
