"""Measure a stack of small layers on one sequence, which run as a wave, and predict more cores.

    python benchmarks/stacked_layers.py [--cell gru ...] [--shape 100,1,64,64 ...] [--layers 1 2 4]

The bits of all numbers of threads are compared first. A prediction is the time of one layer on one
thread, as often as a thread takes a layer, and for each thread but the first the time of a chunk,
which the layer before it must have computed. It holds where a layer is not worth two threads, and
leaves out what memory and barriers cost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import rnnfast

CHUNK_ROWS = 8  # that a layer passes on at a time


def options(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="+", default=["gru"])
    parser.add_argument("--shape", nargs="+", default=["100,1,64,64"], metavar="T,B,I,H")
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--predict", nargs="+", type=int, default=[2, 8, 16], metavar="THREADS")
    parser.add_argument("--rounds", type=int, default=300)
    return parser.parse_args(argv)


def make_call(
    cell: str, shape: tuple[int, ...], layers: int, training: bool
) -> Callable[[], bytes]:
    """Return a function that runs a stack on random numbers and returns the bits of its output."""
    T, B, I, H = shape
    layer = rnnfast.Recurrent(cell, I, H, layers, seed=1).train(training)
    x = np.random.default_rng(0).standard_normal((T, B, I)).astype(np.float32)
    dy = np.ones((T, B, H), np.float32)

    def call() -> bytes:
        if not training:
            y: np.ndarray = layer(x)[0]
            return y.tobytes()
        y = layer(x)[0]
        return y.tobytes() + layer.backward(dy)[0].tobytes()

    return call


def fastest(calls: dict[tuple[int, int], Callable[[], bytes]], rounds: int) -> dict:
    """Return the shortest time of each call, by threads and layers; they take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for (threads, layers), call in calls.items():
            rnnfast.set_num_threads(threads)
            start = time.perf_counter()
            call()
            best[threads, layers] = min(best[threads, layers], time.perf_counter() - start)
    return best


def predicted(one: float, rows: int, layers: int, threads: int) -> float:
    """Return the time of a wave of layers of which each takes the time `one` on a thread."""
    rounds = -(-layers // threads)
    groups = -(-layers // rounds)
    return one * (rounds + (groups - 1) * min(1, CHUNK_ROWS / rows))


def measure(cell: str, shape: tuple[int, ...], training: bool, args: argparse.Namespace) -> None:
    """Compare the bits of all numbers of threads, and print the times of a shape."""
    calls = {}
    counts, every = sorted({1, *args.threads}), sorted({1, *args.layers})
    for layers in every:
        call = make_call(cell, shape, layers, training)
        rnnfast.set_num_threads(1)
        expected = call()
        for threads in counts:
            rnnfast.set_num_threads(threads)
            assert call() == expected, f"{threads} threads compute other bits"
            calls[threads, layers] = call
    times = fastest(calls, args.rounds)
    one = times[1, 1]
    print(f"\n{cell} {shape} {'training' if training else 'inference'}")
    for (threads, layers), seconds in times.items():
        print(
            f"{layers:2} layers, {threads:2} threads: {seconds * 1e6:7.0f} us, {seconds / one:.2f}"
        )
    for threads in args.predict:
        for layers in every:
            guess = predicted(one, shape[0] * shape[1], layers, threads)
            print(f"{layers:2} layers, {threads:2} threads: {guess * 1e6:7.0f} us predicted")


def main(argv: list[str] | None = None) -> None:
    """Measure all cells and shapes in inference and in training."""
    args = options(argv)
    for cell in args.cell:
        for text in args.shape:
            shape = tuple(int(size) for size in text.split(","))
            for training in (False, True):
                measure(cell, shape, training, args)


if __name__ == "__main__":
    main()
