"""Calls that wait for their gradient: which one backward takes, and what can go wrong meanwhile."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast._engine.known import COMPILED
from rnnfast.layers.calls import Layer
from rnnfast.training import CharLM, CharLMConfig, Vocabulary


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def indices(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (4, 2))


# Layers, each with a function that makes its input from a seed.
LAYERS: dict[str, tuple[Any, Any]] = {
    **{
        cell: (
            lambda cell=cell: rnnfast.Recurrent(cell, 3, 5, 2, seed=1),
            lambda seed: reals(4, 2, 3, seed=seed),
        )
        for cell in COMPILED
    },
    "batch first": (
        lambda: rnnfast.GRU(3, 5, batch_first=True, seed=1),
        lambda seed: reals(2, 4, 3, seed=seed),
    ),
    "indices": (lambda: rnnfast.LSTM(3, 5, seed=1), indices),
    "linear": (lambda: rnnfast.Linear(3, 5, seed=1), lambda seed: reals(4, 2, 3, seed=seed)),
    "embedding": (lambda: rnnfast.Embedding(3, 5, seed=1), indices),
    **{
        kind: (make, lambda seed: reals(4, 2, 3, seed=seed))
        for kind, make in {
            "tanh": rnnfast.Tanh,
            "gelu": rnnfast.GELU,
            "layer norm": lambda: rnnfast.LayerNorm(3),
            "convolution": lambda: rnnfast.Conv1d(3, 5, 2, seed=1),
            "max pool": rnnfast.MaxPool,
            "sequential": lambda: rnnfast.Sequential(
                rnnfast.GRU(3, 5, seed=1), rnnfast.Linear(5, 2, seed=2)
            ),
            "residual": lambda: rnnfast.Residual(rnnfast.GRU(3, 3, seed=1)),
        }.items()
    },
}
each_layer = pytest.mark.parametrize("kind", LAYERS)


def y_of(result: Any) -> np.ndarray:
    """Return the output of a layer's call, which may come with a state."""
    y: np.ndarray = result[0] if isinstance(result, tuple) else result
    return y


def taken(layer: Layer) -> list[np.ndarray]:
    """Return the gradients of the layer and reset them to zero."""
    gradients = [p.grad.copy() for p in layer.parameters()]
    layer.zero_grad()
    return gradients


def alone(layer: Layer, x: np.ndarray, scale: float) -> tuple[Any, list[np.ndarray]]:
    """Return what one call and its backward give."""
    y = y_of(layer(x))
    result = layer.backward(np.full_like(y, scale))  # type: ignore[attr-defined]
    return result, taken(layer)


def assert_same(got: Any, expected: Any) -> None:
    if isinstance(expected, (tuple, list)):
        for a, b in zip(got, expected, strict=True):
            assert_same(a, b)
    elif expected is None:
        assert got is None
    else:
        np.testing.assert_array_equal(got, expected)


