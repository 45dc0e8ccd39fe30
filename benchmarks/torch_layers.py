"""Compare rnnfast's layers for PyTorch with PyTorch's own, called as a PyTorch user would.

    python benchmarks/torch_layers.py [--part layers packed model pools overhead] [...]

Outputs and gradients are compared first, and a contestant whose results differ is not timed. Ratios
are the contestant's time over rnnfast.torch's, measured in one process. Each allocator setting runs
in a process of its own: PyTorch's LSTM gains from an allocator that keeps memory, so both settings
are quoted. Besides `torch.nn`, the contestants are `torch.compile` of it, onnxruntime and
rnnfast.torch with prepacked weights for inference and, for a cell that PyTorch lacks, a loop in
`torch.jit.script`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from run import ALLOCATORS, SHAPES
from torch import Tensor, nn

import rnnfast.torch
from rnnfast.benchmark import PEERS, Case, Shape, UnavailableError, contestant, make_data, measure
from rnnfast.benchmark.case import AGREEMENT
from rnnfast.benchmark.contestants import difference, torch_contestant, twin_cells
from rnnfast.benchmark.peer import Contestant
from rnnfast.benchmark.timing import timer

OWN = "rnnfast.torch"
Contestants = dict[str, Contestant]


def show(title: str, contestants: Contestants, seconds: float, agreement: float) -> None:
    """Compare contestants with the first, time those that agree, and print a line."""
    expected = None
    timers, notes = {}, []
    for name, (call, results) in contestants.items():
        got = results(call())
        expected = expected or got
        error = difference(got, expected)
        if error <= agreement:
            timers[name] = timer(call)
        else:
            notes.append(f"{name} differs by {error:.1g}")
    found = measure(timers, seconds)
    own = found.timings[OWN].median
    ratios = [
        f"{name} {timing.median / own:6.2f}x"
        for name, timing in found.timings.items()
        if name != OWN
    ]
    busy = " !" if found.busy else ""
    print(f"{title:44}{1e3 * own:10.3f} ms  ", "  ".join([*ratios, *notes]) + busy, flush=True)


class Outputs(nn.Module):
    """A layer that returns its outputs without the final state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map x (T, B, I) to the outputs (T, B, H)."""
        return self.layer(x)[0]


class ScriptedPeephole(nn.Module):
    """A peephole LSTM as a PyTorch user would write it: a loop over time, to be scripted."""

    def __init__(self, input_size: int, hidden_size: int, dtype: torch.dtype) -> None:
        super().__init__()
        shapes = [(4 * hidden_size, input_size), (4 * hidden_size, hidden_size)]
        names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_channel_l0"]
        for name, shape in zip(
            names, [*shapes, (4 * hidden_size,), (4 * hidden_size,), (3, hidden_size)], strict=True
        ):
            setattr(self, name, nn.Parameter(torch.empty(shape, dtype=dtype)))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map x (T, B, I) to the outputs (T, B, H) and the final state."""
        h = x.new_zeros(x.shape[1], self.weight_hh_l0.shape[1])
        c = torch.zeros_like(h)
        inputs = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        p_i, p_f, p_o = self.weight_channel_l0.unbind(0)
        ys: list[Tensor] = []
        for step in inputs.unbind(0):
            gates = step + nn.functional.linear(h, self.weight_hh_l0, self.bias_hh_l0)
            i, f, g, o = gates.chunk(4, 1)
            c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            ys.append(h)
        return torch.stack(ys), (h, c)


def prepacked(module: nn.Module) -> nn.Module:
    """Prepack the weights of a layer, so that its calls no longer do, and return it."""
    rnnfast.torch.prepack(module)
    return module


def layers(options: argparse.Namespace) -> None:
    """Measure one layer in one direction."""
    for cell in options.cell:
        for shape in map(Shape.parse, options.shape):
            for mode in ("training", "inference"):
                case = Case(cell, shape, mode, "float32", options.threads)
                data = make_data(case)
                contestants = {OWN: contestant(OWN, case, data)}
                if mode == "inference":
                    contestants["prepacked"] = torch_contestant(
                        case, data, partial(rnnfast.torch.Recurrent, cell), prepacked
                    )
                if cell in twin_cells():
                    kind, own = twin_cells()[cell]
                    contestants["torch"] = PEERS["torch"](case, data)
                    contestants["compile"] = torch_contestant(
                        case, data, partial(getattr(nn, kind), **own), torch.compile
                    )
                elif cell == "peephole_lstm":
                    contestants["script"] = torch_contestant(
                        case, data, ScriptedPeephole, torch.jit.script
                    )
                with suppress(UnavailableError):
                    contestants["onnxruntime"] = PEERS["onnxruntime"](case, data)
                title = f"{cell} {shape} {mode}"
                show(title, contestants, options.seconds, AGREEMENT["float32"])


def pools(options: argparse.Namespace) -> None:
    """Measure layers of both libraries in turn and each alone, to see if their threads compete."""
    for B, H in ((64, 256), (1, 256)):
        x = torch.randn(50, B, H)
        gru, linear = rnnfast.torch.GRU(H, H), nn.Linear(H, H)
        both = nn.Sequential(linear, Outputs(gru), linear, Outputs(gru))
        calls = {"both": both, "linear": nn.Sequential(linear, linear), "gru": Outputs(gru)}
        timers = {name: timer(evaluated(m, x, lambda y: y)[0]) for name, m in calls.items()}
        found = {n: t.median for n, t in measure(timers, options.seconds).timings.items()}
        alone = found["linear"] + 2 * found["gru"]
        print(
            f"pools, B {B}, H {H}: in turn {1e3 * found['both']:.3f} ms, alone {1e3 * alone:.3f} ms"
        )


