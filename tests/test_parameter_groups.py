"""Groups of parameters in optimisers, frozen parameters, and gradients that are not finite."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cases
import rnnfast
from optim_cases import OPTIMIZERS, make_parameters, reals

STEPS = 5
# Each optimiser with options for the first group; the second group has the optimiser's own.
GROUPED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9}, {"lr": 0.3, "momentum": 0.0, "weight_decay": 0.1}),
    ("Adagrad", {}, {"lr": 0.3, "eps": 1e-3, "lr_decay": 0.1}),
    ("RMSprop", {}, {"centered": True, "momentum": 0.5, "alpha": 0.9}),
    ("Adam", {}, {"lr": 1e-4, "betas": (0.5, 0.7), "eps": 1e-3}),
    ("AdamW", {"lr": 0.01}, {"weight_decay": 0.0}),
]
all_grouped = pytest.mark.parametrize(
    ("name", "options", "own"), GROUPED, ids=[name for name, *_ in GROUPED]
)


def fill(parameters: list[rnnfast.Parameter], step: int, dtype: str = "float32") -> None:
    for p, gradient in zip(parameters, reals(dtype, 1, step), strict=True):
        p.grad[...] = gradient


def values(parameters: list[rnnfast.Parameter]) -> dict[str, NDArray]:
    return {p.name: p.value for p in parameters}


@all_grouped
def test_a_group_is_updated_as_by_an_optimiser_of_its_own(
    name: str, options: dict[str, Any], own: dict[str, Any]
) -> None:
    kind = getattr(rnnfast, name)
    together, apart = make_parameters("float32"), make_parameters("float32")
    groups = [{"params": together[:2], **own}, {"params": together[2:]}]
    optimizer = kind(groups, **options)
    single = [kind(apart[:2], **{**options, **own}), kind(apart[2:], **options)]
    for step in range(STEPS):
        fill(together, step)
        fill(apart, step)
        norm = optimizer.step(clip_norm=3.0, clip_value=1.5, zero_grad=True)
        assert norm == rnnfast.clip_grad_norm_(apart, 3.0)
        rnnfast.clip_grad_value_(apart, 1.5)
        for one in single:
            one.step()
        assert not any(p.grad.any() for p in together)
    cases.assert_identical(values(together), values(apart))


@all_grouped
def test_groups_equal_those_of_torch(
    name: str, options: dict[str, Any], own: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in reals("float64", 0)]
    ours = make_parameters("float64")
    groups = [[{"params": p[:2], **own}, {"params": p[2:]}] for p in (theirs, ours)]
    their = getattr(torch.optim, name)(groups[0], **options)
    our = getattr(rnnfast, name)(groups[1], **options)
    for step in range(STEPS):
        for p, gradient in zip(theirs, reals("float64", 1, step), strict=True):
            p.grad = torch.tensor(gradient)
        fill(ours, step, "float64")
        their.step()
        our.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.value, q.detach().numpy(), rtol=0, atol=1e-14 * STEPS)


def test_a_rate_of_a_group_goes_with_the_optimisers() -> None:
    p = make_parameters("float32")
    optimizer = rnnfast.SGD([{"params": p[:1], "lr": 1e-3}, {"params": p[1:]}], lr=0.1)
    one, other = optimizer.groups
    assert (one.lr, other.lr) == (1e-3, 0.1)
    schedule = rnnfast.ExponentialDecay(optimizer, 0.5)
    schedule.step()
    assert one.lr == pytest.approx(5e-4, rel=1e-15)
    assert other.lr == 0.05
    one.lr = 0.2
    assert one.lr == 0.2
    optimizer.lr = 0.0
    assert one.lr == 0.0
    with pytest.raises(ValueError, match="lr: expected a rate of the optimiser above 0"):
        one.lr = 0.1
    assert "in 2 groups" in repr(optimizer)
    assert repr(one) == "ParameterGroup(1 parameters of 15 values, lr=0.0)"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_groups_are_copied(copied: Any) -> None:
    p = make_parameters("float32")
    optimizer = rnnfast.Adam([{"params": p[:1], "lr": 1e-2}, {"params": p[1:]}])
    fill(p, 0)
    optimizer.step()
    other = copied(optimizer)
    for one in (optimizer, other):
        fill(one.parameters, 1)
        one.step()
    cases.assert_identical(values(other.parameters), values(p))
    assert other.parameters[0].value is not p[0].value


def test_resuming_with_groups_is_bit_exact() -> None:
    def optimizer_of(p: list[rnnfast.Parameter]) -> rnnfast.Optimizer:
        return rnnfast.RMSprop([{"params": p[:2], "centered": True}, {"params": p[2:], "lr": 0.5}])

    p = make_parameters("float32")
    optimizer = optimizer_of(p)
    fill(p, 0)
    optimizer.step()
    optimizer.groups[1].lr = 0.25
    optimizer.lr = 0.0  # as at the end of a schedule
    state = copy.deepcopy(optimizer.state_dict())
    names = {"square.p0", "square.p1", "mean.p0", "mean.p1", "square.p2"}
    assert set(state["buffers"]) == names
    other = make_parameters("float32")
    for a, b in zip(p, other, strict=True):
        b.value = a.value
    resumed = optimizer_of(other)
    resumed.load_state_dict(state)
    for one in (optimizer, resumed):
        one.lr = 0.01
        fill(one.parameters, 1)
        one.step()
    assert resumed.groups[1].lr == 0.25
    cases.assert_identical(values(other), values(p))
    for wrong in ([None], [None, (1.0, 0.0)], [None, 3], "no"):
        with pytest.raises(ValueError, match=r"state_dict\['group_lr'\]"):
            resumed.load_state_dict({**state, "group_lr": wrong})


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no params": (lambda _: [{"lr": 1.0}], ValueError, r"parameters\[0\]: .*the key 'params'"),
    "unknown": (
        lambda p: [{"params": p, "momentun": 1.0}],
        ValueError,
        r"parameters\[0\]: expected only the keys params, lr, weight_decay, .*, got 'momentun'",
    ),
    "value": (
        lambda p: [{"params": p, "weight_decay": -1}],
        ValueError,
        r"parameters\[0\]\['weight_decay'\]: expected at least 0, got -1",
    ),
    "betas": (
        lambda p: [{"params": p, "betas": (0.5, 1.0)}],
        ValueError,
        r"parameters\[0\]\['betas'\]\[1\]: expected a number in \[0, 1\)",
    ),
    "mixed": (
        lambda p: [{"params": p[:1]}, p[1]],
        TypeError,
        r"parameters\[1\]: expected a dict of a group, like the other items, got Parameter",
    ),
    "twice": (
        lambda p: [{"params": p}, {"params": p[0]}],
        ValueError,
        "expected arrays that do not overlap, .*got p0 twice",
    ),
    "empty": (
        lambda p: [{"params": p}, {"params": []}],
        ValueError,
        r"parameters\[1\]\['params'\]: expected at least one, got none",
    ),
    "array": (
        lambda p: [{"params": [p[0].value]}],
        TypeError,
        r"parameters\[0\]\['params'\]\[0\]: expected a module, or a list",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_groups_are_refused(name: str) -> None:
    groups, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        rnnfast.Adam(groups(make_parameters("float32")))


def test_options_of_a_group_go_together() -> None:
    p = make_parameters("float32")
    groups = [{"params": p[:1], "momentum": 0.0}, {"params": p[1:]}]
    with pytest.raises(ValueError, match="nesterov: expected a momentum above 0, got 0"):
        rnnfast.SGD(groups, momentum=0.9, nesterov=True)
    with pytest.raises(ValueError, match="lr: expected a rate of the optimiser above 0"):
        rnnfast.SGD([{"params": p, "lr": 0.1}], lr=0.0)


def test_a_read_only_parameter_of_a_later_group_stops_the_step_before_anything() -> None:
    p = make_parameters("float32")
    optimizer = rnnfast.SGD([{"params": p[:1]}, {"params": p[1:]}], lr=0.1)
    fill(p, 0)
    before, gradient = p[0].copy(), p[0].grad.copy()
    p[2].value.flags.writeable = False
    with pytest.raises(ValueError, match="p2: expected an array to write into"):
        optimizer.step(clip_norm=1e-3)
    np.testing.assert_array_equal(p[0].value, before)
    np.testing.assert_array_equal(p[0].grad, gradient)
    assert optimizer.steps == 0


# ---- frozen parameters


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS[1::3], ids=str)
def test_frozen_parameters_are_passed_by(name: str, options: dict[str, Any]) -> None:
    kind = getattr(rnnfast, name)
    some, all_of = make_parameters("float32"), make_parameters("float32")
    optimizer, plain = kind(all_of, **options), kind([some[0], some[2]], **options)
    before = all_of[1].copy()
    all_of[1].requires_grad = False
    for step in range(STEPS):
        for parameters in (some, all_of):
            for p, gradient in zip(parameters, reals("float32", 1, step), strict=True):
                p.grad[...] = gradient
        assert optimizer.step(clip_norm=2.0) == plain.step(clip_norm=2.0)
    np.testing.assert_array_equal(all_of[1].value, before)
    np.testing.assert_array_equal(all_of[0].value, some[0].value)
    np.testing.assert_array_equal(all_of[2].value, some[2].value)
    assert any("p1" in name for name in optimizer.state_dict()["buffers"]) or not options
    all_of[1].requires_grad = True
    fill(all_of, 0)
    optimizer.step()
    assert (all_of[1].value != before).any()


def test_a_frozen_gradient_is_zero_and_does_not_count() -> None:
    p = make_parameters("float32")
    fill(p, 0)
    p[2].requires_grad = False
    assert not p[2].grad.any()
    p[2].grad[...] = 1e9  # set by hand
    squares = sum(float((g.grad.astype("float64") ** 2).sum()) for g in p[:2])
    assert rnnfast.clip_grad_norm_(p, np.inf) == pytest.approx(squares**0.5, rel=1e-6)
    rnnfast.clip_grad_value_(p, 0.5)
    assert p[2].grad.max() == 1e9
    rnnfast.Adam(p).zero_grad()
    assert not any(q.grad.any() for q in p)


def test_a_step_with_all_frozen_does_nothing() -> None:
    p = make_parameters("float32")
    optimizer = rnnfast.Adam(p)
    for q in p:
        q.requires_grad = False
    before = [q.copy() for q in p]
    assert optimizer.step() is None
    assert optimizer.step(clip_norm=1.0) == 0.0
    assert rnnfast.clip_grad_norm_(p, 1.0) == 0.0
    for q, value in zip(p, before, strict=True):
        np.testing.assert_array_equal(q.value, value)


# ---- gradients that are not finite


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_norm_that_is_not_finite_stops_the_step(
    broken: float, clip_norm: float | None, grouped: bool
) -> None:
    p = make_parameters("float32")
    optimizer = rnnfast.SGD([{"params": p[:1]}, {"params": p[1:]}] if grouped else p, lr=0.1)
    fill(p, 0)
    p[1].grad[0] = broken
    before = [(q.copy(), q.grad.copy()) for q in p]
    with pytest.raises(RuntimeError, match=r"gradients: expected a finite norm, .*got (nan|inf)"):
        optimizer.step(clip_norm=clip_norm, zero_grad=True, error_if_nonfinite=True)
    with pytest.raises(RuntimeError, match="nothing was changed"):
        rnnfast.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    for q, (value, gradient) in zip(p, before, strict=True):
        np.testing.assert_array_equal(q.value, value)
        np.testing.assert_array_equal(q.grad, gradient)
    assert optimizer.steps == 0


@pytest.mark.usefixtures("threads")
def test_a_finite_norm_passes_with_the_same_bits() -> None:
    results = []
    for n in (1, 2):
        for asked in (False, True):
            rnnfast.set_num_threads(n)
            p = make_parameters("float32")
            optimizer = rnnfast.Adam(p)
            fill(p, 0)
            optimizer.step(clip_norm=1.0, error_if_nonfinite=asked)
            results.append(values(p))
    for result in results[1:]:
        cases.assert_identical(result, results[0])
    fill(p, 1)
    norm = optimizer.step(error_if_nonfinite=True)
    squares = sum(float((g.astype("float64") ** 2).sum()) for g in reals("float32", 1, 1))
    assert norm == pytest.approx(squares**0.5, rel=1e-6)
    with pytest.raises(TypeError, match="error_if_nonfinite: expected True or False, got 1"):
        optimizer.step(error_if_nonfinite=1)  # type: ignore[arg-type]
