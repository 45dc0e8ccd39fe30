"""Measure the time and peak memory of a forward and backward pass over one very long sequence.

    python benchmarks/long_sequence.py --steps 1000000 --recompute sqrt

The input is one number per step. The loss is the mean of y * y / 2, so that every step has a
gradient of its own. The peak counts the whole process: the interpreter, NumPy, x, y and dy, and
what rnnfast allocates.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from rnnfast import functional


def peak_mib() -> float:
    """Return the most memory that this process has had resident so far, in MiB."""
    with open("/proc/self/status") as status:  # noqa: PTH123  # pathlib alone would take 0.7 MiB
        fields = status.read().split()
    return int(fields[fields.index("VmHWM:") + 1]) / 1024


def waves(*shape: int) -> np.ndarray:
    """Return numbers in [-1, 1] without numpy.random, whose import alone would take 7 MiB."""
    return np.sin(np.arange(1.0, 1 + np.prod(shape), dtype=np.float32)).reshape(shape)


def measure(cell: str, steps: int, hidden_size: int, recompute: bool | int) -> dict[str, float]:
    """Measure a forward and a backward pass, batch 1, with the gradients of all weights."""
    bound = np.float32(hidden_size**-0.5)
    shapes = functional.cells()[cell].shapes(1, hidden_size)
    weights = functional.Weights(**{n: bound * waves(*shape) for n, shape in shapes.items()})
    x = waves(steps, 1, 1)
    before = peak_mib()
    start = time.perf_counter()
    y, _, reserve = functional.forward(cell, x, [weights], training=True, recompute=recompute)
    forward = time.perf_counter() - start
    assert reserve is not None
    dy = np.multiply(y, np.float32(1 / steps))
    start = time.perf_counter()
    _, _, (gradients,) = functional.backward(reserve, dy, need_dx=False)
    backward = time.perf_counter() - start
    assert all(np.isfinite(g).all() and g.any() for g in gradients if g is not None)
    arrays = (x.nbytes + y.nbytes + dy.nbytes) / 2**20
    return {
        "forward seconds": forward,
        "backward seconds": backward,
        "reserve MiB": reserve.nbytes / 2**20,
        "before MiB": before,
        "x, y, dy MiB": arrays,
        "peak MiB": peak_mib(),
    }


def options(given: list[str]) -> dict[str, str]:
    """Parse pairs of --name and value, without argparse, which would take 0.3 MiB."""
    chosen = {"--cell": "lstm", "--steps": "1000000", "--hidden-size": "128", "--recompute": "sqrt"}
    for name, value in zip(given[::2], given[1::2], strict=True):
        if name not in chosen:
            raise SystemExit(f"expected one of {', '.join(chosen)}, got {name}")
        chosen[name] = value
    return chosen


def main() -> None:
    """Measure what the command line asks for.

    --recompute is none (keep all), sqrt (states at every sqrt(T) steps) or a number of steps.
    """
    cell, steps, hidden_size, kept = options(sys.argv[1:]).values()
    recompute = {"none": False, "sqrt": True}.get(kept)
    if recompute is None:
        recompute = int(kept)
    for name, value in measure(cell, int(steps), int(hidden_size), recompute).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
