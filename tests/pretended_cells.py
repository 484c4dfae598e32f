"""Cells of a comparison that cost nothing: scores that depend on what the real ones depend on."""

import numpy as np


def pretended(gain=0.1, noise=0.01, slow=1.0):
    """Cells that cost nothing: scores that depend on what the real ones depend on."""
    calls = []

    def run_cell(one, folder, threads=None, device="auto"):
        calls.append(one)
        generator = np.random.default_rng(int(one.identity, 16))
        factor = one.setting["factor"]
        score = 0.5 + gain * (one.arm == "wide") - 0.02 * abs(np.log(factor)) + generator.normal(0, noise)
        steps = one.recipe["stages"][0]["max_steps"]
        return {
            "score": float(score), "unit": "share right", "chance": 0.25,
            "by_kind": {"what": {"score": float(score), "n": 10}},
            "values": [float(score)] * 10, "ids": list("abcdefghij"), "clusters": list("abcdefghij"),
            "set_aside": 0, "asked_seconds": 1.0, "seconds": 2.0 + steps * slow, "train_seconds": steps * slow,
            "steps": steps, "samples": 8 * steps, "tokens": 80 * steps, "flops": 1e6 * steps, "parameters": 1000,
            "trained": 500, "loss": {"tune": 1.0}, "peak_bytes": 10**8, "probe": {}, "machine": "m", "commit": "c",
            "stages": {"tune": {"records": 16, "records_a_step": 8, "precision": "float32", "threads": 1,
                                "device": "cpu", "seconds_a_step": slow}},
        }  # fmt: skip

    run_cell.calls = calls
    return run_cell
