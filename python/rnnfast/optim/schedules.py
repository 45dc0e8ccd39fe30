"""Learning-rate schedules: call `step()` after each epoch, or after each optimiser step.

A schedule sets `optimizer.lr` from the rate that the optimiser had when the schedule was created.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rnnfast._engine import checks
from rnnfast.optim.optimizers import Optimizer, described

Curve: TypeAlias = Callable[[float], float]
"""Function from the completed fraction of a run, 0 to 1, to a factor of the learning rate."""


def constant(done: float) -> float:  # noqa: ARG001  (a curve's argument)
    """Return 1 throughout."""
    return 1.0


def linear(done: float) -> float:
    """Return 1 at the start, falling along a line to 0 at the end."""
    return 1.0 - done


def cosine(done: float) -> float:
    """Return 1 at the start, falling along half a cosine to 0 at the end."""
    return 0.5 * (1.0 + math.cos(math.pi * done))


CURVES: dict[str, Curve] = {"constant": constant, "linear": linear, "cosine": cosine}


class Schedule:
    """Base of the schedules whose rate depends only on the number of steps.

    Attributes:
        optimizer: The optimiser whose rate is set.
        base_lr: The optimiser's rate when the schedule was created.
        steps: Number of steps made.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = _checked(optimizer)
        self.base_lr = optimizer.lr
        self.steps = 0
        optimizer.lr = self.base_lr * self._factor(0)

    def _factor(self, step: int) -> float:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({described(self)})"

    def step(self) -> None:
        """Count one step and set the rate that follows it."""
        self.steps += 1
        self.optimizer.lr = self.base_lr * self._factor(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a later run needs, without the rate, which the optimiser saves."""
        return {"base_lr": self.base_lr, "steps": self.steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.same_names("state_dict", state_dict, ("base_lr", "steps"))
        base_lr = checks.finite("state_dict['base_lr']", state_dict["base_lr"], 0)
        self.steps = checks.count("state_dict['steps']", state_dict["steps"])
        self.base_lr = base_lr
        self.optimizer.lr = self.base_lr * self._factor(self.steps)


class StepDecay(Schedule):
    """Multiplies the rate by `factor` every `every` steps."""

    def __init__(self, optimizer: Optimizer, every: int, factor: float = 0.1) -> None:
        self.every = checks.positive_int("every", every)
        self.factor = checks.finite("factor", factor, 0)
        super().__init__(optimizer)

    def _factor(self, step: int) -> float:
        return self.factor ** (step // self.every)


class ExponentialDecay(StepDecay):
    """Multiplies the rate by `factor` every step."""

    def __init__(self, optimizer: Optimizer, factor: float) -> None:
        super().__init__(optimizer, 1, factor)


class Decay(Schedule):
    """Base of the schedules that rise over a warm-up, then fall along a curve until an end."""

    def __init__(
        self, optimizer: Optimizer, total: int, warmup: int = 0, final_factor: float = 0.0
    ) -> None:
        self.total = checks.positive_int("total", total)
        self.warmup = checks.count("warmup", warmup)
        if warmup >= total:
            raise ValueError(f"warmup: expected at least 0 and below total = {total}, got {warmup}")
        self.final_factor = checks.number("final_factor", final_factor, 0, 1)
        super().__init__(optimizer)

    def _curve(self, done: float) -> float:
        raise NotImplementedError

    def _factor(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = min(1.0, (step - self.warmup) / (self.total - self.warmup))
        return self.final_factor + (1 - self.final_factor) * self._curve(done)


class LinearDecay(Decay):
    """Rises linearly over `warmup` steps, then falls along a line to a final rate, which it keeps.

    Takes the arguments of `CosineDecay`.
    """

    _curve = staticmethod(linear)


class CosineDecay(Decay):
    """Rises linearly over `warmup` steps, then falls along half a cosine to a rate that it keeps.

    Source: Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts.

    Args:
        optimizer: The optimiser whose rate is set; its current rate is the highest.
        total: Steps until the end, warm-up included.
        warmup: Steps of warm-up, in which the rate of step t (from 0) is lr (t + 1) / (warmup + 1).
        final_factor: The final rate as a fraction of the highest.
    """

    _curve = staticmethod(cosine)


class ReduceOnPlateau:
    """Multiplies the rate by `factor` when a loss has not fallen for more than `patience` steps.

    Args:
        optimizer: The optimiser whose rate is set.
        factor: The factor of each reduction, below 1.
        patience: Number of steps without improvement to tolerate.
        threshold: Relative improvement that counts: a loss has fallen if it is below
            best * (1 - threshold).
        min_lr: The lowest rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        *,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
    ) -> None:
        self.optimizer = _checked(optimizer)
        self.factor = checks.number("factor", factor, 0, 1, open_high=True)
        self.patience = checks.count("patience", patience)
        self.threshold = checks.number("threshold", threshold, 0, 1, open_high=True)
        self.min_lr = checks.finite("min_lr", min_lr, 0)
        self.best = math.inf
        self.bad_steps = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({described(self)})"

    def step(self, loss: float) -> None:
        """Record the loss of one step (an epoch or a validation), and reduce the rate if due."""
        loss = float(loss)  # it is an array if it comes from a device
        if loss < self.best * (1 - self.threshold):
            self.best, self.bad_steps = loss, 0
            return
        self.bad_steps += 1
        if self.bad_steps > self.patience:
            self.optimizer.lr = max(self.min_lr, self.optimizer.lr * self.factor)
            self.bad_steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a later run needs, without the rate, which the optimiser saves."""
        return {"best": self.best, "bad_steps": self.bad_steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.same_names("state_dict", state_dict, ("best", "bad_steps"))
        best = checks.number("state_dict['best']", state_dict["best"], -math.inf)
        self.bad_steps = checks.count("state_dict['bad_steps']", state_dict["bad_steps"])
        self.best = best


def _checked(optimizer: Optimizer) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected an optimiser, got {type(optimizer).__name__}")
    return optimizer
