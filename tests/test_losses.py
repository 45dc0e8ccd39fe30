"""Losses that have no counterpart to compare with: quantiles, reductions, conversions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
from tolerances import CENTRAL_DIFFERENCE, CENTRAL_DIFFERENCE_STEP

T, B, C = 5, 3, 4
Loss = Callable[..., Any]


def reals(*shape: int, seed: int = 0) -> NDArray:
    """Return values that float32 holds exactly."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return values.astype("float32").astype("float64")


def zeros(*shape: int, dtype: str = "float64") -> NDArray:
    return np.zeros(shape, dtype)


# Every loss on the same shape (T, B, C), with the arguments after y.
Q = 0.3
LOSSES: dict[str, tuple[Loss, list[Any]]] = {
    "mse": (rnnfast.mse, [reals(T, B, C, seed=1)]),
    "l1": (rnnfast.l1, [reals(T, B, C, seed=1)]),
    "huber": (rnnfast.huber, [reals(T, B, C, seed=1)]),
    "quantile": (rnnfast.quantile, [reals(T, B, C, seed=1), Q]),
    "quantiles": (rnnfast.quantile, [reals(T, B, seed=1), [0.1, 0.25, 0.5, 0.9]]),
    "bce": (rnnfast.bce_with_logits, [np.abs(reals(T, B, C, seed=1)) % 1]),
    "nll": (rnnfast.nll, [np.arange(T * B).reshape(T, B) % C]),
    "cross_entropy": (rnnfast.softmax_cross_entropy, [np.arange(T * B).reshape(T, B) % C]),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


@pytest.mark.parametrize("name", [*LOSSES, "gaussian"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradient_is_that_of_the_loss(name: str, reduction: str) -> None:
    """Central differences confirm gradients; the gradient of "none" is that of the sum."""
    lengths = [T, 0, 2]

    def run(y: NDArray) -> tuple[float, Any]:
        if name == "gaussian":
            target = reals(T, B, C, seed=1)
            var = np.abs(reals(T, B, 1, seed=2)) + 0.5
            loss, (gradient, _) = rnnfast.gaussian_nll(
                y, target, var, reduction=reduction, lengths=lengths
            )
        else:
            call, others = LOSSES[name]
            loss, gradient = call(y, *others, reduction=reduction, lengths=lengths)
        return float(np.sum(loss)), gradient

    y = reals(T, B, C)
    _, gradient = run(y)
    for at in np.ndindex(y.shape):
        up, down = y.copy(), y.copy()
        up[at] += CENTRAL_DIFFERENCE_STEP
        down[at] -= CENTRAL_DIFFERENCE_STEP
        slope = (run(up)[0] - run(down)[0]) / (2 * CENTRAL_DIFFERENCE_STEP)
        assert gradient[at] == pytest.approx(slope, abs=CENTRAL_DIFFERENCE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [5, 16, 67])
def test_the_largest_logit_may_be_anywhere(classes: int, dtype: str) -> None:
    """It is subtracted before exp, which would otherwise overflow."""
    y = reals(classes, classes).astype(dtype) + 2000 * np.eye(classes, dtype=dtype)
    loss, gradient = rnnfast.softmax_cross_entropy(y, np.arange(classes), reduction="none")
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_quantile_is_the_pinball_loss() -> None:
    y, target, levels = reals(6, 2, 3), reals(6, 2, seed=1), np.array([0.1, 0.5, 0.75])
    y[0, 0, 1] = target[0, 0]
    error = target[..., None] - y
    losses, gradient = rnnfast.quantile(y, target, levels, reduction="none")
    np.testing.assert_allclose(losses, np.maximum(levels * error, (levels - 1) * error), rtol=1e-14)
    expected = np.where(error > 0, -levels, 1 - levels)
    expected[0, 0, 1] = 0  # as for l1 at its kink
    np.testing.assert_array_equal(gradient, expected)
    one, done = rnnfast.quantile(y[..., 0], target, 0.1, reduction="none")
    np.testing.assert_array_equal(one, losses[..., 0])
    np.testing.assert_array_equal(done, gradient[..., 0])
    half, dhalf = rnnfast.quantile(y[..., 1], target, 0.5)
    full, dfull = rnnfast.l1(y[..., 1], target)
    assert half == full / 2
    np.testing.assert_array_equal(dhalf, dfull / 2)


def test_quantile_is_least_at_the_quantile() -> None:
    samples = reals(1000)
    for q in (0.1, 0.5, 0.9):
        grid = np.linspace(-2, 2, 801)
        losses = [rnnfast.quantile(np.full(1000, y), samples, q)[0] for y in grid]
        assert grid[np.argmin(losses)] == pytest.approx(np.quantile(samples, q), abs=0.01)


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "list"])
def test_computes_in_the_dtype_of_its_first_array(name: str, dtype: str) -> None:
    call, others = LOSSES[name]
    y = np.round(reals(T, B, C) * 8) / 8  # exact in all types but the integers
    y = np.round(y) if dtype == "int64" else y
    losses, gradient = call(
        y.tolist() if dtype == "list" else y.astype(dtype), *others, reduction="none"
    )
    wanted = "float32" if dtype in ("float16", "float32") else "float64"
    assert losses.dtype == gradient.dtype == wanted
    exact, dexact = call(y, *others, reduction="none")
    eps = float(np.finfo(wanted).eps)
    np.testing.assert_allclose(losses, exact, rtol=0, atol=8 * eps * np.abs(exact).max())
    np.testing.assert_allclose(gradient, dexact, rtol=0, atol=8 * eps * np.abs(dexact).max())


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_float_of_float32_is_summed_in_float64(name: str, reduction: str) -> None:
    call, others = LOSSES[name]
    loss, _ = call(reals(T, B, C).astype("float32"), *others, reduction=reduction)
    exact, _ = call(reals(T, B, C), *others, reduction=reduction)
    assert type(loss) is float
    assert loss == pytest.approx(exact, rel=4 * float(np.finfo("float32").eps))


@every_loss
def test_leaves_the_callers_arrays_alone(name: str) -> None:
    call, others = LOSSES[name]
    y = reals(T, B, C)
    given = [y, *others]
    before = [np.array(a) for a in given]
    for lengths in (None, [T, 1, 0]):
        call(*given, lengths=lengths)
        for array, copy in zip(given, before, strict=True):
            np.testing.assert_array_equal(array, copy)


@every_loss
def test_nothing_counts(name: str) -> None:
    """The mean over nothing is NaN, with a gradient of 0 and without a warning."""
    call, others = LOSSES[name]
    loss, gradient = call(reals(T, B, C), *others, lengths=[0] * B)
    assert math.isnan(loss)
    assert not gradient.any()
    total, _ = call(reals(T, B, C), *others, lengths=[0] * B, reduction="sum")
    assert total == 0


@every_loss
def test_strange_values_warn_of_nothing(name: str) -> None:
    call, others = LOSSES[name]
    y = reals(T, B, C)
    y.flat[:4] = [np.nan, np.inf, -np.inf, 1e300]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, gradient = call(y, *others, reduction="sum")
    assert np.isfinite(gradient[1:]).all()
    if name not in ("nll", "cross_entropy"):
        assert np.isnan(gradient.flat[0])


def test_losses_of_numbers_without_axes() -> None:
    for call in (rnnfast.mse, rnnfast.l1, rnnfast.huber):
        loss, gradient = call(3.0, 1.0, reduction="none")
        assert loss.shape == gradient.shape == ()
        assert call(3.0, 1.0)[0] == float(loss)
    assert rnnfast.mse(3.0, 1.0) == (4.0, 4.0)


def test_the_gradient_by_a_variance_below_eps_is_that_at_eps() -> None:
    _, (_, dvar) = rnnfast.gaussian_nll([1.0], [1.5], [0.0], eps=0.5)
    _, (_, expected) = rnnfast.gaussian_nll([1.0], [1.5], [0.5], eps=0.5)
    np.testing.assert_array_equal(dvar, expected)
