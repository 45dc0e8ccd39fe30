"""What a trainer is made of, checked."""

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


def check_parts(model: Any, optimizer: Any, schedule: Any, validation: Any, options: Any) -> None:
    """Checks the types of a trainer's parts.

    Raises:
        ValueError: the schedule is of another optimiser.
        TypeError: a part is of the wrong type.
    """
    checks.of_type("model", model, Module)
    checks.of_type("optimizer", optimizer, Optimizer)
    checks.of_type("options", options, RunOptions)
    if isinstance(validation, Iterator):
        raise TypeError(
            "validation: expected batches that can be read many times, such as a list, got "
            f"{type(validation).__name__}"
        )
    if schedule is None:
        return
    if not isinstance(schedule, (Schedule, ReduceOnPlateau)):
        kind = type(schedule).__name__
        raise TypeError(f"schedule: expected a schedule of rnnfast, got {kind}")
    if schedule.optimizer is not optimizer:
        raise ValueError("schedule: expected one of `optimizer`, got one of another")


def loss_of(model: Module, loss: Loss | None) -> Loss:
    """The loss that is given, or else the model's own.

    Raises:
        TypeError: there is none.
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
    """The listeners that options ask for.

    Args:
        options: the options.
        validates: whether there are data to validate on.
        writes: whether there is an output.

    Raises:
        ValueError: they need what is not there.
    """
    if options.keep_best and not writes:
        raise ValueError("keep_best: expected `output`, beside which they are kept, got none")
    for name in ("patience", "keep_best"):
        if getattr(options, name) and not validates:
            raise ValueError(f"{name}: expected data to validate on, got none")
    own: list[Callback] = []
    if options.patience:
        own.append(EarlyStopping(options.patience))
    if options.keep_best:
        own.append(BestCheckpoints(options.keep_best))
    return own
