"""Measure training steps of an LSTM whose states are reset inside the sequences.

    python benchmarks/resets.py

Each share of resets is compared with the same call without resets, and with PyTorch's usual way:
a loop of `torch.nn.LSTMCell`, whose state is multiplied by a mask before each step.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch

import rnnfast
from rnnfast.benchmark.timing import measure, timer

SHAPES = ("80,32,256,256", "80,64,512,512", "20,8,64,128")


class Task:
    """The data of a training step, and an LSTM with the same weights in both libraries."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        T, B, I, H = shape
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((T, B, I)).astype(np.float32)
        self.dy = rng.standard_normal((T, B, H)).astype(np.float32)
        self.layer = rnnfast.LSTM(I, H, seed=1)
        self.cell = torch.nn.LSTMCell(I, H)
        weights = {name[:-3]: w for name, w in rnnfast.to_torch_state_dict(self.layer).items()}
        self.cell.load_state_dict({n: torch.as_tensor(w) for n, w in weights.items()})

    def fused(self, reset: np.ndarray | None) -> np.ndarray:
        """Run one call and its gradient; return y."""
        y, _ = self.layer(self.x, reset=reset)
        self.layer.backward(self.dy)
        return y

    def loop(self, reset: np.ndarray) -> np.ndarray:
        """Do the same by PyTorch's cell."""
        x = torch.from_numpy(self.x).requires_grad_()
        keeps = torch.from_numpy(~reset)[..., None]
        h = c = torch.zeros(self.dy.shape[1:])
        ys = []
        for step, keep in zip(x, keeps, strict=True):
            h, c = self.cell(step, (h * keep, c * keep))
            ys.append(h)
        y = torch.stack(ys)
        y.backward(torch.from_numpy(self.dy))
        return y.detach().numpy()


def main() -> None:
    """Measure what the command line asks for and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shape", nargs="+", default=SHAPES, help="T,B,I,H")
    parser.add_argument("--share", nargs="+", type=float, default=[0.02, 0.2, 1.0])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each line")
    parser.add_argument("--threads", type=int, help="of both libraries; by default their own")
    args = parser.parse_args()
    if args.threads:
        rnnfast.set_num_threads(args.threads)
        torch.set_num_threads(args.threads)
    for text in args.shape:
        task = Task(tuple(map(int, text.split(","))))
        for share in args.share:
            reset = np.random.default_rng(1).random(task.x.shape[:2]) < share
            np.testing.assert_allclose(task.fused(reset), task.loop(reset), rtol=0, atol=1e-4)
            runs = {
                "none": timer(partial(task.fused, None)),
                "resets": timer(partial(task.fused, reset)),
                "loop": timer(partial(task.loop, reset)),
            }
            timings = measure(runs, args.seconds).timings
            none, resets, loop = (timings[name].median for name in runs)
            print(
                f"{text:16} share {share:4.2f}: without {none * 1e3:8.2f} ms, with "
                f"{resets * 1e3:8.2f} ms ({resets / none:.2f}), loop {loop * 1e3:8.2f} ms "
                f"({loop / resets:.1f} times as long)",
                flush=True,
            )


if __name__ == "__main__":
    main()
