"""Two tasks that need a long memory, adding and copying, and the networks that try to learn them.

Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; in this form Le, Jaitly and
Hinton 2015 (adding) and Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks",
2016 (copying). The copying task has fewer symbols than theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rnnfast
from rnnfast import init

SYMBOLS, ALPHABET = 2, 8  # the copying task: so many symbols out of so many
BLANK, RECALL = ALPHABET, ALPHABET + 1


def adding(rng: np.random.Generator, T: int, batch: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (T, batch, 2) numbers and marks, and the sum of the two marked numbers."""
    x = np.zeros((T, batch, 2), np.float32)
    x[:, :, 0] = rng.random((T, batch))
    who = np.arange(batch)
    first, second = rng.integers(0, T // 2, batch), rng.integers(T // 2, T, batch)
    x[first, who, 1] = x[second, who, 1] = 1
    return x, (x[first, who, 0] + x[second, who, 0])[None, :, None]


def copying(rng: np.random.Generator, T: int, batch: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return symbols, T - 1 blanks, and signs to recall them; and the symbols again."""
    symbols = rng.integers(0, ALPHABET, (SYMBOLS, batch))
    x = np.full((T + 2 * SYMBOLS - 1, batch), BLANK)
    x[:SYMBOLS] = symbols
    x[-SYMBOLS:] = RECALL
    return x, symbols


class Task(NamedTuple):
    """A task: its data, sizes and loss, the loss without any memory, and a loss that solves it."""

    draw: Callable[[np.random.Generator, int, int], tuple[NDArray[Any], NDArray[Any]]]
    inputs: int
    outputs: int
    loss: Callable[[Any, Any], Any]
    without_memory: float
    solved: float


TASKS = {
    "adding": Task(adding, 2, 1, rnnfast.mse, 1 / 6, 0.01),
    "copying": Task(
        copying, ALPHABET + 2, ALPHABET, rnnfast.softmax_cross_entropy, np.log(ALPHABET), 0.1
    ),
}


class Network(NamedTuple):
    """A network: its cell, the learning rate of Adam, and its initial weights for T steps."""

    cell: str
    rate: float
    set_weights: Callable[[Any, int, int], object]


def set_irnn(layer: Any, _T: int, seed: int) -> None:
    """Set the weights of Le, Jaitly and Hinton: identity, zero biases, small input weights."""
    init.identity_(layer.weight_hh_l0)
    init.normal_(layer.weight_ih_l0, 0.0, 0.001, seed=seed)
    init.zeros_(layer.bias_ih_l0), init.zeros_(layer.bias_hh_l0)


def set_chrono(layer: Any, T: int, seed: int) -> None:
    """Set the biases of the gates for dependencies of up to T steps."""
    init.chrono_(layer, T, seed=seed)


NETWORKS = {
    "tanh RNN": Network("rnn_tanh", 0.001, lambda *_: None),
    "IRNN": Network("rnn_relu", 0.001, set_irnn),
    "LSTM": Network("lstm", 0.01, set_chrono),
    "GRU, reset after": Network("gru", 0.01, set_chrono),
    "GRU, reset before": Network("gru_reset_before", 0.01, set_chrono),
}


@dataclass(frozen=True)
class Run:
    """One run to make: a network that learns a task of T steps."""

    task: str
    network: str
    T: int
    seed: int
    updates: int  # the most that are made
    hidden: int = 100
    batch: int = 32


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    run: Run
    losses: list[float]  # means over EVERY updates
    solved_after: int | None  # updates; None if the task was not learned
    seconds: float


EVERY = 50  # updates whose losses are averaged


def learn(run: Run) -> Outcome:
    """Train until the mean loss of EVERY updates, on new data each, solves the task."""
    task, network = TASKS[run.task], NETWORKS[run.network]
    layer: Any = rnnfast.Recurrent(network.cell, task.inputs, run.hidden, seed=run.seed)
    network.set_weights(layer, run.T, run.seed)
    head = rnnfast.Linear(run.hidden, task.outputs, seed=run.seed + 1)
    optimizer = rnnfast.Adam([*layer.parameters(), *head.parameters()], network.rate)
    rng = np.random.default_rng(run.seed)
    losses: list[float] = []
    start = time.perf_counter()
    while len(losses) * EVERY < run.updates:
        total = 0.0
        for _ in range(EVERY):
            x, target = task.draw(rng, run.T, run.batch)
            y, _ = layer(x)
            loss, doutput = task.loss(head(y[-len(target) :]), target)
            dy = np.zeros_like(y)
            dy[-len(target) :] = head.backward(doutput)
            layer.backward(dy, need_dx=False)
            optimizer.step(clip_norm=1.0, zero_grad=True)
            total += loss
        losses.append(total / EVERY)
        if losses[-1] < task.solved:
            break
    solved = len(losses) * EVERY if losses[-1] < task.solved else None
    return Outcome(run, losses, solved, time.perf_counter() - start)
