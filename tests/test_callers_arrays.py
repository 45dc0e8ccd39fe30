"""Changing arrays during a call or between two calls does not corrupt memory.

A shorter or a moved array is an error; changed indices stay those of the forward pass.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import rnnfast
from rnnfast import _core, functional
from rnnfast._engine import network
from rnnfast.functional import Weights

SHORT, LONG = (3, 2, 8, 8), (40, 24, 64, 64)  # T, B, I, H: a long call releases the GIL
BEYOND = 10**12  # an index with which a kernel would leave its arrays


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.3, shape).astype(np.float32)


def could_resize(array: np.ndarray) -> bool:
    """Return whether NumPy allowed the array to grow by one element."""
    try:
        resize(array, array.size + 1)
    except ValueError as error:
        return "cannot resize" not in str(error)
    return True


def lstm(inputs: int, hidden: int) -> list[Weights]:
    rows = 4 * hidden
    return [Weights(normal(rows, inputs), normal(rows, hidden), normal(rows), normal(rows))]


def resize(array: np.ndarray, size: int) -> None:
    array.resize(size, refcheck=False)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("sizes", [SHORT, LONG])
def test_backward_uses_the_indices_of_the_forward_pass(
    sizes: tuple[int, ...], lengths: bool
) -> None:
    T, B, I, H = sizes
    x = np.random.default_rng(1).integers(0, I, (T, B))
    spans = np.arange(B) % T + 1 if lengths else None
    y, _, reserve = functional.forward("lstm", x, lstm(I, H), lengths=spans, training=True)
    expected = functional.backward(reserve, np.ones_like(y))[2][0].weight_ih
    x[...] = BEYOND
    if spans is not None:
        spans[...] = BEYOND
    np.testing.assert_array_equal(
        functional.backward(reserve, np.ones_like(y))[2][0].weight_ih, expected
    )


@pytest.mark.parametrize("sizes", [SHORT, LONG])
@pytest.mark.parametrize(
    ("which", "size"),
    [(which, size) for which in ("x", "weights", "state") for size in (3, 10**6)]
    + [("base of x", 3)],  # a larger array may get the same address
)
def test_backward_refuses_arrays_that_were_resized(
    which: str, size: int, sizes: tuple[int, ...]
) -> None:
    T, B, I, H = sizes
    base, weights, state = normal(2 * T, B, I), lstm(I, H), (normal(1, B, H), normal(1, B, H))
    x = base[:T] if which == "base of x" else normal(T, B, I)
    y, _, reserve = functional.forward("lstm", x, weights, state, training=True)
    resize(
        {"x": x, "base of x": base, "weights": weights[0].weight_hh, "state": state[1]}[which], size
    )
    name = which.split()[-1]
    with pytest.raises(ValueError, match=f"{name}: expected .* array .*been resized"):
        functional.backward(reserve, np.ones_like(y))


def test_backward_refuses_an_output_that_was_given_other_memory() -> None:
    T, B, I, H = LONG
    y, _, reserve = functional.forward("lstm", normal(T, B, I), lstm(I, H), training=True)
    dy = np.ones_like(y)
    y.__setstate__(np.ones(3, np.float32).__reduce__()[2])
    with pytest.raises(ValueError, match="y: expected the memory of the previous call"):
        functional.backward(reserve, dy)


def test_a_view_of_an_array_that_was_resized_is_refused() -> None:
    base = normal(40, 8)
    x, linear = base[20:], rnnfast.Linear(8, 4)
    linear(x)
    resize(base, 8)
    with pytest.raises(ValueError, match="view of an array that has been resized"):
        linear(x)


def test_parameters_cannot_be_resized_under_an_optimiser() -> None:
    linear = rnnfast.Linear(8, 4)
    optimiser = rnnfast.optim.SGD(linear.parameters(), lr=0.1)
    linear(normal(2, 8))
    linear.backward(normal(2, 4))
    optimiser.step()
    for parameter in linear.parameters():
        with pytest.raises(ValueError, match="cannot resize"):
            resize(parameter.value, 1)
    optimiser.step()


def at_an_odd_address(array: np.ndarray) -> np.ndarray:
    odd = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    odd[...] = array
    return odd


def test_arrays_at_odd_addresses_are_copied_or_refused() -> None:
    T, B, I, H = SHORT
    x, weights = normal(T, B, I), lstm(I, H)
    options = network.network_options("lstm")
    call = options, at_an_odd_address(x), weights, None, None, None, 0
    assert _core.forward(*call) is None  # returns None, which tells Python to copy
    y, _, reserve = functional.forward("lstm", x, weights, training=True)
    odd = [Weights(*(None if w is None else at_an_odd_address(w) for w in weights[0]))]
    np.testing.assert_array_equal(functional.forward("lstm", at_an_odd_address(x), odd)[0], y)
    with pytest.raises(ValueError, match="expected an array whose address is a multiple of 4"):
        functional.backward(reserve, np.ones_like(y), dweights=odd)
    with pytest.raises(ValueError, match="expected an array that is aligned for float32"):
        rnnfast.Parameter("w", at_an_odd_address(x), x)


def calls() -> Iterator[tuple[str, Callable[[], object], np.ndarray]]:
    """Return functions that run for a long time, each with one of its arrays."""
    T, B, I, H = 150, 48, 64, 96
    x, weights = normal(T, B, I), lstm(I, H)
    yield "forward, x", lambda: functional.forward("lstm", x, weights), x
    yield "forward, weights", lambda: functional.forward("lstm", x, weights), weights[0].weight_hh
    other = normal(T, B, I)
    y, _, reserve = functional.forward("lstm", other, weights, training=True)
    dy = np.ones_like(y)
    yield "backward, dy", lambda: functional.backward(reserve, dy), dy
    yield "backward, x", lambda: functional.backward(reserve, dy), other
    rows, matrix = normal(4000, 512), normal(512, 512)
    linear = lambda: _core.linear_forward(x=rows, weight=matrix, bias=None)  # noqa: E731
    yield "linear, x", linear, rows
    table, indices = normal(1000, 512), np.zeros(30_000, np.int64)
    yield "embedding", lambda: _core.embedding_forward(weight=table, indices=indices), table
    logits, targets = normal(3000, 1000), np.zeros(3000, np.int64)
    yield (
        "cross_entropy",
        lambda: _core.cross_entropy(
            logits=logits, targets=targets, ignore_index=-1, need_gradient=True
        ),
        logits,
    )
    batch, ones = normal(200, 30, 64), np.ones(30 * 20, np.int64)
    yield "ctc", lambda: ctc(batch, ones), batch


def ctc(logits: np.ndarray, targets: np.ndarray) -> None:
    """Run CTC with as many targets for each sequence."""
    steps, batch, _ = logits.shape
    _core.ctc(
        logits=logits,
        targets=targets,
        input_lengths=np.full(batch, steps),
        target_lengths=np.full(batch, targets.size // batch),
        blank=0,
        scales=np.ones(batch),
        zero_infinity=False,
    )


@pytest.mark.parametrize("name", [name for name, *_ in calls()])
def test_an_array_cannot_be_resized_while_a_call_uses_it(name: str) -> None:
    call, array = next((call, array) for found, call, array in calls() if found == name)
    shape, stop, refused = array.shape, threading.Event(), False

    def repeat() -> None:
        while not stop.is_set():
            with contextlib.suppress(ValueError):  # the array was resized between two calls
                call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not refused and time.monotonic() < end:
        time.sleep(0.001)
        refused = not could_resize(array)
        if not refused:
            array.resize(shape, refcheck=False)
    stop.set()
    thread.join()
    assert refused


@pytest.mark.parametrize("layer", ["lstm", "embedding", "cross_entropy", "ctc"])
def test_indices_that_change_during_calls_never_lead_out_of_the_arrays(layer: str) -> None:
    """A loader's thread writes wild values into the buffer, and the calls refuse them."""
    T, B, I, H = 30, 16, 32, 32  # few enough indices that NumPy keeps the GIL while writing
    x, weights = np.zeros((T, B), np.int64), lstm(I, H)
    table, logits = normal(I, 512), normal(T * B, I)
    wild, tame = np.full_like(x, BEYOND), np.full_like(x, 3)

    def call() -> None:
        if layer == "lstm":
            y, _, reserve = functional.forward("lstm", x, weights, training=True)
            functional.backward(reserve, np.ones_like(y))
        elif layer == "embedding":
            y = _core.embedding_forward(weight=table, indices=x)
            _core.embedding_backward(dy=y, indices=x, dweight=np.zeros_like(table))
        elif layer == "ctc":
            ctc(logits.reshape(T, B, I), x.reshape(-1))
        else:
            _core.cross_entropy(
                logits=logits, targets=x.reshape(-1), ignore_index=-1, need_gradient=True
            )

    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            x[...] = wild
            x[...] = tame

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for _ in range(60):
            with contextlib.suppress(IndexError):
                call()
    finally:
        stop.set()
        writer.join()
