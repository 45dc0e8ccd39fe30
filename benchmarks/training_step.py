"""Compare whole training steps of a character model with PyTorch's, in characters per second.

    python benchmarks/training_step.py [--cell gru ...] [--shape B,T,H,L ...] [--embedding 64] [...]

A step runs characters through an embedding (or one-hot vectors), recurrent layers, a linear layer
and the softmax cross-entropy, computes all gradients, clips their norm and updates the parameters
with Adam. Both libraries live in one process, start from the same weights and read the same text.
Their losses over the first steps are compared; then they take turns. Each allocator setting runs in
a process of its own: PyTorch is quoted as installed and with an allocator that keeps freed memory.

The column `python` is the part of rnnfast's step that is spent outside its compiled functions.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import BuiltinFunctionType

import numpy as np
import torch
from char_lm_vs_torch import TORCH_LAYERS, TorchCharLM, detached, loss_of
from run import ALLOCATORS

import rnnfast
from rnnfast import _core
from rnnfast._engine.backends import CPU
from rnnfast.benchmark import measure
from rnnfast.benchmark.timing import timer
from rnnfast.training import CharLM, CharLMConfig, Vocabulary, stdlib_text
from rnnfast.training.batches import Streams

SHAPES = ["1,25,100,1", "50,50,128,2", "100,100,512,1"]
CLIP_NORM = 5.0
LEARNING_RATE = 1e-3
COMPARED_STEPS = 10
AGREEMENT = 1e-4  # relative to the loss, as Adam's first steps amplify float32 rounding

Step = Callable[[], float]


def own_step(model: CharLM, streams: Streams) -> Step:
    """Return a training step of rnnfast, which returns its loss."""
    optimizer = rnnfast.Adam(model.parameters(), LEARNING_RATE)
    state = None

    def step() -> float:
        nonlocal state
        chunk = streams.next()
        loss, state = model.learn(chunk.x, chunk.targets, None if chunk.starts else state)
        optimizer.step(clip_norm=CLIP_NORM, zero_grad=True)
        return loss

    return step


def torch_step(model: TorchCharLM, streams: Streams) -> Step:
    """Return a training step of PyTorch, which returns its loss."""
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    state = None

    def step() -> float:
        nonlocal state
        chunk = streams.next()
        optimizer.zero_grad()
        logits, state = model(torch.from_numpy(chunk.x), None if chunk.starts else state)
        loss = loss_of(logits, chunk.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        state = detached(state)
        return loss.item()

    return step


@contextmanager
def compiled_seconds() -> Iterator[Callable[[], float]]:
    """Count the time spent in the compiled functions, including the cost of wrapping them."""
    spent = 0.0
    places = [
        (owner, name, value)
        for owner in (_core, type(CPU))  # the backend has names of its own for some of them
        for name, value in [*vars(owner).items()]
        if isinstance(getattr(owner, name), BuiltinFunctionType) and not name.startswith("_")
    ]

    def timed(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def call(*positional: object, **named: object) -> object:
            nonlocal spent
            start = time.perf_counter()
            result = function(*positional, **named)
            spent += time.perf_counter() - start
            return result

        return call

    for owner, name, _ in places:
        function = timed(getattr(owner, name))
        setattr(owner, name, function if owner is _core else staticmethod(function))
    try:
        yield lambda: spent
    finally:
        for owner, name, value in places:
            setattr(owner, name, value)


def python_seconds(step: Step, steps: int = 50) -> float:
    """Return the median time that a step spends outside the compiled functions."""
    outside = []
    with compiled_seconds() as spent:
        for _ in range(steps):
            start, before = time.perf_counter(), spent()
            step()
            outside.append(time.perf_counter() - start - (spent() - before))
    return median(outside)


def compare(own: Step, peer: Step) -> float:
    """Return the largest relative difference of the losses over the first steps.

    Raises:
        SystemExit: If the losses differ by more than rounding.
    """
    losses = np.array([(own(), peer()) for _ in range(COMPARED_STEPS)])
    difference = float(np.abs(losses[:, 0] / losses[:, 1] - 1).max())
    if not difference <= AGREEMENT:
        raise SystemExit(f"the losses differ by {difference:.2g}, so no times are given\n{losses}")
    return difference


def run_case(text: str, cell: str, shape: str, threads: int, options: argparse.Namespace) -> str:
    """Compare and time one model, and return its line of the table."""
    batch, seq_len, hidden_size, num_layers = map(int, shape.split(","))
    rnnfast.set_num_threads(threads)
    torch.set_num_threads(threads)
    vocabulary = Vocabulary(text)
    config = CharLMConfig(cell, hidden_size, num_layers, embedding_size=options.embedding)
    model = CharLM(vocabulary, config, seed=0)
    ids = vocabulary.encode(text)
    peer = torch_step(TorchCharLM(model), Streams(ids, batch, seq_len))
    own = own_step(model, Streams(ids, batch, seq_len))
    difference = compare(own, peer)
    found = measure({"rnnfast": timer(own), "torch": timer(peer)}, options.seconds)
    mine, theirs = (found.timings[name].median for name in ("rnnfast", "torch"))
    characters = batch * seq_len
    return (
        f"{cell:9} {shape:14} {threads}t  {characters / mine:10,.0f} chars/s "
        f"{1e3 * mine:9.3f} ms  torch {1e3 * theirs:9.3f} ms  {theirs / mine:6.2f}x"
        f"{'!' if found.busy else ' '} python {1e6 * python_seconds(own):4.0f} us"
        f"  loss differs by {difference:.0e}"
    )


def main() -> None:
    """Run one process per allocator setting, each of which prints its lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="+", choices=TORCH_LAYERS, default=["lstm", "gru"])
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="B,T,H,L")
    parser.add_argument("--embedding", type=int, default=64, help="0 for one-hot characters")
    parser.add_argument("--threads", nargs="+", type=int, default=[rnnfast.get_num_threads()])
    parser.add_argument("--seconds", type=float, default=5.0, help="a case and process")
    parser.add_argument("--allocator", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS))
    options = parser.parse_args()
    if len(options.allocator) > 1:
        for allocator in options.allocator:
            environment = os.environ | ALLOCATORS[allocator]
            command = [sys.executable, *sys.argv, "--allocator", allocator]
            subprocess.run(command, env=environment, check=True)
        return
    print(f"== {options.allocator[0]} allocator; ! marks lines that other programs disturbed")
    text = stdlib_text(1_000_000)
    for cell in options.cell:
        for shape in options.shape:
            for threads in options.threads:
                print(run_case(text, cell, shape, threads, options), flush=True)


if __name__ == "__main__":
    main()
