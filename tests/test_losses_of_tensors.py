"""Losses of tensors have the values of those of arrays, and the same gradients from the tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast

T, B, C = 5, 3, 4
RNG = np.random.default_rng(0)
Y = RNG.standard_normal((T, B, C))
REALS = RNG.standard_normal((T, B, C))
CLASSES = RNG.integers(0, C, (T, B))
LENGTHS = np.array([5, 0, 3])
LOSSES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mse": (rnnfast.mse, (REALS,)),
    "l1": (rnnfast.l1, (REALS,)),
    "huber": (rnnfast.huber, (REALS,)),
    "quantile": (rnnfast.quantile, (REALS[..., 0], (0.1, 0.4, 0.5, 0.9))),
    "bce_with_logits": (rnnfast.bce_with_logits, (REALS > 0,)),
    "nll": (rnnfast.nll, (CLASSES,)),
    "softmax_cross_entropy": (rnnfast.softmax_cross_entropy, (CLASSES,)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["all", "lengths"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_tensors_have_the_gradients_of_arrays(name: str, lengths: Any, reduction: str) -> None:
    loss, others = LOSSES[name]
    options = {"reduction": reduction, "lengths": lengths}
    value, gradient = loss(Y, *others, **options)
    y = rnnfast.tensor(Y, requires_grad=True)
    result = loss(y, *others, **options)
    np.testing.assert_array_equal(result.value, value)
    weights = RNG.standard_normal(result.shape)
    (result * weights).sum().backward()
    factors = weights.reshape(weights.shape + (1,) * (gradient.ndim - weights.ndim))
    np.testing.assert_array_equal(y.grad, gradient * factors)


def test_cross_entropy_has_the_gradient_of_softmax_cross_entropy() -> None:
    y = rnnfast.tensor(Y, requires_grad=True)
    loss = rnnfast.cross_entropy(y, CLASSES, label_smoothing=0.1)
    loss.backward()
    value, gradient = rnnfast.softmax_cross_entropy(Y, CLASSES, label_smoothing=0.1)
    assert float(loss.value) == value
    np.testing.assert_array_equal(y.grad, gradient)
    constant = rnnfast.cross_entropy(rnnfast.tensor(Y), CLASSES, label_smoothing=0.1)
    assert float(constant.value) == value
    assert not constant.requires_grad


@pytest.mark.parametrize("last", [C, 1])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gaussian_nll_has_gradients_by_mean_and_variance(last: int, reduction: str) -> None:
    variance = 0.5 + RNG.random((T, B, last))

    def loss(y: Any, var: Any) -> Any:
        return (rnnfast.gaussian_nll(y, REALS, var, reduction=reduction) * REALS).sum()

    assert rnnfast.gradcheck(loss, (Y, variance))
    y, var = (rnnfast.tensor(array, requires_grad=True) for array in (Y, variance))
    rnnfast.gaussian_nll(y, REALS, var).backward()
    _, (dy, dvar) = rnnfast.gaussian_nll(Y, REALS, variance)
    np.testing.assert_array_equal(y.grad, dy)
    np.testing.assert_allclose(var.grad, dvar, rtol=1e-14)


def test_ctc_of_a_tensor() -> None:
    logits = rnnfast.tensor(Y, requires_grad=True)
    targets, lengths, counts = np.array([[1, 2], [3, 3], [2, 0]]), [5, 4, 3], [2, 2, 1]
    value, gradient = rnnfast.ctc(Y, targets, lengths, counts)
    loss = rnnfast.ctc(logits, targets, lengths, counts)
    loss.backward()
    assert float(loss.value) == value
    np.testing.assert_array_equal(logits.grad, gradient)
