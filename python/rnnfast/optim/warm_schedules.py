"""Learning-rate schedules with warm-up or warm restarts, and chains of schedules.

The optimiser's rate is the highest one, as in `CosineDecay`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rnnfast._engine import checks
from rnnfast.optim.optimizers import SGD, Adam, Optimizer, RMSprop
from rnnfast.optim.schedules import Schedule


class LinearWarmup(Schedule):
    """Rises linearly from `initial_factor` times the rate to the full rate, and stays there.

    Args:
        optimizer: The optimiser whose rate is set.
        total: Steps until the full rate.
        initial_factor: The initial rate as a fraction of the full one.
    """

    def __init__(self, optimizer: Optimizer, total: int, initial_factor: float = 1 / 3) -> None:
        self.total = checks.positive_int("total", total)
        self.initial_factor = checks.number("initial_factor", initial_factor, 0, 1)
        super().__init__(optimizer)

    def _factor(self, step: int) -> float:
        done = min(1.0, step / self.total)
        return self.initial_factor + (1 - self.initial_factor) * done


class OneCycle(Schedule):
    """Rises to the optimiser's rate, then falls far below the initial one, in a single cycle.

    With `momentum`, the optimiser's momentum, or the first of Adam's betas, moves inversely.

    Source: Smith and Topin, "Super-convergence", 2017; Smith, "A disciplined approach to neural
    network hyper-parameters: part 1", 2018. The rates are those of PyTorch's `OneCycleLR`; its
    `max_lr` is the optimiser's rate here.

    Args:
        optimizer: The optimiser whose rate is set; its current rate is the highest.
        total: Steps of the cycle. Step total - 1 has the lowest rate, which then stays.
        rise: Fraction of the steps in which the rate rises, in (0, 1).
        initial_factor: The initial rate as a fraction of the highest.
        final_factor: The final rate as a fraction of the highest.
        three_phases: Whether the rate falls in two phases: to the initial rate, over as many steps
            as it rose, and then to the final one.
        anneal: The shape of the rise and the fall: "cosine" or "linear".
        momentum: The lowest momentum, which is that at the highest rate, and the highest one; None
            does not change it. PyTorch's default is (0.85, 0.95).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: int,
        rise: float = 0.3,
        *,
        initial_factor: float = 1 / 25,
        final_factor: float = 1 / 25e4,
        three_phases: bool = False,
        anneal: str = "cosine",
        momentum: tuple[float, float] | None = None,
    ) -> None:
        self.total = checks.integer("total", total, 2)
        self.rise = checks.number("rise", rise, 0, 1, open_high=True)
        self.initial_factor = checks.number("initial_factor", initial_factor, 0, 1)
        self.final_factor = checks.number("final_factor", final_factor, 0, 1)
        self.three_phases = checks.boolean("three_phases", three_phases)
        self.anneal = checks.choice("anneal", anneal, ("cosine", "linear"))
        self.momentum = None if momentum is None else _range("momentum", momentum)
        self._ends = self._phase_ends()
        super().__init__(optimizer)
        self._move_momentum()

    def _phase_ends(self) -> list[float]:
        top = self.rise * self.total - 1
        ends = [top, 2 * top] if self.three_phases else [top]
        ends = [*ends, float(self.total - 1)]
        if top <= 0 or sorted(set(ends)) != ends:
            raise ValueError(
                f"rise: expected phases of at least one step each, got {self.rise} of total = "
                f"{self.total} steps"
            )
        return ends

    def _factor(self, step: int) -> float:
        between = [self.initial_factor] if self.three_phases else []
        return self._between(step, [self.initial_factor, 1.0, *between, self.final_factor])

    def _between(self, step: int, values: Sequence[float]) -> float:
        """Interpolate the value at a step between the values at the ends of the phases."""
        phase = min(bisect.bisect_left(self._ends, step), len(self._ends) - 1)
        begin = self._ends[phase - 1] if phase else 0.0
        done = min(1.0, (step - begin) / (self._ends[phase] - begin))
        start, end = values[phase : phase + 2]
        if self.anneal == "cosine":
            return end + (start - end) / 2 * (1 + math.cos(math.pi * done))
        return (end - start) * done + start

    def step(self) -> None:
        """Count one step, and set the rate and the momentum that follow it."""
        super().step()
        self._move_momentum()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state_dict)
        self._move_momentum()

    def _move_momentum(self) -> None:
        if self.momentum is not None:
            low, high = self.momentum
            back = [high] * (len(self._ends) - 1)
            _set_momentum(self.optimizer, self._between(self.steps, [high, low, *back]))


