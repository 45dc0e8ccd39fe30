"""Calls in which memory ends at each allocation in turn; a script for test_allocation_failures.

    LD_PRELOAD=failing_allocations.so RNNFAST_CACHE_LIMIT=0 python failing_calls.py LIBRARY THREADS

Each call raises a MemoryError, leaves no memory in use, and is right when it is repeated. The
script prints the number of allocations.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import guarded_calls
import rnnfast
from failing_allocations import Action, Allocations, check_action, in_turn, named
from guarded_arrays import Places, digest_of
from rnnfast import functional
from rnnfast.reference import CELLS
from rnnfast.traced import compile as compile_cell
from rnnfast.traced.engine import define

T, B, I, H = 7, 5, 6, 9
LENGTHS = np.array([7, 2, 5, 7, 1])
NETWORK = {"num_layers": 2, "bidirectional": True, "seed": 1}


class Outputs(Places):
    """Places that remember what the arrays held that a call may change."""

    def __init__(self) -> None:
        self._outputs: list[tuple[np.ndarray, np.ndarray]] = []

    def output(self, array: np.ndarray) -> np.ndarray:
        place = array.copy()
        self._outputs.append((place, array.copy()))
        return place

    def states(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def check(self) -> None:
        for place, before in self._outputs:
            assert np.array_equal(place, before, equal_nan=True), "a call that failed changed it"


def check_call(allocations: Allocations, call: guarded_calls.Call) -> int:
    """Check a call on arrays, which must change none of them if it fails."""
    expected = digest_of(call, Places())
    count, before = allocations.count(lambda: call(Places())), allocations.in_use()
    for n in range(1, count + 1):
        outputs = Outputs()
        allocations.fail(partial(call, outputs), n)
        outputs.check()
        assert digest_of(call, Places()) == expected, f"other results after allocation {n}"
        assert allocations.in_use() == before, f"allocation {n} of {count} is not freed"
    return count


def check_definition(allocations: Allocations) -> int:
    """Check that a cell whose definition fails does not exist, and can be defined again."""
    traced, names = compile_cell(CELLS["lstm"]), iter(["defined_1", "defined_2"])
    count = allocations.count(lambda: define(traced, next(names)))
    name, cells, before = next(names), functional.cells(), allocations.in_use()
    for n in range(1, count + 1):
        allocations.fail(lambda: define(traced, name), n)
        assert functional.cells() == cells
        assert allocations.in_use() == before, f"allocation {n} of {count} is not freed"
    define(traced, name)
    return count


# ---- actions on layers


def values(*shape: int) -> np.ndarray:
    """Return numbers that depend on the shape alone."""
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def backward(layer: Any, dy: np.ndarray) -> list[Any]:
    """Return dx and the gradients that a layer has after its backward call."""
    return [layer.backward(dy), *(p.grad for p in layer.parameters())]


def trained(cell: str, **options: Any) -> Action:
    """Return a forward and a backward call, and a step of an optimiser."""
    layer = rnnfast.Recurrent(cell, I, H, **NETWORK, **options)
    x, dy = values(T, B, I), values(T, B, 2 * H)
    optimiser = rnnfast.optim.Adam(layer.parameters())
    masks = layer.generator_state()

    def forward() -> np.ndarray:
        layer.set_generator_state(masks)  # also after a call that failed
        return layer(x, lengths=LENGTHS)[0]

    return in_turn(
        forward,
        partial(backward, layer, dy),
        lambda: [optimiser.step(clip_norm=1.0), *(p.value for p in layer.parameters())],
    )


def trained_with_resets(cell: str) -> Action:
    layer = rnnfast.Recurrent(cell, I, H, num_layers=2, learn_state=True, seed=1)
    x, dy, reset = values(T, B, I), values(T, B, H), values(T, B) > 1
    return in_turn(lambda: layer(x, reset=reset)[0], partial(backward, layer, dy))


def evaluated(cell: str) -> Action:
    layer = rnnfast.Recurrent(cell, I, H, **NETWORK).eval()
    x = values(T, B, I)
    return lambda: layer(x, lengths=LENGTHS)


def streamed(cell: str) -> Action:
    layer = rnnfast.Recurrent(cell, I, H, num_layers=2, seed=1).eval()
    stream = layer.stream(B)
    rows = np.array([3, 0])
    steps = [lambda x=x: stream(x) for x in values(3, B, I)]
    return in_turn(
        *steps, lambda: stream(values(2, I), rows), lambda: list(stream.copy().take().values)
    )


def traced(cell: str) -> Action:
    layer = rnnfast.Recurrent(cell, I, H, num_layers=2, seed=1)
    x = values(T, B, I)
    return lambda: [a for states in rnnfast.trace(layer, x).values() for a in states.values()]


def of_one_array(make: Callable[[], Any]) -> Action:
    layer = make()
    x = values(T, B, I)
    dy = np.ones_like(make()(x))
    return in_turn(partial(layer, x), partial(backward, layer, dy))


def actions() -> Iterator[tuple[str, Callable[[], Action]]]:
    """Yield functions that return actions by name."""
    for cell in ("lstm", "gru", "rnn_tanh", "indrnn"):
        for kind in (trained, trained_with_resets, evaluated, streamed, traced):
            yield f"{kind.__name__} {cell}", partial(kind, cell)
        yield f"input dropout {cell}", partial(trained, cell, input_dropout=0.3)
    yield "linear", lambda: of_one_array(lambda: rnnfast.Linear(I, H, seed=1))
    yield "convolution", lambda: of_one_array(lambda: rnnfast.Conv1d(I, H, 3, seed=1))
    yield "layer norm", lambda: of_one_array(lambda: rnnfast.LayerNorm(I))


# ---- the script


def main() -> None:
    allocations = Allocations(sys.argv[1])
    rnnfast.set_num_threads(int(sys.argv[2]))
    gc.freeze()  # so that the many collections take no time for what was imported
    total = check_definition(allocations)
    for name, call in guarded_calls.all_calls():
        with named(name):
            total += check_call(allocations, call)
    for name, make in actions():
        with named(name):
            total += check_action(allocations, make)
    print(total)


if __name__ == "__main__":
    main()
