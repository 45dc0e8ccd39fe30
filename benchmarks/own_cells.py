"""Compare training steps of cells written in Python with compiled cells and with PyTorch loops.

    python benchmarks/own_cells.py [--cell gru ...] [--shape T,B,I,H ...] [--compile] [--threads N]

For each cell and shape, the script times the compiled cell where there is one, the same equations
traced from Python, and a PyTorch loop over the steps: eager, with `torch.jit.script` and, given
--compile, with `torch.compile`, which takes minutes. All have the same weights. Outputs and the
gradients of weight_hh are compared first; then the contestants take turns. A training step is a
forward and backward pass of the layer alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import rnnfast
from rnnfast.benchmark import measure
from rnnfast.benchmark.timing import timer
from rnnfast.cells import ZOO

SHAPES = ["100,64,512,512", "50,50,64,128", "100,1,128,128"]
AGREEMENT = 1e-3  # relative to the largest value, as float32 rounding accumulates over the steps
Step = Callable[[], tuple[np.ndarray, np.ndarray]]
"""Makes a training step; gives y and the gradient of weight_hh."""


def gru(a: torch.Tensor, h: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Run all steps of a GRU, given the input projections (T, B, 3H)."""
    ys: list[torch.Tensor] = []
    for x in a.unbind(0):
        r, z, n = x.chunk(3, 1)
        hr, hz, hn = torch.addmm(b, h, w.t()).chunk(3, 1)
        r, z = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
        n = torch.tanh(n + r * hn)
        h = n + z * (h - n)
        ys.append(h)
    return torch.stack(ys)


def lstm(a: torch.Tensor, h: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Run all steps of an LSTM, given the input projections (T, B, 4H)."""
    ys: list[torch.Tensor] = []
    c = torch.zeros_like(h)
    for x in a.unbind(0):
        i, f, g, o = (x + torch.addmm(b, h, w.t())).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        ys.append(h)
    return torch.stack(ys)


def mut1_projected(
    a: torch.Tensor, h: torch.Tensor, w: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """Run all steps of the MUT1 variant whose candidate gets the projected input W x."""
    ys: list[torch.Tensor] = []
    w_r, w_n = w.chunk(2, 0)
    b_r, b_n = b.chunk(2, 0)
    for x in a.unbind(0):
        z, r, n = x.chunk(3, 1)
        z, r = torch.sigmoid(z), torch.sigmoid(r + torch.addmm(b_r, h, w_r.t()))
        n = torch.tanh(torch.addmm(b_n, r * h, w_n.t()) + torch.tanh(n))
        h = n * z + h * (1 - z)
        ys.append(h)
    return torch.stack(ys)


LOOPS = {"gru": gru, "lstm": lstm, "mut1_projected": mut1_projected}


def own_step(layer: rnnfast.Recurrent, x: np.ndarray, dy: np.ndarray) -> Step:
    """Return a training step of rnnfast."""

    def step() -> tuple[np.ndarray, np.ndarray]:
        layer.zero_grad()
        y, _ = layer(x)
        layer.backward(dy)
        return y, layer.weight_hh_l0.grad

    return step


def torch_step(
    loop: Callable[..., torch.Tensor], layer: rnnfast.Recurrent, x: np.ndarray, dy: np.ndarray
) -> Step:
    """Return a training step of PyTorch with the layer's weights."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [torch.tensor(getattr(layer, name).value, requires_grad=True) for name in names]
    w_ih, w_hh, b_ih, b_hh = weights
    inputs, gradient = torch.tensor(x, requires_grad=True), torch.tensor(dy)
    h = torch.zeros(x.shape[1], layer.hidden_size)

    def step() -> tuple[np.ndarray, np.ndarray]:
        for w in (*weights, inputs):
            w.grad = None
        a = torch.nn.functional.linear(inputs, w_ih, b_ih)
        y = loop(a, h, w_hh, b_hh)
        y.backward(gradient)
        assert w_hh.grad is not None
        return y.detach().numpy(), w_hh.grad.numpy()

    return step


def contestants(cell: str, shape: list[int], compiles: bool) -> dict[str, Step]:
    """Return all ways to train a cell, with the same weights."""
    T, B, I, H = shape
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((T, B, n)).astype(np.float32) for n in (I, H))
    traced = rnnfast.Recurrent(replace(ZOO[cell], name=f"{cell} in Python"), I, H, seed=1)
    steps: dict[str, Step] = {}
    if cell in ("gru", "lstm"):
        compiled = rnnfast.Recurrent(cell, I, H, seed=1)
        compiled.load_state_dict(traced.state_dict())
        steps["compiled"] = own_step(compiled, x, dy)
    steps["traced"] = own_step(traced, x, dy)
    loop = LOOPS[cell]
    steps["torch, eager"] = torch_step(loop, traced, x, dy)
    steps["torch.jit.script"] = torch_step(torch.jit.script(loop), traced, x, dy)
    if compiles:
        steps["torch.compile"] = torch_step(torch.compile(loop), traced, x, dy)
    return steps


def compare(steps: dict[str, Step]) -> None:
    """Check that all contestants compute the same results."""
    expected = steps["traced"]()
    for name, step in steps.items():
        for got, value in zip(step(), expected, strict=True):
            error = np.abs(got - value).max() / np.abs(value).max()
            if not error < AGREEMENT:
                raise SystemExit(f"{name}: its results differ by {error:.2g}")


def main() -> None:
    """Compare and time each cell and shape, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", nargs="+", default=list(LOOPS), choices=list(LOOPS))
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    parser.add_argument("--threads", type=int, default=rnnfast.get_num_threads())
    parser.add_argument("--seconds", type=float, default=20.0, help="a cell and shape")
    args = parser.parse_args()
    rnnfast.set_num_threads(args.threads)
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, torch {torch.__version__}; ms a step (times the traced cell)")
    for cell in args.cell:
        for shape in args.shape:
            steps = contestants(cell, [int(n) for n in shape.split(",")], args.compile)
            compare(steps)
            found = measure({name: timer(step) for name, step in steps.items()}, args.seconds)
            own = found.timings["traced"].median
            columns = [
                f"{name} {t.median * 1e3:.3g} ({t.median / own:.2f})"
                for name, t in found.timings.items()
            ]
            print(f"{cell} {shape}: {', '.join(columns)}{' [busy]' if found.busy else ''}")


if __name__ == "__main__":
    main()
