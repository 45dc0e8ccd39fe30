"""Options of a training run: every choice other than the model and the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast.layers.parameter import Parameter
from rnnfast.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from rnnfast.optim.schedules import CURVES
from rnnfast.training.option import (
    PROGRESS,
    below_one,
    check_options,
    documented,
    fraction,
    non_negative,
    one_of,
    option,
)

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "sgd": SGD,
}

SCHEDULES = CURVES  # under the names that the command line uses

_progress = partial(option, panel=PROGRESS)


def _json_object(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `value` in the form in which a checkpoint returns it."""
    try:
        return dict(json.loads(json.dumps(dict(value))))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected values that JSON can represent: {error}") from error


@documented
@dataclass(frozen=True)
class RunOptions:
    """Options of any training run.

    The run ends when it reaches the first of the limits `steps`, `epochs` and `minutes`, where 0
    means no limit. Without a limit it continues until it is stopped or the batches end.
    """

    steps: int = option(0, "End after this number of steps.", checks.count)
    epochs: int = option(0, "End after this number of passes over the data.", checks.count)
    minutes: float = option(0.0, "End after this number of minutes.", non_negative)
    patience: int = option(
        0,
        "End after this number of validations in a row without a new best; 0 for never.",
        checks.count,
    )
    accumulate: int = option(
        1, "Number of batches whose gradients are averaged for one step.", checks.positive_int
    )
    clip_norm: float = option(0.0, "Largest norm of the gradients; 0 for no limit.", non_negative)
    clip_value: float = option(
        0.0, "Largest element of the gradients; 0 for no limit.", non_negative
    )
    validate_every: int = _progress(
        0, "Steps between validations; 0 for one at the end only.", checks.count
    )
    checkpoint_every: int = _progress(
        0, "Steps between checkpoints; 0 for one at the end only.", checks.count
    )
    keep_best: int = _progress(
        0,
        "Number of checkpoints of the best validations to keep, each in its own file.",
        checks.count,
    )
    log_every: int = _progress(10, "Steps between rows of the history.", checks.positive_int)

    def __post_init__(self) -> None:
        check_options(self)


@documented
@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """Options for training a language model.

    The run ends when it reaches the first of the limits `steps`, `epochs` and `minutes`, where 0
    means no limit. Without a limit it continues until it is stopped. The schedule measures its
    progress against the same limits, so a run is bitwise reproducible only if `minutes` is 0.
    """

    seq_len: int = option(
        64,
        "Length of a sequence; gradients do not reach beyond it, but the state is passed to the "
        "next one.",
        checks.positive_int,
    )
    batch: int = option(
        32, "Number of streams of the text that are read in parallel.", checks.positive_int,
        "--batch", "--batch-size",
    )  # fmt: skip
    optimizer: str = option("adam", f"Optimiser: {', '.join(OPTIMIZERS)}.", one_of(OPTIMIZERS))
    optimizer_options: Mapping[str, Any] = option(
        dict,
        'Further arguments of the optimiser, such as {"momentum": 0.9}.',
        _json_object,
        command_line=False,
    )
    learning_rate: float = option(
        5e-3, "Initial learning rate.", non_negative, "--learning-rate", "--lr"
    )
    schedule: str = option(
        "cosine",
        f"How the learning rate decreases during the run: {', '.join(SCHEDULES)}.",
        one_of(SCHEDULES),
    )
    decay: float = option(
        1.0,
        "Factor by which the learning rate is multiplied after each epoch, in addition to "
        "the schedule.",
        fraction,
    )
    clip_norm: float = option(1.0, "Largest norm of the gradients; 0 for no limit.", non_negative)
    validation: float = option(0.05, "Fraction of the text, at its end, to validate on.", below_one)
    validate_every: int = _progress(
        500, "Steps between validations; 0 for one at the end only.", checks.count
    )
    sample_every: int = _progress(
        1000, "Steps between samples; 0 for one at the end only.", checks.count
    )
    sample_length: int = _progress(300, "Length of a sample; 0 for no samples.", checks.count)
    checkpoint_every: int = _progress(
        1000, "Steps between checkpoints; 0 for one at the end only.", checks.count
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self.make_optimizer([Parameter("none", np.zeros(1), np.zeros(1))])
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError(f"optimizer_options: {error}") from error

    def make_optimizer(self, parameters: Iterable[Parameter]) -> Optimizer:
        """Create the optimiser of a run over these parameters."""
        make = OPTIMIZERS[self.optimizer]
        return make(parameters, self.learning_rate, **self.optimizer_options)

    def held_out(self, size: int) -> int:
        """Return the number of characters held out at the end of a text of `size` characters."""
        return int(size * self.validation)
