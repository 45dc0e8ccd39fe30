"""Checks of the arguments of a trainer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rnnfast._engine import checks
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Optimizer
from rnnfast.optim.schedules import ReduceOnPlateau, Schedule
from rnnfast.training.best import BestCheckpoints
from rnnfast.training.callbacks import Callback
from rnnfast.training.early_stopping import EarlyStopping
from rnnfast.training.learner import Loss
from rnnfast.training.options import RunOptions
from rnnfast.training.run_log import RunLog


def check_parts(model: Any, optimizer: Any, schedule: Any, validation: Any, options: Any) -> None:
    """Check the types of a trainer's parts.

    Raises:
        ValueError: The schedule belongs to another optimiser.
        TypeError: A part is of the wrong type.
    """
    checks.of_type("model", model, Module)
    checks.of_type("optimizer", optimizer, Optimizer)
    checks.of_type("options", options, RunOptions)
    if isinstance(validation, Iterator):
        raise TypeError(
            "validation: expected batches that can be read more than once, such as a list, got "
            f"{type(validation).__name__}"
        )
    if schedule is None:
        return
    if not isinstance(schedule, (Schedule, ReduceOnPlateau)):
        kind = type(schedule).__name__
        raise TypeError(f"schedule: expected a schedule from rnnfast.optim, got {kind}")
    if schedule.optimizer is not optimizer:
        raise ValueError(
            "schedule: expected a schedule of `optimizer`, got one of another optimiser"
        )


def loss_of(model: Module, loss: Loss | None) -> Loss:
    """Return the loss that was given, or else the model's own.

    Raises:
        TypeError: The model has no method `loss`, or the loss is not a function.
    """
    if loss is None:
        loss = getattr(type(model), "loss", None)
        if loss is None:
            raise TypeError(
                f"loss: expected a function (model, batch) -> loss, as {type(model).__name__} has "
                "no method `loss`"
            )
    if not callable(loss):
        raise TypeError(f"loss: expected a function, got {type(loss).__name__}")
    return loss


def own_callbacks(options: RunOptions, validates: bool, writes: bool) -> list[Callback]:
    """Return the log of the run, and the callbacks that the options ask for.

    Args:
        options: The options of the run.
        validates: Whether the run has validation data.
        writes: Whether the run writes to an output file.

    Raises:
        ValueError: An option needs an output file or validation data that the run lacks.
    """
    if options.keep_best and not writes:
        raise ValueError(
            "output: expected a path, beside which `keep_best` keeps its checkpoints, got none"
        )
    for name in ("patience", "keep_best"):
        if getattr(options, name) and not validates:
            raise ValueError(f"{name}: expected data to validate on, got none")
    own: list[Callback] = [RunLog()]
    if options.patience:
        own.append(EarlyStopping(options.patience))
    if options.keep_best:
        own.append(BestCheckpoints(options.keep_best))
    return own
