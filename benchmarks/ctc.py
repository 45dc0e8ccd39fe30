"""Compare the CTC loss and its gradient with PyTorch's on the CPU.

    python benchmarks/ctc.py [--threads 2] [--seconds 10] [--shape 200,32,64,40]

The results are compared first; then the libraries take turns in one process. PyTorch is timed
twice: from logits, as rnnfast is, and from log-probabilities computed in advance. The script prints
the fastest and the median call in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import rnnfast


def calls(
    sizes: tuple[int, int, int, int], dtype: str
) -> dict[str, Callable[[], tuple[float, np.ndarray]]]:
    """Return a call for each contestant, which returns the loss and its gradient by the logits."""
    steps, batch, classes, labels = sizes
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((steps, batch, classes)).astype(dtype)
    targets = rng.integers(1, classes, (batch, labels))
    lengths = np.full(batch, steps), np.full(batch, labels)
    leaf = torch.tensor(logits, requires_grad=True)
    there = leaf.detach().log_softmax(-1).requires_grad_()
    theirs = torch.tensor(targets), *map(torch.tensor, lengths)

    def of_torch(x: torch.Tensor, log_probs: torch.Tensor) -> tuple[float, np.ndarray]:
        x.grad = None
        loss = torch.nn.functional.ctc_loss(log_probs, *theirs)
        loss.backward()
        return loss.item(), x.grad.numpy()

    return {
        "rnnfast": lambda: rnnfast.ctc(logits, targets, *lengths),
        "torch": lambda: of_torch(leaf, leaf.log_softmax(-1)),
        "torch, log_probs": lambda: of_torch(there, there),
    }


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each dtype")
    parser.add_argument("--shape", default="200,32,64,40", help="T,B,C,S")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rnnfast.set_num_threads(options.threads)
    steps, batch, classes, labels = map(int, options.shape.split(","))
    print(f"T={steps} B={batch} C={classes} S={labels}, {options.threads} threads, milliseconds")
    for dtype in ("float32", "float64"):
        run = calls((steps, batch, classes, labels), dtype)
        loss, gradient = run["rnnfast"]()
        for name, call in run.items():
            peer, peers = call()
            np.testing.assert_allclose(loss, peer, rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(gradient, peers, atol=1e-6, err_msg=name)
        times: dict[str, list[float]] = {name: [] for name in run}
        end = time.perf_counter() + options.seconds
        while time.perf_counter() < end:
            for name, call in run.items():
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
        for name, taken in times.items():
            print(f"{dtype} {name:17} {min(taken):8.2f} {statistics.median(taken):8.2f}")


if __name__ == "__main__":
    main()
