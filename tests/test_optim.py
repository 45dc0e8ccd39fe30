"""Optimisers against their formulas in plain NumPy and torch.optim; schedules; resuming."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from optim_cases import STEPS, all_optimizers, make_parameters, plain_training, reals
from rnnfast import CosineDecay, ExponentialDecay, LinearDecay, ReduceOnPlateau, StepDecay
from rnnfast.training import SCHEDULES


def make_optimizer(
    name: str, options: dict[str, Any], parameters: list[rnnfast.Parameter]
) -> rnnfast.Optimizer:
    optimizer: rnnfast.Optimizer = getattr(rnnfast, name)(parameters, **options)
    return optimizer


def train(
    optimizer: rnnfast.Optimizer, first: int = 0, last: int = STEPS, dtype: str = "float32"
) -> None:
    for step in range(first, last):
        for p, gradient in zip(optimizer.parameters, reals(dtype, 1, step), strict=True):
            p.grad[...] = gradient
        optimizer.step()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@all_optimizers
def test_formulas(name: str, options: dict[str, Any], dtype: str) -> None:
    expected = plain_training(name, options, "float64")
    single = plain_training(name, options, "float32")
    errors = {key: cases.worst(single[key], expected[key]) for key in expected}
    parameters = make_parameters(dtype)
    train(make_optimizer(name, options, parameters), dtype=dtype)
    got = {p.name: p.value for p in parameters}
    cases.assert_close(got, expected, errors, cases.Task(dtype, longest_sum=STEPS))


@all_optimizers
def test_equal_to_torch(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in reals("float64", 0)]
    optimizer = getattr(torch.optim, name)(theirs, **options)
    for step in range(STEPS):
        for p, gradient in zip(theirs, reals("float64", 1, step), strict=True):
            p.grad = torch.tensor(gradient)
        optimizer.step()
    ours = make_parameters("float64")
    train(make_optimizer(name, options, ours), dtype="float64")
    for p, their in zip(ours, theirs, strict=True):
        # Each step rounds a handful of times, with values of order 1.
        np.testing.assert_allclose(p.value, their.detach().numpy(), rtol=0, atol=1e-14 * STEPS)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_defaults_are_those_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))]).defaults
    ours = make_optimizer(name, {}, make_parameters("float32"))
    shared = {key: value for key, value in theirs.items() if hasattr(ours, key)}
    assert {"lr", "weight_decay"} <= set(shared)
    assert {key: getattr(ours, key) for key in shared} == shared


@all_optimizers
def test_resuming_is_bit_exact(name: str, options: dict[str, Any]) -> None:
    whole = make_parameters("float32")
    train(make_optimizer(name, options, whole))

    first = make_parameters("float32")
    optimizer = make_optimizer(name, options, first)
    train(optimizer, last=3)
    state = copy.deepcopy(optimizer.state_dict())
    train(optimizer, 3, 4)  # further steps leave the state dict unchanged, as it is a copy

    resumed = make_parameters("float32")
    optimizer = make_optimizer(name, options, resumed)
    train(optimizer, last=3)
    optimizer = make_optimizer(name, options, resumed)
    optimizer.load_state_dict(state)
    train(optimizer, 3)
    cases.assert_identical({p.name: p.value for p in resumed}, {p.name: p.value for p in whole})


@pytest.mark.parametrize("values", [np.full((2, 3), 1j), np.full((2, 3), "1")], ids=["i", "text"])
def test_a_state_of_no_reals_is_refused_whole(values: Any) -> None:
    zeros = np.zeros((2, 3), "float32")
    optimizer = rnnfast.SGD([rnnfast.Parameter("p", zeros, zeros.copy())], lr=0.1, momentum=0.9)
    state = optimizer.state_dict()
    (name,) = state["buffers"]
    with pytest.raises(TypeError, match=rf"{name}: expected an array of real numbers, got dtype"):
        optimizer.load_state_dict({**state, "lr": 1.0, "buffers": {name: values}})
    assert optimizer.lr == 0.1


@pytest.mark.usefixtures("threads")
@all_optimizers
def test_the_same_for_any_number_of_threads(name: str, options: dict[str, Any]) -> None:
    shape = (300, 501)  # large enough for several threads
    value, gradient = (np.random.default_rng(i).standard_normal(shape, "float32") for i in (0, 1))
    results = []
    for n in (1, 2, 3):
        rnnfast.set_num_threads(n)
        parameters = [rnnfast.Parameter("p", value.copy(), gradient)]
        optimizer = make_optimizer(name, options, parameters)
        optimizer.step()
        optimizer.step()
        results.append(parameters[0].value)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("clip_norm", "clip_value"), [(1.0, None), (None, 0.5), (1.0, 0.01)])
@all_optimizers
def test_one_pass_has_the_bits_of_the_single_calls(
    name: str,
    options: dict[str, Any],
    clip_norm: float | None,
    clip_value: float | None,
    dtype: str,
) -> None:
    one, single = make_parameters(dtype), make_parameters(dtype)
    fused, plain = make_optimizer(name, options, one), make_optimizer(name, options, single)
    for step in range(STEPS):
        for a, b, gradient in zip(one, single, reals(dtype, 1, step), strict=True):
            a.grad[...] = b.grad[...] = gradient
        norm = fused.step(clip_norm=clip_norm, clip_value=clip_value, zero_grad=True)
        expected = None if clip_norm is None else rnnfast.clip_grad_norm_(single, clip_norm)
        if clip_value is not None:
            rnnfast.clip_grad_value_(single, clip_value)
        plain.step()
        assert norm == expected
        assert not any(p.grad.any() for p in one)
    cases.assert_identical({p.name: p.value for p in one}, {p.name: p.value for p in single})


def test_step_leaves_gradients_unless_told_otherwise() -> None:
    parameters = make_parameters("float32")
    optimizer = rnnfast.Adam(parameters)
    train(optimizer, last=1)
    for p, gradient in zip(parameters, reals("float32", 1, 0), strict=True):
        np.testing.assert_array_equal(p.grad, gradient)


@pytest.mark.parametrize("argument", ["clip_norm", "clip_value"])
def test_step_refuses(argument: str) -> None:
    optimizer = an_optimizer()
    with pytest.raises(ValueError, match=f"{argument}: expected at least 0, got -1"):
        optimizer.step(**{argument: -1})
    with pytest.raises(TypeError, match=f"{argument}: expected a number, got str"):
        optimizer.step(**{argument: "1"})
    assert optimizer.steps == 0


def test_step_refuses_read_only_values() -> None:
    parameters = make_parameters("float32")
    optimizer = rnnfast.SGD(parameters)
    optimizer.step()
    before = parameters[2].value.copy()
    parameters[2].value.flags.writeable = False
    with pytest.raises(ValueError, match=r"p2: .* read-only .* switch to training"):
        optimizer.step()
    assert optimizer.steps == 1  # a refused step does not count
    np.testing.assert_array_equal(parameters[2].value, before)


@all_optimizers
def test_a_copy_has_parameters_of_its_own(name: str, options: dict[str, Any]) -> None:
    optimizer = make_optimizer(name, options, make_parameters("float32"))
    train(optimizer, last=3)
    twin = pickle.loads(pickle.dumps(optimizer))
    train(twin, 3)
    train(copy.deepcopy(optimizer), 3)
    untouched = {p.name: p.value.copy() for p in optimizer.parameters}
    train(optimizer, 3)
    cases.assert_identical(
        {p.name: p.value for p in twin.parameters}, {p.name: p.value for p in optimizer.parameters}
    )
    assert any((p.value != untouched[p.name]).any() for p in optimizer.parameters)


def test_zero_grad() -> None:
    parameters = make_parameters("float32")
    optimizer = rnnfast.SGD(parameters)
    train(optimizer, last=1)
    optimizer.zero_grad()
    assert not any(p.grad.any() for p in parameters)


def rates(schedule: Any, steps: int) -> list[float]:
    result = [schedule.optimizer.lr]
    for _ in range(steps):
        schedule.step()
        result.append(schedule.optimizer.lr)
    return result


def an_optimizer(lr: float = 0.5) -> rnnfast.Optimizer:
    return rnnfast.SGD(make_parameters("float32"), lr)


def test_step_decay() -> None:
    expected = [0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005]
    assert rates(StepDecay(an_optimizer(), every=3), 6) == pytest.approx(expected, rel=1e-15)


def test_exponential_decay() -> None:
    expected = [0.5, 0.25, 0.125, 0.0625]
    assert rates(ExponentialDecay(an_optimizer(), factor=0.5), 3) == expected


def test_cosine_decay_with_warm_up() -> None:
    schedule = CosineDecay(an_optimizer(), total=6, warmup=2, final_factor=0.1)
    falling = [0.1 + 0.9 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    expected = [1 / 3, 2 / 3, *falling, 0.1, 0.1]
    assert rates(schedule, 8) == pytest.approx([0.5 * f for f in expected], rel=1e-14)


def test_linear_decay_with_warm_up() -> None:
    schedule = LinearDecay(an_optimizer(), total=6, warmup=2, final_factor=0.1)
    expected = [1 / 3, 2 / 3, 1.0, 0.775, 0.55, 0.325, 0.1, 0.1, 0.1]
    assert rates(schedule, 8) == pytest.approx([0.5 * f for f in expected], rel=1e-14)


@pytest.mark.parametrize(("name", "decay"), [("linear", LinearDecay), ("cosine", CosineDecay)])
def test_training_runs_and_schedules_follow_the_same_curves(
    name: str, decay: type[LinearDecay | CosineDecay]
) -> None:
    of_runs = [0.5 * SCHEDULES[name](step / 10) for step in range(11)]
    assert rates(decay(an_optimizer(), total=10), 10) == of_runs


def test_reduce_on_plateau() -> None:
    optimizer = an_optimizer(1.0)
    schedule = ReduceOnPlateau(optimizer, factor=0.5, patience=1, threshold=0.1, min_lr=0.2)
    seen = []
    for loss in (2.0, 1.9, 1.5, 1.5, 1.5, 1.5, math.nan, 1.4, 1.4, 1.0):
        schedule.step(loss)
        seen.append(optimizer.lr)
    assert seen == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


@pytest.mark.parametrize(
    "make",
    [
        lambda o: StepDecay(o, 2, 0.5),
        lambda o: ExponentialDecay(o, 0.9),
        lambda o: CosineDecay(o, 10, 3),
        lambda o: LinearDecay(o, 10, 3),
    ],
)
def test_schedules_resume(make: Callable[[rnnfast.Optimizer], Any]) -> None:
    expected = rates(make(an_optimizer()), 8)
    first = make(an_optimizer())
    rates(first, 4)
    resumed = make(an_optimizer())
    resumed.load_state_dict(first.state_dict())
    assert rates(resumed, 4) == expected[4:]


def test_reduce_on_plateau_resumes() -> None:
    first = ReduceOnPlateau(an_optimizer(), patience=1)
    first.step(1.0)
    first.step(1.0)
    resumed = ReduceOnPlateau(an_optimizer(), patience=1)
    resumed.load_state_dict(first.state_dict())
    resumed.step(1.0)
    assert resumed.optimizer.lr == pytest.approx(0.05)
