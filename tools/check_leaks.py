"""Makes many small calls and checks that the process' memory stays as it is.

    python tools/check_leaks.py --calls 1000000

The calls go round every cell with forward, backward, forward without training, lengths, indices,
several layers, both directions, dropout and recomputation, and an error that each raises on the
way. A leak of about one byte a call is found in a million calls.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import rnnfast
from rnnfast import functional

WARM_UP = 20_000  # calls until caches, pools and free lists have what they need
ALLOWED = 1 << 20  # bytes that the process may grow
PARTS = 10


def resident_bytes() -> int:
    """Memory of this process that is resident now."""
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) << 10


def expect_error(kind: type[Exception], call: Callable[[], object]) -> None:
    """Make a call that must raise."""
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def make_calls() -> list[Callable[[], object]]:
    """Calls of every cell, with options of all kinds, and errors."""
    rng = np.random.default_rng(0)
    lengths, indices = np.array([3, 1]), rng.integers(0, 4, (3, 2))
    x = rng.standard_normal((3, 2, 4)).astype(np.float32)
    long = rng.integers(0, 4, (600, 1))  # two segments of recomputation
    calls: list[Callable[[], object]] = []
    for cell in functional.cells():
        for directions, recompute in ((1, False), (2, True)):
            layer = rnnfast.Recurrent(
                cell, 4, 5, 2, bidirectional=directions == 2, dropout=0.1, recompute=recompute
            )
            dy = np.ones((3, 2, 5 * directions), np.float32)

            def train(layer=layer, given=x, dy=dy, **options) -> None:
                layer.train()
                layer(given, **options)
                layer.backward(dy)

            def infer(layer=layer) -> None:
                layer.eval()
                layer(x)

            def fail_late(layer=layer) -> None:
                layer.train()
                layer(x)
                expect_error(ValueError, lambda: layer.backward(x))

            calls += [train, infer, fail_late]
            calls += [lambda t=train: t(lengths=lengths), lambda t=train: t(indices)]
            if recompute:
                calls.append(lambda t=train: t(long, np.ones((600, 1, 10), np.float32)))
            calls += [
                lambda call=layer: expect_error(IndexError, lambda: call(indices + 4)),
                lambda call=layer: expect_error(ValueError, lambda: call(x[..., :3])),
                lambda call=layer: expect_error(TypeError, lambda: call(x.astype(np.float64))),
            ]
    return calls


def main() -> int:
    """Returns 1 if memory grew."""
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
    print(f"grown by {grown} bytes")
    same = all(now[key] == cache[key] for key in ("used_bytes", "cached_bytes", "cached_blocks"))
    if not same:
        print(f"cache_info was {cache}, is {now}")
    return int(grown > ALLOWED or not same)


if __name__ == "__main__":
    sys.exit(main())
