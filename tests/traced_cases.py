"""Checks of traced cells against the reference, and cells with features that the library's lack."""

from __future__ import annotations

from typing import Any

import numpy as np

import cases
from cases import Task
from rnnfast import functional
from rnnfast.reference import Cell, Network
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
from rnnfast.traced import TracedCell
from rnnfast.traced import compile as compile_cell
from traced_executor import Executor


class Problem:
    """A one-layer network of a cell, its data, and the reference's results."""

    def __init__(self, cell: Cell, T: int, B: int, I: int, H: int) -> None:
        rng = np.random.default_rng(T + 10 * B + 100 * I + 1000 * H)
        I = H if cell.reads_input else I
        rows, recurrent_rows = cell.gates * H, cell.recurrent_blocks * H

        def reals(*shape: int, scale: float = 0.5) -> np.ndarray:
            return scale * rng.standard_normal(shape)

        self.weights = (
            reals(rows, I, scale=I**-0.5),
            reals(recurrent_rows, H, scale=H**-0.5),
            reals(rows),
            reals(recurrent_rows),
            reals(cell.params, H) if cell.params else None,
        )
        self.x, self.dy = reals(T, B, I, scale=1), reals(T, B, H, scale=1)
        self.state = [reals(1, B, H) for _ in range(cell.states)]
        self.dstate = [reals(1, B, H) for _ in range(cell.states)]
        self.longest_sum = max(rows, recurrent_rows, I, T * B)
        self._cell = cell

    def _reference(self, dtype: str) -> dict[str, np.ndarray]:
        network = Network(self._cell, self.x, [self.weights], self.state, dtype=dtype)
        return cases.named(network.y, network.state, *network.backward(self.dy, self.dstate), 1)

    def assert_solved(self, got: dict[str, np.ndarray], dtype: str) -> None:
        """Check the results of a forward and backward pass in dtype."""
        expected, single = self._reference("float64"), self._reference("float32")
        plain = {name: cases.worst(single[name], values) for name, values in expected.items()}
        cases.assert_close(got, expected, plain, Task(dtype, self.longest_sum))


def assert_as_reference(
    cell: Cell, traced: TracedCell | None = None, *, T: int = 4, B: int = 3, I: int = 4, H: int = 7
) -> None:
    """Check all results of a traced cell, run by the executor in float64."""
    problem = Problem(cell, T, B, I, H)
    executor = Executor(
        traced or compile_cell(cell), problem.x, problem.weights, [s[0] for s in problem.state]
    )
    dx, dfirst, dweights = executor.backward(problem.dy, [d[0] for d in problem.dstate])
    state, dstate = [s[None] for s in executor.state], [d[None] for d in dfirst]
    problem.assert_solved(cases.named(executor.y, state, dx, dstate, dweights, 1), "float64")


def assert_engine_as_reference(
    cell: Cell, name: str, dtype: str, *, T: int = 4, B: int = 3, I: int = 4, H: int = 7
) -> None:
    """Check all results of the engine for a traced cell that is registered under a name."""
    problem = Problem(cell, T, B, I, H)
    weights = functional.Weights(*(None if w is None else w.astype(dtype) for w in problem.weights))
    y, state, reserve = functional.forward(
        name,
        problem.x.astype(dtype),
        [weights],
        [s.astype(dtype) for s in problem.state],
        training=True,
    )
    gradients = functional.backward(
        reserve, problem.dy.astype(dtype), [d.astype(dtype) for d in problem.dstate]
    )
    problem.assert_solved(cases.named(y, state, *gradients, 1), dtype)