def trained(module: nn.Module, x: Any, output: Callable[[Any], Tensor]) -> Contestant:
    """Return a contestant that runs a module forward and backward."""

    def call() -> tuple[Tensor, Any]:
        y = output(module(x))
        return y, torch.autograd.grad(y, list(module.parameters()), torch.ones_like(y))

    def results(r: Any) -> dict[str, np.ndarray]:
        return {"y": r[0].detach().numpy()} | {str(k): g.numpy() for k, g in enumerate(r[1])}

    return call, results


def evaluated(module: nn.Module, x: Any, output: Callable[[Any], Tensor]) -> Contestant:
    """Return a contestant that runs inference of a module."""

    def call() -> Tensor:
        with torch.inference_mode():
            return output(module(x))

    return call, lambda y: {"y": y.numpy()}


def twins(theirs: nn.Module, ours: nn.Module) -> dict[str, nn.Module]:
    """Give both modules the same weights and return them by name."""
    ours.load_state_dict(theirs.state_dict())
    return {OWN: ours, "torch": theirs}


def packed(options: argparse.Namespace) -> None:
    """Measure packed sequences whose lengths are uniform in [T/4, T]."""
    for kind in ("LSTM", "GRU"):
        for text in ("100,64,256,512", "100,32,128,256", "50,50,64,128"):
            T, B, I, H = map(int, text.split(","))
            lengths = torch.from_numpy(np.random.default_rng(0).integers(T // 4, T + 1, B))
            x = nn.utils.rnn.pack_padded_sequence(
                torch.randn(T, B, I), lengths, enforce_sorted=False
            )
            pair = twins(getattr(nn, kind)(I, H), getattr(rnnfast.torch, kind)(I, H))
            for mode, make in (("training", trained), ("inference", evaluated)):
                contestants = {n: make(m, x, lambda r: r[0].data) for n, m in pair.items()}
                title = f"{kind} {text} packed {mode}"
                show(title, contestants, options.seconds, AGREEMENT["float32"])


class Speech(nn.Module):
    """A small acoustic model: convolutions over 80 features, two GRU layers, a linear layer."""

    def __init__(self, hidden_size: int = 256) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(80, 128, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv1d(128, 128, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.rnn = nn.GRU(128, hidden_size, 2, bidirectional=True, batch_first=True)
        self.readout = nn.Linear(2 * hidden_size, 32)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, 80, T) to logits (B, T/2, 32)."""
        y, _ = self.rnn(self.convolutions(x).transpose(1, 2))
        return self.readout(y)


def model(options: argparse.Namespace) -> None:
    """Measure a whole model before and after `accelerate`."""
    pair = twins(Speech(), Speech())
    print(rnnfast.torch.report(rnnfast.torch.accelerate(pair[OWN])))
    for batch, steps in ((16, 400), (1, 400)):
        x = torch.randn(batch, 80, steps)
        for mode, make in (("training", trained), ("inference", evaluated)):
            contestants = {name: make(m, x, lambda y: y) for name, m in pair.items()}
            title = f"speech model, B {batch}, T {steps}, {mode}"
            show(title, contestants, options.seconds, 10 * AGREEMENT["float32"])


def overhead(options: argparse.Namespace) -> None:
    """Measure the overhead of a call, with a layer of 4 units and a single step."""
    for kind in ("LSTM", "GRU", "RNN"):
        pair = twins(getattr(nn, kind)(4, 4), getattr(rnnfast.torch, kind)(4, 4))
        x = torch.randn(1, 1, 4)

        def forward(module: nn.Module, x: Tensor = x) -> Contestant:
            return lambda: module(x)[0], lambda y: {"y": y.detach().numpy()}

        for mode, make in (
            ("inference", partial(evaluated, x=x, output=lambda r: r[0])),
            ("forward with autograd", forward),
            ("forward and backward", partial(trained, x=x, output=lambda r: r[0])),
        ):
            contestants = {name: make(m) for name, m in pair.items()}
            show(f"{kind} overhead, {mode}", contestants, options.seconds, AGREEMENT["float32"])


PARTS = {"layers": layers, "packed": packed, "model": model, "pools": pools, "overhead": overhead}


def main() -> None:
    """Run one process per allocator setting, each of which prints its lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cell", nargs="+", default=["lstm", "gru", "rnn_tanh", "peephole_lstm"])
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0, help="a line")
    parser.add_argument("--allocator", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS))
    options = parser.parse_args()
    if len(options.allocator) > 1:
        for allocator in options.allocator:
            command = [sys.executable, *sys.argv, "--allocator", allocator]
            subprocess.run(command, env=os.environ | ALLOCATORS[allocator], check=True)
        return
    warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"== {options.allocator[0]} allocator, PyTorch {torch.__version__}")
    print(
        f"times of {OWN}, and how many times longer others take; ! marks lines that were disturbed"
    )
    for part in options.part:
        PARTS[part](options)


if __name__ == "__main__":
    main()
