"""Memory ends at each allocation of a call in turn: MemoryError, nothing lost, the next call right.

The failures are planted in the memory that the engine allocates for results, reserves and
workspaces (`Buffer` in core/memory.h).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import _core

Call = Callable[[], Any]
FAR = 1 << 40  # more allocations than any call makes
T, B, I, H = 7, 5, 6, 9
CELLS = ["lstm", "gru", "rnn_tanh", "indrnn"]
LENGTHS = np.array([7, 2, 5, 7, 1])
NETWORK = {"num_layers": 2, "bidirectional": True, "seed": 1}


def values(*shape: int) -> np.ndarray:
    """Return numbers that depend on the shape alone."""
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def arrays(result: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in a result."""
    if isinstance(result, np.ndarray):
        yield result
    elif isinstance(result, tuple | list):
        for one in result:
            yield from arrays(one)
    elif isinstance(result, dict):
        yield from arrays(list(result.values()))


@pytest.fixture(autouse=True)
def _no_failure_is_left() -> Iterator[None]:
    yield
    _core._fail_allocation(0)


def outcome(call: Call) -> list[np.ndarray]:
    """Return copies of the arrays that a call returns, so that the memory of the call is free."""
    return [a.copy() for a in arrays(call())]


def used_bytes() -> int:
    gc.collect()
    return rnnfast.cache_info()["used_bytes"]


def check(make: Callable[[], Call]) -> int:
    """Let each allocation of a call fail in turn, and return how many there are.

    Args:
        make: Returns the call on new objects, so that every failure meets a first call.
    """
    make()()  # the first use of a cell allocates memory that stays
    call = make()
    _core._fail_allocation(FAR)
    expected = outcome(call)
    allocations = FAR - _core._fail_allocation(0)
    assert expected
    del call
    used = used_bytes()
    for n in range(1, allocations + 1):
        call = make()
        _core._fail_allocation(n)
        with pytest.raises(MemoryError):
            call()
        assert _core._fail_allocation(0) == 0
        for got, wanted in zip(outcome(call), expected, strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)
        del call
        assert used_bytes() == used, f"allocation {n} of {allocations}"
    return allocations


def differentiated(layer: Any, forward: Call, dy: np.ndarray) -> Call:
    """Return a forward and a backward call of a layer.

    If forward succeeds and backward fails, the next call repeats backward alone: the layer still
    has the values for it, and has added nothing to the gradients.
    """
    results: list[np.ndarray] = []

    def step() -> Any:
        if not results:
            results.append(forward())
        dx = layer.backward(dy)
        return results.pop(), dx, [p.grad for p in layer.parameters()]

    return step


def with_the_same_masks(layer: Any, x: np.ndarray) -> Call:
    """Return a forward call that draws the same masks each time, also after one that failed."""
    generators = layer.generator_state()

    def forward() -> np.ndarray:
        layer.set_generator_state(generators)
        return layer(x)[0]

    return forward


def evaluated(cell: str) -> Call:
    layer = rnnfast.Recurrent(cell, I, H, **NETWORK).eval()
    x = values(T, B, I)
    return lambda: layer(x, lengths=LENGTHS)


def with_resets(cell: str) -> Call:
    layer = rnnfast.Recurrent(cell, I, H, num_layers=2, seed=1).eval()
    x, reset = values(T, B, I), values(T, B) > 1
    return lambda: layer(x, reset=reset)


def trained(cell: str) -> Call:
    layer = rnnfast.Recurrent(cell, I, H, **NETWORK)
    x, dy = values(T, B, I), values(T, B, 2 * H)
    return differentiated(layer, lambda: layer(x, lengths=LENGTHS)[0], dy)


def with_input_dropout(cell: str) -> Call:
    layer = rnnfast.Recurrent(cell, I, H, **NETWORK, input_dropout=0.3)
    x, dy = values(T, B, I), values(T, B, 2 * H)
    return differentiated(layer, with_the_same_masks(layer, x), dy)


def streamed(cell: str) -> Call:
    layer = rnnfast.Recurrent(cell, I, H, num_layers=2, seed=1).eval()
    x = values(3, B, I)

    def run() -> Any:
        stream = layer.stream(B)
        return [stream(one) for one in x]

    return run


OF_CELLS = {f.__name__: f for f in (evaluated, with_resets, trained, with_input_dropout, streamed)}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", OF_CELLS)
def test_recurrent_layers(cell: str, kind: str) -> None:
    assert check(lambda: OF_CELLS[kind](cell)) >= 4


@pytest.mark.usefixtures("threads")
def test_threads_allocate_nothing_of_their_own() -> None:
    """In the middle of a call it is too late: some gradients may have been added already."""

    def make() -> Call:
        layer = rnnfast.GRU(40, 100, num_layers=2, input_dropout=0.3, seed=1)
        x, dy = values(6, 32, 40), values(6, 32, 100)
        return differentiated(layer, with_the_same_masks(layer, x), dy)

    rnnfast.set_num_threads(1)
    alone = check(make)
    rnnfast.set_num_threads(3)
    assert check(make) == alone


@pytest.mark.parametrize(
    "layer",
    [
        lambda: rnnfast.Linear(I, H, seed=1),
        lambda: rnnfast.Conv1d(I, H, 3, seed=1),
        lambda: rnnfast.LayerNorm(I),
    ],
)
def test_layers_of_one_array(layer: Callable[[], Any]) -> None:
    def make() -> Call:
        made, x = layer(), values(T, B, I)
        dy = np.ones_like(layer()(x))
        return differentiated(made, lambda: made(x), dy)

    assert check(make) >= 2


def test_losses() -> None:
    logits, targets = values(T, B, I), np.zeros((T, B), np.int64)

    def make() -> Call:
        return lambda: [
            rnnfast.cross_entropy(logits, targets),
            rnnfast.ctc(logits, [[1, 2]] * B, [T] * B, [2] * B),
        ]

    assert check(make) >= 3
