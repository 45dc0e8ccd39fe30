"""`gradcheck` finds wrong gradients and names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import autograd
from rnnfast.autograd.tensor import computed

X = np.random.default_rng(0).standard_normal((2, 3))


def planted(x: Any, error: np.ndarray | float) -> Any:
    """Return x squared, with an error in its gradient."""
    return computed(x.value**2, (x, lambda g: g * (2 * x.value + error)))


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_right_gradient_passes(fast_mode: bool) -> None:
    assert rnnfast.gradcheck(lambda x: planted(x, 0), X, fast_mode=fast_mode) is True


@pytest.mark.parametrize("size", [1.0, 1e-4, np.nan, np.inf])
def test_a_wrong_element_is_named(size: float) -> None:
    error = np.zeros((2, 3))
    error[1, 2] = size
    with pytest.raises(
        AssertionError, match=r"inputs, element \(1, 2\): .*; 1 of the 6 values compared"
    ):
        rnnfast.gradcheck(lambda x: planted(x, error), X)
    with pytest.raises(AssertionError, match="inputs, in a random direction: expected"):
        rnnfast.gradcheck(lambda x: planted(x, error), X, fast_mode=True)


def test_the_wrong_one_of_several_inputs_and_results_is_named() -> None:
    def function(a: Any, states: Any, number: float) -> Any:
        return a * number, (planted(states[1], 1) * states[0], [states[0].sum()])

    with pytest.raises(
        AssertionError, match=r"inputs\[1\]\[1\], element \(\d, \d\): .*; 6 of the 6"
    ):
        rnnfast.gradcheck(function, (X, (X, X + 1), 2.0))


def test_a_gradient_that_is_lost_is_found() -> None:
    with pytest.raises(AssertionError, match=r"expected the gradient .* got 0;"):
        rnnfast.gradcheck(lambda x: x.detach() * 2, X)


def test_a_wrong_gradient_of_a_parameter_is_named_and_its_arrays_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = rnnfast.Linear(3, 4, dtype="float64", seed=1)
    layer.weight.grad[...] = 7
    values = layer.state_dict()
    right = rnnfast.Linear._differentiate

    def wrong(self: Any, *args: Any) -> Any:
        self.bias.grad[2] += 1
        return right(self, *args)

    monkeypatch.setattr(rnnfast.Linear, "_differentiate", wrong)
    for options in ({}, {"backward": layer.backward}):
        with pytest.raises(AssertionError, match=r"bias, element \(2,\)"):
            rnnfast.gradcheck(layer, X, **options)
    np.testing.assert_array_equal(layer.weight.grad, 7)
    np.testing.assert_array_equal(layer.bias.grad, 0)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, values[name])


@pytest.mark.parametrize("wrong", ["dx", "dstate", "none", "shape", "few"])
def test_a_wrong_explicit_backward_is_named(wrong: str) -> None:
    layer = rnnfast.GRU(3, 4, dtype="float64", seed=1)
    x, h = X[None], np.zeros((1, 2, 4))

    def backward(dy: np.ndarray, dstate: np.ndarray) -> Any:
        dx, dh = layer.backward(dy, dstate)
        if wrong in ("dx", "dstate"):
            (dx if wrong == "dx" else dh)[0, 1] *= 1.01
        return {"none": (None, dh), "shape": (dx[0], dh), "few": dx}.get(wrong, (dx, dh))

    message = {
        "dx": r"inputs\[0\], element \(0, 1, \d\)",
        "dstate": r"inputs\[1\], element \(0, 1, \d\)",
        "none": r"inputs\[0\]: expected a gradient of shape \(1, 2, 3\), got None",
        "shape": r"inputs\[0\]: expected a gradient .*, got one of shape \(2, 3\)",
        "few": "backward: expected one gradient for each of 2 inputs, got 1",
    }[wrong]
    with pytest.raises(ValueError if wrong == "few" else AssertionError, match=message):
        rnnfast.gradcheck(layer, (x, h), backward=backward)


def test_no_call_waits_after_an_explicit_check() -> None:
    layer = rnnfast.LSTM(3, 4, dtype="float64", seed=1)
    assert rnnfast.gradcheck(layer, X[None], backward=layer.backward)
    with pytest.raises(RuntimeError, match="there is none: the layer has not been called"):
        layer.backward(None)


def test_parameters_of_one_name_are_all_checked() -> None:
    one, other = (rnnfast.Linear(3, 3, dtype="float64", seed=i) for i in range(2))

    def wrong(x: Any) -> Any:
        return one(x) + other(x) + planted(other.weight.tensor(), 1)[:2]

    parameters = [*one.parameters(), *other.parameters()]
    with pytest.raises(AssertionError, match="weight, element"):
        rnnfast.gradcheck(wrong, X, parameters=parameters)
    assert rnnfast.gradcheck(lambda x: one(x) * other(x), X, parameters=parameters)
    assert rnnfast.gradcheck(lambda x, w: x @ w.T, (X, one.weight))
    with pytest.raises(AssertionError, match="weight, element"):
        rnnfast.gradcheck(lambda x, w: x @ planted(w, 1), (X, one.weight))


@contextmanager
def refused(error: type[Exception], message: str) -> Iterator[None]:
    with pytest.raises(error, match=message):
        yield


def test_what_cannot_be_checked_is_refused() -> None:
    float32 = rnnfast.Linear(3, 4)
    with refused(TypeError, "inputs: expected float64, .* got float32"):
        rnnfast.gradcheck(autograd.tanh, X.astype("f4"))
    with refused(TypeError, "result: expected float64"):
        rnnfast.gradcheck(float32, X)
    with refused(TypeError, "weight: expected float64"):
        rnnfast.gradcheck(lambda x: x, X, parameters=float32.parameters())
    with refused(TypeError, "inputs: expected at least one float64 array or parameter"):
        rnnfast.gradcheck(lambda *_: None, [1.0, 2.0])
    with refused(TypeError, "result: expected Tensor, got ndarray"):
        rnnfast.gradcheck(lambda x: x.value, X)
    dropout = rnnfast.GRU(3, 4, input_dropout=0.5, dtype="float64", seed=1)
    with refused(ValueError, "function: expected two calls with the same inputs"):
        rnnfast.gradcheck(dropout, X[None])
    with refused(RuntimeError, "GRU: expected training mode"):
        rnnfast.gradcheck(dropout.eval(), X[None], parameters=[])
