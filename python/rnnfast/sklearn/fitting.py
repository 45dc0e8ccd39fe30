"""Training of the estimators' networks."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from rnnfast._engine import checks
from rnnfast.data.arrays import batches
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Adam
from rnnfast.training.callbacks import Callback
from rnnfast.training.options import RunOptions
from rnnfast.training.trainer import Trainer

CLIP_NORM = 1.0  # largest norm of gradients, which spike in recurrent networks


class Choices(Protocol):
    """The parameters of an estimator that control its training."""

    max_iter: int
    batch_size: int
    learning_rate: float
    early_stopping: bool
    n_iter_no_change: int


@dataclass(frozen=True)
class Fitted:
    """Losses of a training run.

    Attributes:
        losses: Mean training loss of each epoch.
        validation_losses: Validation loss after each epoch; None without early stopping.
    """

    losses: list[float]
    validation_losses: list[float] | None


class _BestWeights(Callback):
    """Keeps the weights of the best validation, and restores them at the end of the run."""

    def __init__(self) -> None:
        self._loss, self._weights = math.inf, dict[str, Any]()

    def on_validation(self, trainer: Trainer) -> None:
        loss = trainer.validation_loss
        if loss is not None and loss < self._loss:
            self._loss = loss
            self._weights = {n: w.copy() for n, w in trainer.model.state_dict().items()}

    def on_end(self, trainer: Trainer) -> None:
        if self._weights:
            trainer.model.load_state_dict(self._weights)


def fit(
    model: Module,
    loss: Callable[[Any, Any], float],
    train: Sequence[NDArray[Any]],
    held_out: Sequence[NDArray[Any]] | None,
    choices: Choices,
    seed: int,
    axis: int = 0,
) -> Fitted:
    """Train a model, and leave it in evaluation mode.

    Args:
        model: The model to train.
        loss: A loss as `Trainer` takes it, for batches of the arrays in `train`.
        train: The arrays to train on.
        held_out: Corresponding arrays to validate on, for early stopping; None for none.
        choices: The parameters that control training.
        seed: Seed of the order of items.
        axis: The axis of the items.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed. This and other signals take effect after the current
            step.
        TrainingError: Training diverged.
    """
    epochs = checks.positive_int("max_iter", choices.max_iter)
    patience = checks.positive_int("n_iter_no_change", choices.n_iter_no_change)
    size = checks.positive_int("batch_size", choices.batch_size)
    learned = batches(*train, batch_size=size, axis=axis, seed=seed)
    validation = None
    if held_out is not None:
        validation = batches(*held_out, batch_size=size, axis=axis, shuffle=False)
    trainer = Trainer(
        model,
        learned,
        loss,
        optimizer=Adam(model, checks.finite("learning_rate", choices.learning_rate, 0)),
        validation=validation,
        items=lambda batch: int(batch[0].shape[axis]),
        options=RunOptions(
            epochs=epochs,
            clip_norm=CLIP_NORM,
            log_every=len(learned),
            validate_every=len(learned) if validation is not None else 0,
            patience=patience if validation is not None else 0,
        ),
        callbacks=[] if validation is None else [_BestWeights()],
    )
    trainer.run()
    if trainer.interrupted_by is not None:
        signal.raise_signal(trainer.interrupted_by)  # raised again for the restored handler
    model.eval()
    history = trainer.history
    measured = None if validation is None else history["validation_loss"].tolist()
    return Fitted(history["loss"].tolist(), measured)


def seeds(random_state: Any, count: int) -> list[int]:
    """Return seeds drawn from an estimator's `random_state`."""
    drawn = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=count)
    return [int(seed) for seed in drawn]