class CosineWarmRestarts(Schedule):
    """Falls along half a cosine in each period, and restarts from the full rate at the next one.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    equation 5.

    Args:
        optimizer: The optimiser whose rate is set; its current rate is the highest.
        period: Steps of the first period.
        growth: The ratio of the length of a period to that of the one before.
        final_factor: The rate at the end of a period as a fraction of the highest.
    """

    def __init__(
        self, optimizer: Optimizer, period: int, growth: int = 1, final_factor: float = 0.0
    ) -> None:
        self.period = checks.positive_int("period", period)
        self.growth = checks.positive_int("growth", growth)
        self.final_factor = checks.number("final_factor", final_factor, 0, 1)
        super().__init__(optimizer)

    def _factor(self, step: int) -> float:
        length = self.period
        if self.growth == 1:
            step %= length
        while step >= length:
            step -= length
            length *= self.growth
        cosine = 0.5 * (1 + math.cos(math.pi * step / length))
        return self.final_factor + (1 - self.final_factor) * cosine


class ScheduleChain(Schedule):
    """Schedules one after the other, each counting its steps from 0.

    All start from the rate that the optimiser had before the first of them was created:

        warmup = LinearWarmup(optimizer, 100)
        schedule = ScheduleChain([warmup, CosineDecay(optimizer, 900)], milestones=[100])

    Args:
        schedules: Schedules of one optimiser, in the order in which they take effect. Once chained,
            call `step` only on the chain.
        milestones: The steps of the chain at which each schedule but the first begins, increasing.
    """

    def __init__(self, schedules: Sequence[Schedule], milestones: Sequence[int]) -> None:
        self._schedules = list(schedules)
        if not self._schedules:
            raise ValueError("schedules: expected at least one, got none")
        for i, schedule in enumerate(self._schedules):
            _check_link(f"schedules[{i}]", schedule, self._schedules[0])
        self.milestones = [
            checks.positive_int(f"milestones[{i}]", step) for i, step in enumerate(milestones)
        ]
        if len(self.milestones) != len(self._schedules) - 1:
            raise ValueError(
                f"milestones: expected {len(self._schedules) - 1}, one fewer than schedules, got "
                f"{len(self.milestones)}"
            )
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones: expected increasing steps, got {self.milestones}")
        first = self._schedules[0]
        first.optimizer.lr = first.base_lr
        super().__init__(first.optimizer)

    def _factor(self, step: int) -> float:
        i = bisect.bisect_right(self.milestones, step)
        return self._schedules[i]._factor(step - (self.milestones[i - 1] if i else 0))


def _check_link(label: str, schedule: Schedule, first: Schedule) -> None:
    """Check that a schedule can be part of a chain."""
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"{label}: expected a schedule whose rate depends only on the number of steps, got "
            f"{type(schedule).__name__}"
        )
    if schedule.optimizer is not first.optimizer:
        raise ValueError(f"{label}: expected a schedule of the same optimiser as schedules[0]")
    if isinstance(schedule, OneCycle) and schedule.momentum is not None:
        raise ValueError(f"{label}: expected momentum=None in a chain, which sets only rates")


def _range(name: str, value: Any) -> tuple[float, float]:
    """Return two numbers in [0, 1), the lower one first."""
    low, high = checks.two_fractions(name, value)
    if low > high:
        raise ValueError(f"{name}: expected the lower value first, got {value}")
    return low, high


def _set_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Set the momentum of an optimiser, or the first of its betas."""
    if isinstance(optimizer, Adam):
        optimizer.betas = (momentum, optimizer.betas[1])
    elif isinstance(optimizer, (SGD, RMSprop)) and optimizer.momentum > 0:
        optimizer.momentum = momentum
    else:
        raise ValueError(
            f"momentum: expected an optimiser with momentum, got {type(optimizer).__name__} "
            "without it"
        )
