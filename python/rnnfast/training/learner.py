"""One training step: gradients of some batches, clipping and the optimiser's update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from rnnfast._engine.backends import to_host
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Optimizer
from rnnfast.optim.schedules import Schedule
from rnnfast.training.divergence import TrainingError, diverged
from rnnfast.training.measure import scalar
from rnnfast.training.options import RunOptions
from rnnfast.training.source import BatchSource

Loss: TypeAlias = Callable[[Any, Any], Any]


class Step(NamedTuple):
    """Measurements of one step.

    Attributes:
        loss: Mean loss of the step's batches.
        norm: Norm of the gradients before clipping; on a device an array that may still be pending.
        items: Number of items in the step's batches.
        seconds: Seconds that the step took.
    """

    loss: float
    norm: Any
    items: int
    seconds: float


class Learner:
    """Performs the steps of a run."""

    def __init__(
        self,
        model: Module,
        batches: BatchSource,
        loss: Loss,
        optimizer: Optimizer,
        schedule: Schedule | None,
        items: Callable[[Any], int],
        options: RunOptions,
    ) -> None:
        self._model, self._batches, self._loss = model, batches, loss
        self._optimizer, self._schedule = optimizer, schedule
        self._items, self._options = items, options

    def make_step(self, number: int) -> Step | None:
        """Perform a step, numbered from 1; return None if the data have ended.

        Raises:
            TrainingError: The loss is not finite, or the first step computed no gradients.
        """
        begin = time.perf_counter()
        losses, items = [], 0
        for batch in self._batches.take(self._options.accumulate, self._options.epochs):
            losses.append(self._learn(batch, number))
            items += self._items(batch)
        if not losses:
            return None
        if number == 1:
            self._check_gradients()
        norm = self._update(len(losses))
        return Step(sum(losses) / len(losses), norm, items, time.perf_counter() - begin)

    def _learn(self, batch: Any, number: int) -> float:
        """Add the gradients of a batch, and return its loss."""
        result = self._loss(self._model, batch)
        loss = scalar(result)
        if not math.isfinite(loss):
            raise TrainingError(diverged(f"the loss is {loss}", number))
        if hasattr(result, "backward"):
            result.backward()
        return loss

    def _check_gradients(self) -> None:
        if not any(to_host(p.grad).any() for p in self._optimizer.parameters):
            raise TrainingError(
                "loss: expected gradients in the parameters of `optimizer`, got only zeros in the "
                "first step; a loss that returns a number must itself have called `backward` of "
                "the layers"
            )

    def _update(self, batches: int) -> Any:
        """Update the parameters from the mean gradients of some batches; return their norm."""
        if batches > 1:
            for parameter in self._optimizer.parameters:
                parameter.grad *= 1 / batches
        norm = self._optimizer.step(
            clip_norm=self._options.clip_norm or math.inf,
            clip_value=self._options.clip_value or None,
            zero_grad=True,
        )
        if self._schedule is not None:
            self._schedule.step()
        return norm
