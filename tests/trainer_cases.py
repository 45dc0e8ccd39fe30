"""A small model, batches and short runs for the tests of the trainer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rnnfast
from rnnfast.training import Callback, RunOptions, Trainer

T, B, I, H = 6, 4, 3, 5
RNG = np.random.default_rng(0)
BATCHES = [
    (
        RNG.standard_normal((T, B, I)).astype(np.float32),
        RNG.standard_normal((B, 1)).astype(np.float32),
    )
    for _ in range(5)
]


class Model(rnnfast.Module):
    """A model of a recurrent layer with dropout, which maps the last step to a number."""

    def __init__(self, seed: int = 1, dtype: str = "float32") -> None:
        super().__init__()
        self.recurrent = rnnfast.LSTM(I, H, 2, dropout=0.3, dtype=dtype, seed=seed)
        self.head = rnnfast.Linear(H, 1, dtype=dtype, seed=seed)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y, _ = self.recurrent(x)
        self.shape = y.shape
        return self.head(y[-1])

    def backward(self, dy: np.ndarray) -> None:
        dlast = self.head.backward(dy)
        d = np.zeros(self.shape, dlast.dtype)
        d[-1] = dlast
        self.recurrent.backward(d, need_dx=False)

    def loss(self, batch: tuple[np.ndarray, np.ndarray]) -> float:
        x, target = batch
        difference = self(x) - target
        if self.training:
            self.backward(2 * difference / difference.size)
        return float(np.mean(difference**2))


def adam(model: rnnfast.Module) -> rnnfast.Adam:
    return rnnfast.Adam(model, 1e-2)


def trained(steps: int, *, model: Model | None = None, **rest: Any) -> Trainer:
    model = Model() if model is None else model
    options = RunOptions(steps=steps, **rest.pop("options", {}))
    trainer = Trainer(
        model, rest.pop("batches", BATCHES), optimizer=adam(model), options=options, **rest
    )
    trainer.run()
    return trainer


def checkpointed(steps: int, output: Path | None = None) -> Trainer:
    """Return a run that has not begun and, if it has an output, saves after each step."""
    model = Model()
    options = RunOptions(steps=steps, checkpoint_every=1)
    return Trainer(model, BATCHES, optimizer=adam(model), options=options, output=output)


def assert_same(one: rnnfast.Module, other: rnnfast.Module) -> None:
    for name, value in one.state_dict().items():
        assert value.tobytes() == other.state_dict()[name].tobytes(), name


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


class Unsized:
    """Batches whose number is not known, as those of a stream."""

    def __iter__(self) -> Iterator[Any]:
        return iter(BATCHES)