def _layer_norm_lstm(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    h, c = state
    gains, shifts = channel[:5], channel[5:]
    a = [
        normalize(xk + hk) * gain + shift
        for xk, hk, gain, shift in zip(x, recurrent(h), gains[:4], shifts[:4], strict=True)
    ]
    c = sigmoid(a[1]) * c + sigmoid(a[0]) * tanh(a[2])
    return sigmoid(a[3]) * tanh(normalize(c) * gains[4] + shifts[4]), c


def _independent(x: Any, _recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    return (relu(x[0] + channel[0] * state[0]),)


def _of_the_input(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    (h,) = state
    (h_r,) = recurrent(h, 0)
    z, r = sigmoid(x[0]), sigmoid(x[1] + h_r)
    (h_n,) = recurrent(r * h, 1)
    n = tanh(h_n + tanh(x.input))
    return (n * z + h * (1 - z),)


def _many_stages(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    """Use products and norms of everything, values that later stages need, and an opening value."""
    h, c = state
    (a,) = recurrent(normalize(c), 0)
    (b,) = recurrent(tanh(h) * c, 1)
    u = sigmoid(x[0] + a) * softplus(b)
    (d,) = recurrent(u, 2)
    v = hard_sigmoid(x[1] + d)
    (e,) = recurrent(v * normalize(u) + x[1], 3)
    k = where(e > x[2], abs(e) ** 1.5, minimum(u, e) / (1 + x[2] ** 2))
    first = tanh(k + x.input * c) + channel[0] * u
    return first, maximum(u * c, v) - exp(-(e**2)) + log(1 + v * v) + channel[0]


def _other_state(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    """Use a product of each state and an input part on its own, and swap the states."""
    h, c, kept = state
    (a,), (b,) = recurrent(c, 0), recurrent(h, 1)
    return tanh(x[0] + a + b), 0.5 * c + x[0] * h + kept, h


def _early_state(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    """Compute and multiply a new state before the last stage."""
    h, c = state
    i, f = (sigmoid(xk + hk) for xk, hk in zip(x[:2], recurrent(h, 0, 1), strict=True))
    c = f * c + (1 - f) * tanh(x[2] * i)
    (b,) = recurrent(c, 2)
    return tanh(b + i), c


def _input_as_state(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    """Turn an input part into a state while its slot is wanted for something else."""
    h, before = state
    quotient = (x[1] + 0.5 * before) / (1 + abs(x[0] + 0.5))
    return tanh(quotient * h + x[0] + recurrent(h)[0] * quotient), x[0]


def _sums(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    """Use input parts and products only in sums with other terms."""
    h, c = state
    products = recurrent(h)
    i = sigmoid(channel[0] * c + x[0] + products[0])
    f = sigmoid(x[1] - channel[1] * c + products[1])
    c = f * c + i * tanh(products[2] + 1.0 + x[2])
    return sigmoid(channel[2] * c - (channel[1] - x[3]) + products[3]) * tanh(c), c


def _cancelling(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    """Have gradients that are zero because their terms cancel, in stages of their own."""
    (h,) = state
    (a,) = recurrent(tanh(h) * x[0], 0)
    (b,) = recurrent(a * x[0] + (h - h), 1)
    return (tanh(b + (a - x[1]) + (x[1] - a) + (h - x[0]) - (h - x[0])),)


def _functions(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    """Use every operator and function, with numbers on either side."""
    (h,) = state
    (a,) = recurrent(h)
    v = x[0] + a
    positive = abs(v) + 0.5
    powers = positive**-1.5 + v**3 + positive**0.3 + positive**0.5 + v**2 - v**1 + v**0
    chosen = where(v < 0.1, v, 0.3) + where(v >= h, -v, h) + where(h >= 0.2, 1.0, v)
    mixed = 2 - v / 3 + 3 / positive - (-h) * 2.0 + np.float64(0.5) * v / np.float32(4)
    logs = log(positive) + softplus(v) + exp(-positive) + relu(v) + hard_sigmoid(2 * v)
    ends = maximum(v, 0.2) + minimum(v, h) - maximum(h, channel[0]) * -1
    return (tanh(0.1 * (powers + chosen + mixed + logs + ends)),)


def _poles(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    """Have values and derivatives that are infinite or NaN at zero, where no unit's state is."""
    (h,) = state
    (a,) = recurrent(exp(-1 / (h * h)))
    return ((1.1 + tanh(x[0] + a)) ** 0.5,)


OTHERS = {
    cell.name: cell
    for cell in (
        Cell("normalized", step=_layer_norm_lstm, states=2, gates=4, params=10),
        Cell("independent", step=_independent, params=1, recurrent_gates=0),
        Cell("of_the_input", step=_of_the_input, gates=2, recurrent_gates=2, reads_input=True),
        Cell(
            "many_stages",
            step=_many_stages,
            states=2,
            gates=3,
            params=1,
            recurrent_gates=4,
            reads_input=True,
        ),
        Cell("other_state", step=_other_state, states=3, recurrent_gates=2),
        Cell("early_state", step=_early_state, states=2, gates=3, recurrent_gates=3),
        Cell("input_as_state", step=_input_as_state, states=2, gates=2, recurrent_gates=1),
        Cell("sums", step=_sums, states=2, gates=4, params=3),
        Cell("cancelling", step=_cancelling, gates=2),
        Cell("functions", step=_functions, params=1),
        Cell("poles", step=_poles),
    )
}
