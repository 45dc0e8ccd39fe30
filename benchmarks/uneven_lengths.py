"""Measure what batches of unequal lengths cost beyond their share of useful steps.

    python benchmarks/uneven_lengths.py

Lengths are uniform in [T/4, T]. The excess is the time of such a batch relative to a full one,
divided by the share of steps that are useful. It is 1 if padding costs nothing.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

import rnnfast
from rnnfast.benchmark.timing import measure, timer

SHAPES = ("100,64,256,256", "100,64,512,512", "200,32,256,256", "200,32,512,512", "100,16,256,256")


def make_call(
    cell: str, shape: tuple[int, ...], lengths: np.ndarray | None, training: bool
) -> partial[None]:
    """Return a call that runs one forward pass and, if training, a backward pass."""
    T, B, I, H = shape
    rng = np.random.default_rng(0)
    layer = rnnfast.Recurrent(cell, I, H, seed=1)
    if not training:
        layer.eval()
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    dy = rng.standard_normal((T, B, H)).astype(np.float32)

    def call() -> None:
        layer(x, lengths=lengths)
        if training:
            layer.backward(dy)

    return partial(call)


def main() -> None:
    """Measure what the command line asks for and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cell", nargs="+", default=["lstm", "gru"])
    parser.add_argument("--shape", nargs="+", default=SHAPES, help="T,B,I,H")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line")
    args = parser.parse_args()
    for cell in args.cell:
        for text in args.shape:
            shape = tuple(map(int, text.split(",")))
            T, B = shape[:2]
            lengths = np.random.default_rng(1).integers(T // 4, T + 1, B)
            share = lengths.mean() / T
            for mode in ("inference", "training"):
                training = mode == "training"
                timings = measure(
                    {
                        "full": timer(make_call(cell, shape, None, training)),
                        "uneven": timer(make_call(cell, shape, lengths, training)),
                    },
                    args.seconds,
                ).timings
                full, uneven = timings["full"].median, timings["uneven"].median
                excess = uneven / full / share
                print(
                    f"{cell:16} {text:16} {mode:10} full {full * 1e3:8.2f} ms, uneven "
                    f"{uneven * 1e3:8.2f} ms, useful {share:.2f}, excess {excess:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
