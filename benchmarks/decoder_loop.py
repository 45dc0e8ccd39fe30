"""Compare training and inference of decoder loops over cells with those over PyTorch's cells.

    python benchmarks/decoder_loop.py [--shape T,B,I,H ...] [--threads 1 2] [--seconds 5] [...]

A loop takes T steps of a cell. In `loop` that is all. In `attention` each step first looks at T
encoded positions: the softmax of their products with h weighs them, and the sum is appended to the
input, of which it takes H of the I numbers. Both libraries take turns in one process, after their
outputs and gradients have been compared; the times are minima.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import rnnfast.torch

SHAPES = ["40,32,256,128"]
CELLS = ["LSTMCell", "GRUCell", "RNNCell"]
Clock = Callable[[], float]


class Decoder(nn.Module):
    """A loop over a cell, with or without attention."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, attends: bool) -> None:
        super().__init__()
        self.cell = getattr(nn, cell)(input_size, hidden_size)
        self.attends = attends

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        """Return the h of every step, (T, B, H), given x (T, B, .) and encoded (B, T, H)."""
        h = x.new_zeros(x.shape[1], self.cell.hidden_size)
        state = (h, h) if isinstance(self.cell, (nn.LSTMCell, rnnfast.torch.LSTMCell)) else h
        outputs = []
        for step in x:
            given = step
            if self.attends:
                weights = torch.bmm(encoded, h[:, :, None]).softmax(1)
                given = torch.cat([step, torch.bmm(weights.mT, encoded)[:, 0]], 1)
            state = self.cell(given, state)
            h = state[0] if isinstance(state, tuple) else state
            outputs.append(h)
        return torch.stack(outputs)


def train(model: Decoder, x: Tensor, encoded: Tensor) -> Tensor:
    """Return the outputs after backward of their sum of squares."""
    model.zero_grad()
    x.grad = encoded.grad = None
    y = model(x, encoded)
    y.square().sum().backward()
    return y


def infer(model: Decoder, x: Tensor, encoded: Tensor) -> Tensor:
    """Return the outputs."""
    with torch.no_grad():
        return model(x, encoded)


def compare(models: list[Decoder], x: Tensor, encoded: Tensor) -> None:
    """Check that outputs and gradients of ten steps, which barely amplify rounding, are equal."""
    found = []
    for model in models:
        twin = copy.deepcopy(model).double()
        inputs = [t.detach().double().requires_grad_() for t in (x, encoded)]
        y = train(twin, inputs[0][:10], inputs[1])
        gradients = [t.grad for t in (*inputs, *twin.parameters()) if t.grad is not None]
        found.append([y.detach(), infer(twin, *inputs)[:10], *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def take_turns(calls: list[Callable[[], object]], seconds: float, clock: Clock) -> list[float]:
    """Return the least time of each call; calls alternate."""
    least = [float("inf")] * len(calls)
    end = time.perf_counter() + seconds
    for call in calls:
        call()
    while time.perf_counter() < end:
        for i, call in enumerate(calls):
            start = clock()
            call()
            least[i] = min(least[i], clock() - start)
    return least


def measure(cell: str, shape: str, attends: bool, seconds: float, clock: Clock) -> None:
    """Print a line for training and one for inference."""
    T, B, I, H = map(int, shape.split(","))
    torch.manual_seed(0)
    plain = Decoder(cell, I, H, attends)
    fast = rnnfast.torch.accelerate(copy.deepcopy(plain))
    x = torch.randn(T, B, I - H * attends, requires_grad=True)
    encoded = torch.randn(B, T, H, requires_grad=True)
    compare([plain, fast], x, encoded)
    for name, call in (("training", train), ("inference", infer)):
        calls = [partial(call, model, x, encoded) for model in (fast, plain)]
        ours, theirs = take_turns(calls, seconds, clock)
        loop = "attention" if attends else "loop"
        print(
            f"{cell:9} {shape:14} {loop:9} {name:9} threads {torch.get_num_threads()}  rnnfast "
            f"{1e3 * ours:7.2f} ms  torch {1e3 * theirs:7.2f} ms  {theirs / ours:5.2f}x",
            flush=True,
        )


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--cell", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument(
        "--cpu-time", action="store_true", help="on a busy machine, with one thread"
    )
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    for threads in options.threads:
        torch.set_num_threads(threads)
        for shape in options.shape:
            for cell in options.cell:
                for attends in (False, True):
                    measure(cell, shape, attends, options.seconds, clock)


if __name__ == "__main__":
    main()
