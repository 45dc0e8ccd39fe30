"""What a training run does: every choice but the model and the text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast.layers.parameter import Parameter
from rnnfast.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from rnnfast.optim.schedules import CURVES

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "sgd": SGD,
}

SCHEDULES = CURVES  # by the names that the command line has, too


_COUNTS = ("steps", "epochs", "validate_every", "sample_every", "sample_length", "checkpoint_every")


@dataclass(frozen=True)
class TrainingOptions:
    """Choices of a training run.

    The run ends at the first of the limits `steps`, `epochs` and `minutes` that is not 0; without
    any it goes on until it is stopped. Which part of the run is done, for the schedule, is
    measured against them too, so a run is reproducible bit by bit if `minutes` is 0.

    Attributes:
        seq_len: characters T of a sequence; gradients go back that far, the state goes on.
        batch: streams B of the text that are read side by side.
        optimizer: a key of `OPTIMIZERS`.
        optimizer_options: further arguments of the optimiser, such as {"momentum": 0.9}.
        learning_rate: at the start.
        schedule: a key of `SCHEDULES`: how the learning rate falls over the run.
        decay: factor of the learning rate after each epoch, on top of the schedule.
        clip_norm: the gradients' joint norm is scaled down to this; 0 for no limit.
        clip_value: each element of the gradients is clipped to this; 0 for no limit.
        steps: most optimiser steps; 0 for no limit.
        epochs: most passes over the text; 0 for no limit.
        minutes: most time; 0 for no limit.
        validation: part of the text, at its end, that is kept for validation.
        validate_every: steps between validations; 0 for none but the last.
        sample_every: steps between samples; 0 for none but the last.
        sample_length: characters of a sample.
        checkpoint_every: steps between checkpoints; 0 for none but the last.
    """

    seq_len: int = 64
    batch: int = 32
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    decay: float = 1.0
    clip_norm: float = 1.0
    clip_value: float = 0.0
    steps: int = 0
    epochs: int = 0
    minutes: float = 0.0
    validation: float = 0.05
    validate_every: int = 500
    sample_every: int = 1000
    sample_length: int = 300
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {}
        for name in ("seq_len", "batch"):
            checked[name] = checks.positive_int(name, getattr(self, name))
        for name in _COUNTS:
            checked[name] = checks.count(name, getattr(self, name))
        for name in ("minutes", "clip_norm", "clip_value", "learning_rate"):
            checked[name] = checks.number(
                name, getattr(self, name), 0, sys.float_info.max, open_high=False
            )
        checked["decay"] = checks.number("decay", self.decay, 0, 1, open_high=False)
        checked["validation"] = checks.number("validation", self.validation, 0, 1, open_high=True)
        checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        checks.choice("schedule", self.schedule, SCHEDULES)
        checked["optimizer_options"] = _json_object("optimizer_options", self.optimizer_options)
        vars(self).update(checked)  # Python's own numbers, which JSON can hold
        try:
            self.make_optimizer([Parameter("none", np.zeros(1), np.zeros(1))])
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError(f"optimizer_options: {error}") from error

    def make_optimizer(self, parameters: Iterable[Parameter]) -> Optimizer:
        """The optimiser of a run over these parameters."""
        make = OPTIMIZERS[self.optimizer]
        return make(parameters, self.learning_rate, **self.optimizer_options)

    def held_out(self, size: int) -> int:
        """How many characters, at the end of a text of `size`, are kept for validation."""
        return int(size * self.validation)


def _json_object(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `value` as it comes back from a checkpoint."""
    try:
        return dict(json.loads(json.dumps(dict(value))))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected values that JSON can hold: {error}") from error
