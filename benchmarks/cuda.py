"""Compare recurrent layers on a CUDA device with cuDNN, called through PyTorch, in one process.

    python benchmarks/cuda.py [--cells lstm gru ...] [--precision full bfloat16] [--kernel NAME]

The shapes are those of DeepBench (T, B, H with I = H) and of the design's roofline. Results are
compared first, and a case whose results differ is not timed. Times are medians of CUDA events
around whole calls, with the two libraries taking turns. The script needs a CUDA device, CuPy and a
PyTorch built for CUDA.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import rnnfast
from rnnfast._engine import backends
from rnnfast.benchmark.contestants import twin_cells

# T, B, H of DeepBench's vanilla, LSTM and GRU layers, followed by the shapes of docs/cuda.md.
SHAPES = {
    "rnn_tanh": [(50, 16, 1760), (50, 64, 1760), (50, 16, 2560), (50, 64, 2560)],
    "lstm": [
        *((25, b, h) for h in (512, 1024, 2048) for b in (16, 64)),
        (50, 8, 1536),
        (150, 16, 256),
    ],
    "gru": [(1500, 32, 2816), (750, 32, 2560), (375, 32, 2048), (50, 64, 1024), (25, 32, 512)],
}
ROOFLINE = [(100, 64, 512), (100, 16, 1024), (1024, 16, 768)]
AGREEMENT = {"full": 1e-4, "bfloat16": 5e-2}  # of results of order 1 after many steps
ROUNDS = 20


def events(call: Callable[[], object], cupy: Any) -> float:
    """Return how many milliseconds one call takes on the device."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end))


def pair(cell: str, shape: tuple[int, int, int], precision: str) -> tuple[Any, ...]:
    """Return a layer of each library with the same weights, and the input and dy for each."""
    import torch

    T, B, H = shape
    kind, options = twin_cells()[cell]
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    theirs = getattr(torch.nn, kind)(H, H, **options).cuda()
    ours = rnnfast.layers.Recurrent(cell, H, H, precision=precision, device="cuda")
    rnnfast.load_torch_state_dict(ours, theirs.state_dict())
    theirs = theirs.to(dtype)
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((T, B, H), dtype=np.float32) for _ in range(2))
    tensors = [torch.from_numpy(a).cuda().to(dtype) for a in (x, dy)]
    backend = backends.get("cuda")
    return ours, theirs, [backend.asarray(a) for a in (x, dy)], tensors


def measure(cell: str, shape: tuple[int, int, int], precision: str) -> str:
    """Compare and time one case, and return its line of the table."""
    import cupy

    ours, theirs, (x, dy), (tx, tdy) = pair(cell, shape, precision)
    tx.requires_grad_()

    def our_step() -> None:
        ours(x)
        ours.backward(dy)

    def their_step() -> None:
        theirs(tx)[0].backward(tdy)

    got = cupy.asnumpy(ours.call(x).y)
    expected = theirs(tx)[0].detach().float().cpu().numpy()
    error = float(np.abs(got - expected).max())
    name = f"{cell:10s} {precision:9s} T={shape[0]:<5d} B={shape[1]:<4d} H={shape[2]:<5d}"
    if not error <= AGREEMENT[precision]:
        return f"{name} differs by {error:.2g}: not timed"
    calls = {
        "forward": (lambda: ours.call(x), lambda: theirs(tx)),
        "forward and backward": (our_step, their_step),
    }
    parts = []
    for what, both in calls.items():
        times: list[list[float]] = [[], []]
        for i in range(ROUNDS + 3):
            for k, call in enumerate(both):
                elapsed = events(call, cupy)
                if i >= 3:  # the first rounds warm up
                    times[k].append(elapsed)
        mine, their = (statistics.median(t) for t in times)
        parts.append(f"{what} {mine:.3f} ms, cuDNN {their / mine:.2f}x")
    return f"{name} {'; '.join(parts)}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--precision", nargs="+", default=["full", "bfloat16"])
    parser.add_argument("--kernel", help="make rnnfast use this kernel only")
    arguments = parser.parse_args()
    reason = rnnfast.cuda.unavailable_reason()
    if reason is not None:
        parser.exit(1, f"no CUDA device to measure: {reason}\n")
    engine: Any = backends.get("cuda")
    engine.kernel = arguments.kernel
    print(engine.properties())
    for cell in arguments.cells:
        for shape in SHAPES[cell] + ROOFLINE:
            for precision in arguments.precision:
                print(measure(cell, shape, precision), flush=True)


if __name__ == "__main__":
    main()