@each_layer
def test_backward_after_two_calls_says_that_it_cannot_tell_them_apart(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    ya, yb = y_of(layer(x(1))), y_of(layer(x(2)))
    with pytest.raises(RuntimeError, match=r"got several, .* `call = layer.call\(x\)`"):
        layer.backward(np.ones_like(ya))
    assert not any(g.any() for g in taken(layer))
    with pytest.raises(RuntimeError, match="there is none: the layer has not been called"):
        layer.backward(np.ones_like(yb))
    assert_same(alone(layer, x(2), 3), alone(make(), x(2), 3))


@each_layer
def test_calls_that_are_kept_take_their_gradients_in_any_order(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    expected = [alone(make(), x(seed), scale) for seed, scale in ((1, 1), (2, -3))]
    for order in ((0, 1), (1, 0)):
        calls = [layer.call(x(1)), layer.call(x(2))]
        plain = y_of(layer(x(1)))  # the results of `call` are not among the calls that wait
        for i in order:
            result = calls[i].backward(np.full_like(calls[i].y, (1, -3)[i]))
            assert_same((result, taken(layer)), expected[i])
        assert_same(layer.backward(np.ones_like(plain)), expected[0][0])
        taken(layer)


@each_layer
def test_a_call_holds_what_the_layer_returns(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    for mode in (True, False):
        result, call = layer.train(mode)(x(1)), layer.call(x(1))
        assert_same(call.y, y_of(result))
        if isinstance(result, tuple):
            assert_same(call.state, result[1])


@each_layer
def test_the_gradient_of_a_call_is_taken_once_and_only_in_training(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    call = layer.call(x(1))
    call.backward(call.y)
    with pytest.raises(RuntimeError, match="backward: expected a call of the layer in training"):
        call.backward(call.y)
    call = layer.eval().call(x(1))
    with pytest.raises(RuntimeError, match="training mode"):
        call.backward(call.y)


@each_layer
def test_calls_without_backward_disturb_nothing_in_evaluation(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    y_of(layer(x(1)))
    layer.eval()  # the previous call no longer waits
    layer(x(2))
    assert_same(alone(layer.train(), x(3), 2), alone(make(), x(3), 2))
    layer(x(1))
    layer.training = False  # without calling eval()
    layer(x(2))
    with pytest.raises(RuntimeError, match="training mode"):
        layer.backward(np.ones_like(y_of(layer(x(1)))))


@each_layer
def test_a_loop_of_calls_without_backward_keeps_no_memory(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    for seed in range(5):
        layer(x(seed))
    assert layer._calls.kept == [None, None]


@each_layer
def test_arguments_that_backward_refuses_leave_the_call_for_another_try(kind: str) -> None:
    make, x = LAYERS[kind]
    layer = make()
    expected = alone(make(), x(1), 1)
    y = y_of(layer(x(1)))
    kept = layer.call(x(1))
    recurrent = isinstance(layer, rnnfast.Recurrent)
    wrong: list[tuple[Any, ...]] = [(np.ones((7, 7), "f4"),), (y.astype(complex),), ("text",)]
    if recurrent:
        wrong += [(np.ones_like(y), "state"), (np.ones_like(y), (y, y, y)), (y, np.ones(3, "f4"))]
    for backward in (layer.backward, kept.backward):
        for arguments in wrong:
            with pytest.raises((TypeError, ValueError)):
                backward(*arguments)
        assert not any(p.grad.any() for p in layer.parameters())
        assert_same((backward(np.ones_like(y)), taken(layer)), expected)


class Siamese(rnnfast.Module):
    """A model that uses one encoder for both inputs and takes their distance as its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = rnnfast.GRU(3, 5, dtype="float64", seed=1)
        self.head = rnnfast.Linear(5, 4, dtype="float64", seed=2)

    def loss(self, a: np.ndarray, b: np.ndarray) -> float:
        codes = [self.encoder.call(x) for x in (a, b)]
        heads = [self.head.call(code.state[0]) for code in codes]
        difference = heads[0].y - heads[1].y
        for code, head, sign in zip(codes, heads, (1, -1), strict=True):
            dh = head.backward(2 * sign * difference)
            assert dh is not None
            code.backward(None, dh[None])
        return float(np.square(difference).sum())


def test_a_siamese_network_has_the_gradients_of_finite_differences() -> None:
    model = Siamese()
    a, b = reals(4, 2, 3, seed=1).astype("f8"), reals(6, 2, 3, seed=2).astype("f8")
    model.loss(a, b)
    gradients = [p.grad.copy() for p in model.parameters()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        at = (0,) * gradient.ndim
        value, step = float(parameter.value[at]), 1e-6
        losses = []
        for sign in (1, -1):
            parameter.value[at] = value + sign * step
            losses.append(model.loss(a, b))
        parameter.value[at] = value
        # Central differences of values of order 1 have an error of 1e-16 / step plus step squared.
        assert abs((losses[0] - losses[1]) / (2 * step) - gradient[at]) < 1e-8, parameter.name


def test_step_by_step_gives_the_gradients_of_the_whole_sequence() -> None:
    layer, x = rnnfast.LSTM(3, 5, dtype="float64", seed=1), reals(6, 2, 3).astype("f8")
    dy = reals(6, 2, 5, seed=1).astype("f8")
    layer(x)
    layer.backward(dy)
    expected = taken(layer)
    calls, state = [], None
    for step in x:
        calls.append(layer.call(step[None], state))
        state = calls[-1].state
    dstate = None
    for call, d in zip(reversed(calls), dy[::-1], strict=True):
        _, dstate = call.backward(d[None], dstate)
    for got, gradient in zip(taken(layer), expected, strict=True):
        # Sums of 12 terms of order 1, added up in another order.
        np.testing.assert_allclose(got, gradient, rtol=0, atol=1e-13)


def test_threads_that_mix_their_calls_are_told() -> None:
    layer, x = rnnfast.GRU(3, 5, seed=1), reals(4, 2, 3)
    called, errors = threading.Barrier(2), []

    def train() -> None:
        y, _ = layer(x)
        called.wait()
        try:
            layer.backward(y)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    assert not any(g.any() for g in taken(layer))


def test_two_threads_in_the_backward_of_a_layer_are_told() -> None:
    layer = rnnfast.GRU(3, 5, seed=1)
    first, second = layer.call(reals(4, 2, 3)), layer.call(reals(4, 2, 3))
    inside = layer._differentiate

    def also_in_another(*args: Any) -> Any:
        with pytest.raises(RuntimeError, match="one thread at a time, as backward adds"):
            second.backward(second.y)
        return inside(*args)

    layer._differentiate = also_in_another  # type: ignore[method-assign]
    first.backward(first.y)
    del layer._differentiate
    second.backward(second.y)  # the refused call has not used it up


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@each_layer
def test_a_copy_of_a_layer_has_no_calls_that_wait(kind: str, make_copy: Any) -> None:
    make, x = LAYERS[kind]
    layer = make()
    y = y_of(layer(x(1)))
    twin = make_copy(layer)
    with pytest.raises(RuntimeError, match="there is none: the layer has not been called"):
        twin.backward(y)
    assert_same(alone(twin, x(2), 1), alone(make(), x(2), 1))
    layer.backward(y)  # the layer's own call still waits


def char_lm(**config: Any) -> CharLM:
    return CharLM(Vocabulary("abc"), CharLMConfig(hidden_size=5, **config), seed=1)


@pytest.mark.parametrize("embedding_size", [0, 4])
def test_a_language_model_learns_whatever_was_called_before(embedding_size: int) -> None:
    model, other = (char_lm(embedding_size=embedding_size) for _ in range(2))
    x = np.array([[0], [1], [2]])
    for _ in range(2):
        model(x)  # called in training mode only to look at the logits
    loss, state = model.learn(x, x)
    logits, expected = other(x)
    assert loss == rnnfast.cross_entropy(logits, x)
    assert_same(state, expected)
    other.backward(rnnfast.softmax_cross_entropy(logits, x)[1])
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
    with pytest.raises(RuntimeError, match="got several"):
        model.backward(logits)


def test_the_calls_of_a_model_no_longer_wait_after_evaluation() -> None:
    model, x = char_lm(embedding_size=4), np.array([[0], [1], [2]])
    logits, _ = model(x)
    model(x)
    with pytest.raises(RuntimeError, match=r"model.eval\(\)"):
        model.backward(logits)
    model.eval().train()
    model.backward(model(x)[0])


def change(what: str, layer: Layer, x: np.ndarray, state: np.ndarray | None = None) -> None:
    if what == "x":
        x *= 3
    elif what == "weights":
        rnnfast.SGD(layer.parameters(), 0.1).step()
    else:
        assert state is not None
        state.fill(0.25)


of_arrays = pytest.mark.cpu_only("the check of the arrays that backward reads again")


@of_arrays
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 30, 50)])
@pytest.mark.parametrize("what", ["x", "state", "weights"])
def test_what_backward_reads_again_must_not_change(
    what: str, shape: tuple[int, int, int], recompute: bool
) -> None:
    layer = rnnfast.GRU(shape[2], 6, seed=1, recompute=recompute)
    for p in layer.parameters():
        p.grad.fill(1)
    x, state = reals(*shape), reals(1, shape[1], 6, seed=1)
    y, _ = layer(x, state)
    before = [a.copy() for a in (x, state, *(p.value for p in layer.parameters()))]
    change(what, layer, x, state)
    with pytest.raises(RuntimeError, match=f"^{what}: expected the values of the forward pass"):
        layer.backward(y)
    assert all((p.grad == 1).all() for p in layer.parameters())
    arrays = (x, state, *(p.value for p in layer.parameters()))
    for array, values in zip(arrays, before, strict=True):
        array[...] = values
    layer.backward(y)  # everything is as it was


@of_arrays
@pytest.mark.parametrize("shape", [(1, 3), (40, 30, 50)])
@pytest.mark.parametrize("what", ["x", "weights"])
def test_what_the_backward_of_linear_reads_again_must_not_change(
    what: str, shape: tuple[int, ...]
) -> None:
    layer = rnnfast.Linear(shape[-1], 6, seed=1)
    for p in layer.parameters():
        p.grad.fill(1)
    x = reals(*shape)
    y = layer(x)
    change(what, layer, x)
    with pytest.raises(RuntimeError, match=r"^x, weight: expected the values"):
        layer.backward(y)


def test_a_table_does_not_mind_that_its_indices_are_used_again() -> None:
    x = indices(1)
    table, expected = rnnfast.Embedding(3, 5, seed=1), rnnfast.Embedding(3, 5, seed=1)
    for layer in (table, expected):
        y = layer(x.copy() if layer is expected else x)
    x[...] = indices(2)
    for layer in (table, expected):
        layer.backward(reals(*y.shape))
    assert_same(taken(table), taken(expected))


@pytest.mark.parametrize("kind", ["rnnfast.LSTM(50, 6)", "rnnfast.Linear(50, 6)"])
def test_a_full_check_notices_the_change_of_any_value(kind: str) -> None:
    code = f"""
import numpy as np, rnnfast
layer, x = {kind}, np.zeros((40, 30, 50), "float32")
y = layer(x)
y = y[0] if isinstance(y, tuple) else y
for at in (0, 12345, 59999):
    x.flat[at] = 1
    try:
        layer.backward(y)
    except RuntimeError as error:
        assert "expected the values of the forward pass" in str(error)
    else:
        raise AssertionError(at)
    x.flat[at] = 0
layer.backward(y)
"""
    environment = os.environ | {"RNNFAST_CHECK_INPUTS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@of_arrays
def test_y_is_read_only_in_training_as_backward_reads_it() -> None:
    for batch_first in (False, True):
        y, _ = rnnfast.GRU(3, 5, batch_first=batch_first)(reals(4, 2, 3))
        with pytest.raises(ValueError, match="read-only"):
            y *= 2
        with pytest.raises(ValueError, match="WRITEABLE"):
            y.flags.writeable = True


@of_arrays
@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 30, 50)])
def test_a_change_of_y_by_who_does_not_know_that_it_is_read_only_is_noticed(
    shape: tuple[int, int, int],
) -> None:
    layer = rnnfast.GRU(shape[2], 6, seed=1)
    y, _ = layer(reals(*shape))
    dy = y.copy()
    memory = (ctypes.c_float * y.size).from_address(y.ctypes.data)
    np.frombuffer(memory, np.float32)[:] *= 0
    with pytest.raises(RuntimeError, match=r"^y: expected the values .*change a copy instead"):
        layer.backward(dy)


def test_a_backward_after_an_evaluation_hears_that_eval_ends_the_wait() -> None:
    layer, x = rnnfast.GRU(2, 3), np.zeros((1, 1, 2), np.float32)
    y, _ = layer(x)
    layer.eval()
    layer.train()
    with pytest.raises(
        RuntimeError, match=r"there is none: .* or `eval\(\)` or a call in evaluation"
    ):
        layer.backward(y)
