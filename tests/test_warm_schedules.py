"""Schedules that rise, restart or follow each other, compared with PyTorch's at every step."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import CosineWarmRestarts, ExponentialDecay, LinearWarmup, OneCycle, ScheduleChain

LR = 0.3
Make = Callable[[rnnfast.Optimizer], rnnfast.Schedule]


def sgd(**options: Any) -> rnnfast.SGD:
    return rnnfast.SGD(rnnfast.Linear(1, 1), LR, **options)


# Our schedules, and PyTorch's as functions of (torch.optim.lr_scheduler, optimizer).
EQUAL: dict[str, tuple[Make, Callable[[Any, Any], Any]]] = {
    "warmup": (lambda o: LinearWarmup(o, 5), lambda t, o: t.LinearLR(o)),
    "warmup from": (
        lambda o: LinearWarmup(o, 8, 0.01),
        lambda t, o: t.LinearLR(o, start_factor=0.01, total_iters=8),
    ),
    "one cycle": (lambda o: OneCycle(o, 40), lambda t, o: t.OneCycleLR(o, LR, total_steps=40)),
    "one cycle linear": (
        lambda o: OneCycle(
            o, 40, 0.25, anneal="linear", initial_factor=1 / 10, final_factor=1 / 1000
        ),
        lambda t, o: t.OneCycleLR(
            o,
            LR,
            total_steps=40,
            pct_start=0.25,
            anneal_strategy="linear",
            div_factor=10,
            final_div_factor=100,
        ),
    ),
    "one cycle of three": (
        lambda o: OneCycle(o, 40, 0.4, three_phases=True),
        lambda t, o: t.OneCycleLR(o, LR, total_steps=40, pct_start=0.4, three_phase=True),
    ),
    "restarts": (
        lambda o: CosineWarmRestarts(o, 7),
        lambda t, o: t.CosineAnnealingWarmRestarts(o, 7),
    ),
    "growing restarts": (
        lambda o: CosineWarmRestarts(o, 3, 2, final_factor=0.1),
        lambda t, o: t.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.1 * LR),
    ),
    "chain": (
        lambda o: ScheduleChain(
            [LinearWarmup(o, 4), CosineWarmRestarts(o, 6), ExponentialDecay(o, 0.9)], [4, 20]
        ),
        lambda t, o: t.SequentialLR(
            o,
            [
                t.LinearLR(o, total_iters=4),
                t.CosineAnnealingWarmRestarts(o, 6),
                t.ExponentialLR(o, 0.9),
            ],
            [4, 20],
        ),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_to_torch_step_by_step(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = EQUAL[name]
    optimizer = sgd()
    schedule = ours(optimizer)
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about its own schedules
        their = theirs(torch.optim.lr_scheduler, other)
        for step in range(40):
            # PyTorch computes some rates by repeated multiplication, which rounds once per step.
            expected = other.param_groups[0]["lr"]
            assert optimizer.lr == pytest.approx(expected, rel=1e-14 * (step + 1), abs=1e-16), step
            if step < 39:
                other.step()
                their.step()
                schedule.step()


@pytest.mark.parametrize("three_phases", [False, True])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_the_momentum_of_one_cycle_is_that_of_torch(kind: str, three_phases: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer: Any = getattr(rnnfast, kind)(rnnfast.Linear(1, 1), LR, **options)
    other = getattr(torch.optim, kind)([torch.nn.Parameter(torch.zeros(1))], lr=LR, **options)
    schedule = OneCycle(optimizer, 30, momentum=(0.85, 0.95), three_phases=three_phases)
    their = torch.optim.lr_scheduler.OneCycleLR(other, LR, total_steps=30, three_phase=three_phases)
    for step in range(30):
        group = other.param_groups[0]
        ours = optimizer.momentum if kind == "SGD" else optimizer.betas[0]
        expected = group["momentum"] if kind == "SGD" else group["betas"][0]
        assert ours == pytest.approx(expected, rel=1e-14), step
        if step < 29:
            other.step()
            their.step()
            schedule.step()
    resumed: Any = getattr(rnnfast, kind)(rnnfast.Linear(1, 1), LR, **options)
    again = OneCycle(resumed, 30, momentum=(0.85, 0.95), three_phases=three_phases)
    again.load_state_dict({**schedule.state_dict(), "steps": 9})
    schedule.load_state_dict({**schedule.state_dict(), "steps": 9})
    assert resumed.lr == optimizer.lr
    if kind == "Adam":
        assert resumed.betas == optimizer.betas


def test_rates_stay_at_the_end() -> None:
    optimizer = sgd()
    warmup = LinearWarmup(optimizer, 2, 0.0)
    rates = []
    for _ in range(5):
        rates.append(optimizer.lr)
        warmup.step()
    assert rates == [0.0, LR / 2, LR, LR, LR]
    cycle = OneCycle(sgd(), 10)
    for _ in range(20):
        cycle.step()
    assert cycle.optimizer.lr == pytest.approx(LR / 25e4, rel=1e-14)


@pytest.mark.parametrize("name", EQUAL)
def test_resuming(name: str) -> None:
    make, _ = EQUAL[name]
    one, other = sgd(), sgd()
    schedule, resumed = make(one), make(other)
    for _ in range(11):
        schedule.step()
    resumed.load_state_dict(schedule.state_dict())
    assert other.lr == one.lr
    for _, step in itertools.product(range(9), (schedule, resumed)):
        step.step()
    assert other.lr == one.lr


def test_a_chain_starts_from_the_rate_before_its_schedules() -> None:
    optimizer = sgd()
    links = [LinearWarmup(optimizer, 2, 0.5), ExponentialDecay(optimizer, 0.5)]
    chain = ScheduleChain(links, milestones=[2])
    rates = []
    for _ in range(5):
        rates.append(optimizer.lr)
        chain.step()
    np.testing.assert_allclose(rates, LR * np.array([0.5, 0.75, 1, 0.5, 0.25]), rtol=1e-15)
    assert repr(chain).startswith("ScheduleChain(milestones=[2], base_lr=0.3, steps=5")


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "total": (lambda: OneCycle(sgd(), 1), ValueError, "total: expected at least 2, got 1"),
    "rise": (
        lambda: OneCycle(sgd(), 10, 0.1),
        ValueError,
        "rise: expected phases of at least one step each, got 0.1 of total = 10 steps",
    ),
    "three phases": (
        lambda: OneCycle(sgd(), 10, 0.9, three_phases=True),
        ValueError,
        "rise: expected phases of at least one step",
    ),
    "anneal": (
        lambda: OneCycle(sgd(), 10, anneal="cos"),
        ValueError,
        "anneal: expected one of cosine, linear, got 'cos'",
    ),
    "momentum": (
        lambda: OneCycle(sgd(), 10, momentum=(0.8, 0.9)),
        ValueError,
        "momentum: expected an optimiser with momentum, got SGD without it",
    ),
    "momentum order": (
        lambda: OneCycle(sgd(momentum=0.9), 10, momentum=(0.9, 0.8)),
        ValueError,
        "momentum: expected the lower value first",
    ),
    "growth": (
        lambda: CosineWarmRestarts(sgd(), 10, 0),
        ValueError,
        "growth: expected at least 1, got 0",
    ),
    "plateau in a chain": (
        lambda: ScheduleChain([rnnfast.ReduceOnPlateau(sgd())], []),  # type: ignore[list-item]
        TypeError,
        r"schedules\[0\]: expected a schedule whose rate depends only on the number of steps",
    ),
    "two optimisers": (
        lambda: ScheduleChain([LinearWarmup(sgd(), 2), LinearWarmup(sgd(), 2)], [2]),
        ValueError,
        r"schedules\[1\]: expected a schedule of the same optimiser as schedules\[0\]",
    ),
    "milestones": (
        lambda: ScheduleChain([LinearWarmup(sgd(), 2)], [2]),
        ValueError,
        "milestones: expected 0, one fewer than schedules, got 1",
    ),
    "falling milestones": (
        lambda: ScheduleChain([LinearWarmup(o := sgd(), 2), *[LinearWarmup(o, 2)] * 2], [3, 2]),
        ValueError,
        r"milestones: expected increasing steps, got \[3, 2\]",
    ),
    "no schedules": (lambda: ScheduleChain([], []), ValueError, "schedules: expected at least one"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_refused(name: str) -> None:
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()
