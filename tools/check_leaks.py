"""Make many small calls and check that the memory of the process does not grow.

    python tools/check_leaks.py --calls 1000000

The calls cycle through every cell with forward and backward passes, inference, lengths, indices,
several layers, both directions, dropout and recomputation, and through the other kinds of layers.
Each also makes calls that raise an error midway. With a million calls, the check finds a leak of
about one byte per call.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import rnnfast
from rnnfast import functional

Array: TypeAlias = NDArray[Any]

WARM_UP = 20_000  # calls that fill the caches, pools and free lists before the measurement
ALLOWED = 1 << 20  # bytes that the process may grow
PARTS = 10


def resident_bytes() -> int:
    """Return the memory of this process that is resident now."""
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) << 10


def expect_error(kind: type[Exception], call: Callable[[], object]) -> None:
    """Make a call that must raise."""
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def train(layer: Any, x: Array, dy: Array, lengths: Array | None = None) -> None:
    """Run a forward and a backward pass."""
    layer.train()
    layer(x, lengths=lengths)
    layer.backward(dy)


def infer(layer: Any, x: Array) -> None:
    """Run a forward pass that keeps nothing for a backward pass."""
    layer.eval()
    layer(x)


def make_calls() -> list[Callable[[], object]]:
    """Return calls of every cell with options of all kinds, and calls that raise errors."""
    rng = np.random.default_rng(0)
    lengths, indices = np.array([3, 1]), rng.integers(0, 4, (3, 2))
    x = rng.standard_normal((3, 2, 4)).astype(np.float32)
    long = rng.integers(0, 4, (600, 1))  # long enough for two segments of recomputation
    long_dy = np.ones((600, 1, 10), np.float32)
    calls: list[Callable[[], object]] = []
    for cell in functional.cells():
        for directions, recompute in ((1, False), (2, True)):
            layer = rnnfast.Recurrent(
                cell, 4, 5, 2, bidirectional=directions == 2, dropout=0.1, recompute=recompute
            )
            dy = np.ones((3, 2, 5 * directions), np.float32)

            calls += [
                partial(train, layer, x, dy),
                partial(train, layer, indices, dy),
                partial(train, layer, x, dy, lengths),
                partial(infer, layer, x),
                partial(expect_error, ValueError, partial(train, layer, x, x)),
                partial(expect_error, ValueError, partial(infer, layer, x[..., :3])),
                partial(expect_error, TypeError, partial(infer, layer, x.astype(np.complex64))),
                partial(expect_error, IndexError, partial(infer, layer, indices + 4)),
            ]
            if recompute:
                calls.append(partial(train, layer, long, long_dy))
    for pooling in (rnnfast.Last(), rnnfast.MeanPool(), rnnfast.MaxPool()):
        model = rnnfast.Sequential(
            *(rnnfast.Conv1d(4, 4, 2, padding="causal"), rnnfast.LayerNorm(4)),
            *(rnnfast.Residual(rnnfast.GELU()), rnnfast.Dropout(0.1), rnnfast.Tanh(), pooling),
        )
        dy = np.ones((2, 4), np.float32)
        calls += [
            partial(train, model, x, dy),
            partial(train, model, x, dy, lengths),
            partial(infer, model, x),
            partial(expect_error, ValueError, partial(train, model, x, x)),
            partial(expect_error, ValueError, partial(infer, model, x[..., :3])),
        ]
    return calls


def main() -> int:
    """Run the check, and return 1 if memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    args = parser.parse_args()
    calls = make_calls()

    def make(count: int) -> None:
        for i in range(count):
            calls[i % len(calls)]()

    make(WARM_UP)
    before, cache = resident_bytes(), rnnfast.cache_info()
    for part in range(PARTS):
        make(args.calls // PARTS)
        now = rnnfast.cache_info()
        print(
            f"{args.calls // PARTS * (part + 1)} calls: resident {resident_bytes()} bytes, "
            f"used {now['used_bytes']}, cached {now['cached_bytes']}",
            flush=True,
        )
    grown = resident_bytes() - before
    print(f"memory grew by {grown} bytes")
    same = all(now[key] == cache[key] for key in ("used_bytes", "cached_bytes", "cached_blocks"))
    if not same:
        print(f"cache_info was {cache}, is {now}")
    return int(grown > ALLOWED or not same)


if __name__ == "__main__":
    sys.exit(main())
