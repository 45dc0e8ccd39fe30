"""Measure how the time of a call grows with the number of steps and with the batch.

    python benchmarks/growth.py

The script prints Markdown rows with the time of a call and the time of one step of one sequence.
"""

from __future__ import annotations

import argparse

import numpy as np

import rnnfast
from rnnfast.benchmark.timing import measure, timer

STEPS = (1, 10, 100, 1_000, 10_000, 100_000)
BATCHES = (1, 4, 16, 64, 256, 1024)


def row(cell: str, T: int, B: int, size: int, seconds: float) -> str:
    """Measure inference, training and training with recomputation at one shape, I = H."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, B, size), np.float32)
    dy = rng.standard_normal((T, B, size), np.float32)
    kept, again = (rnnfast.Recurrent(cell, size, size, recompute=r, seed=1) for r in (False, True))

    def infer() -> None:
        kept.eval()
        kept(x)

    def train(layer: rnnfast.Recurrent) -> None:
        layer.train()
        layer(x)
        layer.backward(dy)

    timings = measure(
        {
            "inference": timer(infer),
            "training": timer(lambda: train(kept)),
            "recompute": timer(lambda: train(again)),
        },
        seconds,
    ).timings
    cells = [f"{t.median * 1e3:.3f} ms, {t.median / T / B * 1e6:.2f} us" for t in timings.values()]
    return f"| {T}, {B} | {' | '.join(cells)} |"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cell", default="lstm", choices=rnnfast.functional.cells())
    parser.add_argument("--size", type=int, default=128, help="I and H")
    parser.add_argument("--steps", type=int, default=20, help="T while B grows")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row")
    args = parser.parse_args()
    print("| T, B | inference | training | training, recompute=True |")
    print("|---|---|---|---|")
    for T in STEPS:
        print(row(args.cell, T, 1, args.size, args.seconds), flush=True)
    for B in BATCHES:
        print(row(args.cell, args.steps, B, args.size, args.seconds), flush=True)


if __name__ == "__main__":
    main()
