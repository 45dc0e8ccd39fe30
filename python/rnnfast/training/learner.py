"""A step of training: gradients of some batches, clipped, then the optimiser's step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from rnnfast._engine.backend import to_host
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Optimizer
from rnnfast.optim.schedules import Schedule
from rnnfast.training.divergence import TrainingError, diverged
from rnnfast.training.measure import scalar
from rnnfast.training.options import RunOptions
from rnnfast.training.source import BatchSource

Loss: TypeAlias = Callable[[Any, Any], Any]


class Step(NamedTuple):
    """What a step measured.

    Attributes:
        loss: mean loss of its batches.
        norm: the gradients' norm before it was clipped; of a device an array, not waited for.
        items: items of its batches.
        seconds: time that it took.
    """

    loss: float
    norm: Any
    items: int
    seconds: float


class Learner:
    """Makes the steps of a run."""

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
        """Makes a step, by its number from 1; None where the data end.

        Raises:
            TrainingError: the loss is not finite, or the first step found no gradients.
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
        """Adds the gradients of a batch, and returns its loss."""
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
                "loss: expected gradients in the parameters of `optimizer`, got zeros alone in the "
                "first step: a loss that is a number must have taken them, by `backward` of layers"
            )

    def _update(self, batches: int) -> Any:
        """Moves the parameters by the mean gradients of some batches; returns their norm."""
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
