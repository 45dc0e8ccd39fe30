"""Latency of single steps: streams, and generation of text one character at a time."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

import rnnfast
from rnnfast.benchmark.case import weight_shapes
from rnnfast.benchmark.contestants import twin_cells
from rnnfast.benchmark.machine import Peaks, thread_count
from rnnfast.benchmark.peer import Call
from rnnfast.training import CharLM, CharLMConfig, Vocabulary

PERCENTILES = (50, 90, 99, 99.9)
_BLOCK = 200  # calls in a row before the next contestant's turn


class Network(NamedTuple):
    """A network that takes steps: layers of one cell on one sequence of characters."""

    cell: str
    num_layers: int
    hidden_size: int
    characters: int = 65

    def __str__(self) -> str:
        return f"{self.cell} {self.num_layers}x{self.hidden_size}"

    @property
    def bytes(self) -> int:
        """Bytes of float32 weights that a step reads: a row of the first matrix and all others."""
        H = self.hidden_size
        first, later = weight_shapes(self.cell, 1, H), weight_shapes(self.cell, H, H)
        numbers = prod(first["weight_ih"]) + self.num_layers * prod(later["weight_hh"])
        return 4 * (numbers + (self.num_layers - 1) * prod(later["weight_ih"]))


@dataclass(frozen=True)
class Latency:
    """Latency of a call in seconds, at the `PERCENTILES`."""

    calls: int
    percentiles: tuple[float, ...]


def measure_latency(calls: Mapping[str, Call], seconds: float) -> dict[str, Latency]:
    """Time every call separately; contestants take turns of several calls in a row."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while True:
        for name, call in calls.items():
            for i in range(_BLOCK + 10):
                start = time.perf_counter()
                call()
                if i >= 10:  # the first calls find the caches full of other contestants' data
                    times[name].append(time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return {
        name: Latency(len(values), tuple(np.percentile(values, PERCENTILES).tolist()))
        for name, values in times.items()
    }


def stream_call(network: Network) -> Call:
    """Return a function that takes a step of a stream over characters."""
    layer = rnnfast.Recurrent(
        network.cell, network.characters, network.hidden_size, network.num_layers, seed=0
    )
    stream, x = layer.eval().stream(), np.array([1])
    return lambda: stream(x)


def sampling_call(network: Network) -> Call:
    """Return a function that generates a character: a step, the logits and the draw."""
    vocabulary = Vocabulary("".join(chr(ord("0") + i) for i in range(network.characters)))
    config = CharLMConfig(network.cell, network.hidden_size, network.num_layers)
    text = CharLM(vocabulary, config, seed=0).eval().generate(seed=0)
    next(text)
    return lambda: next(text)


def torch_call(network: Network, threads: int) -> Call | None:
    """Return a function that takes a step of PyTorch's layer; None if there is no such layer.

    It runs on a one-hot row and passes the state on to the next step.
    """
    if importlib.util.find_spec("torch") is None or network.cell not in twin_cells():
        return None
    import torch

    torch.set_num_threads(threads)
    kind, options = twin_cells()[network.cell]
    make: Callable[..., Any] = getattr(torch.nn, kind)
    module = make(network.characters, network.hidden_size, network.num_layers, **options).eval()
    x, state = torch.zeros(1, 1, network.characters), None
    x[0, 0, 1] = 1

    def step() -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = module(x, state)

    return step


def run_network(network: Network, threads: int, peaks: Peaks, seconds: float) -> dict[str, Any]:
    """Measure the stream of a network, its generation of text and PyTorch's stream, for JSON.

    Args:
        network: The network.
        threads: The number of threads of rnnfast and of PyTorch.
        peaks: The limits of the machine for this number of threads.
        seconds: About how long to measure.
    """
    with thread_count(threads):
        calls = {"stream": stream_call(network), "text": sampling_call(network)}
        peer = torch_call(network, threads)
        if peer is not None:
            calls["torch stream"] = peer
        found = measure_latency(calls, seconds)
    return {
        **network._asdict(),
        "threads": threads,
        "floor": network.bytes / peaks.bandwidth_for(network.bytes),
        "latency": {
            name: {"calls": value.calls, "percentiles": value.percentiles}
            for name, value in found.items()
        },
    }
