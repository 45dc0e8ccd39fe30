"""Random steps drawn from the vocabulary agree with the reference.

The draws are the same in every run, because each tolerance is derived from the errors of a single
run in float32, which happen to be too small for about one step in several thousand.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

import traced_cases
from rnnfast.reference import Cell
from rnnfast.reference.tape import (
    exp,
    hard_sigmoid,
    log,
    maximum,
    minimum,
    normalize,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)
from rnnfast.traced import cell_of
from rnnfast.traced import compile as compile_cell
from rnnfast.traced.engine import define

# Functions of two values and a number that keep values of order 1 at that order. Functions with a
# kink have it at a number that no other value takes.
OPERATIONS: dict[str, Callable[[Any, Any, float], Any]] = {
    "+": lambda a, b, _c: 0.5 * (a + b),
    "-": lambda a, b, c: c * a - b,
    "*": lambda a, b, _c: a * b,
    "/": lambda a, b, c: (a + c) / (1 + abs(b + c)),
    "square": lambda a, _b, c: (c - a) ** 2 / 3,
    "power": lambda a, _b, c: (1 + abs(a - c)) ** -1.5,
    "negative": lambda a, _b, _c: -a,
    "interpolate": lambda a, b, c: a + c * (b - a),
    "sigmoid": lambda a, _b, _c: sigmoid(a),
    "tanh": lambda a, b, _c: tanh(a + b),
    "relu": lambda a, _b, c: relu(a + c),
    "exp": lambda a, _b, _c: exp(-softplus(a)),
    "log": lambda a, _b, c: log(1 + c * c + abs(a + c)),
    "softplus": lambda a, _b, _c: softplus(a),
    "hard_sigmoid": lambda a, _b, c: hard_sigmoid(a + c),
    "maximum": lambda a, b, c: maximum(tanh(a), b * 0.7 + c),
    "minimum": lambda a, _b, c: minimum(a, c),
    "where": lambda a, b, c: where(a > c, b, a),
    "where not": lambda a, b, c: where(a <= b + c, 1 - b, c),
    "normalize": lambda a, h, _c: normalize(a + 0.3 * h),  # of units that differ
}
NUMBER = itertools.count()
NUMBERS = [0.31, -0.27, 0.83, 1.19, -0.71, 0.059]


class Line(NamedTuple):
    """A line of a step: an operation or a product of earlier values."""

    operation: str
    first: int
    second: int
    number: float


class Drawn:
    """A step made of random lines."""

    def __init__(self, lines: list[Line], new: list[int], blocks: int, reads_input: bool) -> None:
        self.lines = lines
        self.new = new
        self.blocks = blocks
        self.reads_input = reads_input

    def __repr__(self) -> str:
        return f"Drawn({self.lines}, {self.new}, {self.blocks}, {self.reads_input})"

    def __call__(self, x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
        values = [*x, *state, *(0.5 * p + state[0] for p in channel)]
        values += [tanh(x.input)] if self.reads_input else []
        block = 0
        for operation, first, second, number in self.lines:
            a, b = values[first % len(values)], values[second % len(values)]
            b = state[0] if operation == "normalize" else b
            if operation == "product" and block < self.blocks:
                values += recurrent(a, block)
                block += 1
            elif operation != "product":
                values.append(OPERATIONS[operation](a, b, number))
        for left in range(block, self.blocks):
            values += recurrent(values[-1], left)
        total = values[0]
        for k, value in enumerate(values[1:]):
            total = total + value * NUMBERS[k % len(NUMBERS)]
        return (tanh(0.3 * total), *(values[k % len(values)] for k in self.new))


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    operations = st.sampled_from([*OPERATIONS, "product", "product", "product"])
    places = st.integers(0, 30)
    line = st.builds(Line, operations, places, places, st.sampled_from(NUMBERS))
    states, gates = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    params, blocks = draw(st.integers(0, 2)), draw(st.integers(0, 4))
    reads_input = draw(st.booleans())
    new = draw(st.lists(places, min_size=states - 1, max_size=states - 1))
    step = Drawn(draw(st.lists(line, min_size=1, max_size=24)), new, blocks, reads_input)
    return Cell("drawn", step, states, gates, params, blocks, reads_input)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cells())
def test_drawn_steps_compute_what_the_reference_does(cell: Cell) -> None:
    traced = compile_cell(cell)
    assert compile_cell(cell_of(json.loads(json.dumps(traced.graph)))) == traced
    traced_cases.assert_as_reference(cell, traced, T=3, B=2, I=3, H=5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cells())
def test_drawn_steps_on_the_engine_compute_what_the_reference_does(cell: Cell) -> None:
    name = f"drawn {next(NUMBER)}"
    define(compile_cell(cell), name)
    traced_cases.assert_engine_as_reference(cell, name, "float64", T=3, B=2, I=3, H=19)
