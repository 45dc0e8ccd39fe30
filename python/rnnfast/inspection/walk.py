"""The way of a gradient back through the steps of one layer in one direction.

Sizes: T seq_len, B batch, I input_size of the layer, H hidden_size (proj_size with a projection), N
numbers of all states of a sequence together. Step n is the nth that a sequence takes, which in the
reverse direction is the one of the nth input from its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.saturation import Saturation, SaturationCounts
from rnnfast.inspection.scaled import Array, Scaled
from rnnfast.inspection.single_steps import SingleSteps


class Found(NamedTuple):
    """What a walk finds; see `LayerFlow`."""

    log_norms: list[Array]
    log_total: Array
    step_gain: Array
    log_product_gain: Array
    saturation: dict[str, Saturation]


class Walk:
    """All steps of one layer in one direction: forward when it is made, backward by `back`.

    Args:
        steps: The steps.
        cell: The name of the cell.
        x: (T, B, I) float64, or (T, B) indices.
        initial: (B, N), the initial states.
        lengths: (B,), the lengths of the sequences.
        reverse: Whether the steps go from the last input of a sequence to its first.

    Attributes:
        steps: The steps.
        y: (T, B, H), the outputs; 0 after the end of a sequence.
    """

    def __init__(
        self,
        steps: SingleSteps,
        cell: str,
        x: NDArray[Any],
        initial: Array,
        lengths: NDArray[np.int64],
        reverse: bool,
    ) -> None:
        self.steps, self._x, self._lengths = steps, x, lengths
        self._cell, self._reverse = cell, reverse
        self.y = np.zeros((*x.shape[:2], steps.parts[0].stop))
        self._starts: dict[int, Array] = {}  # the states before each segment
        state = initial
        for segment in _segments(len(x)):
            self._starts[segment.start] = state
            spans = np.clip(lengths - segment.start, 0, len(segment))
            y, state = steps.run(self._inputs(segment), state, spans)
            for n, values in zip(segment, y, strict=True):
                times, who = self._places(n)
                self.y[times, who] = values[who]

    def back(
        self, arriving: Scaled, dfinal: Scaled, sequence: int | None, *, need_dx: bool
    ) -> tuple[Found, Scaled | None]:
        """Take the gradient back through all steps.

        Args:
            arriving: (T, B, H), the gradient of y.
            dfinal: (B, N), the gradient of the final states.
            sequence: The sequence whose Jacobians are computed; None for none.
            need_dx: Whether to return the gradient of x.

        Returns:
            What was found, and the gradient of x (T, B, I); None if x holds indices.
        """
        steps, x = self.steps, self._x
        T, B, _ = self.y.shape
        rows = [np.full((T + 1, B), -np.inf) for _ in range(len(steps.parts) + 1)]
        dx = Scaled.of(np.zeros(x.shape)) if need_dx and x.ndim == 3 else None
        counts = SaturationCounts(self._cell, steps.weights, steps.parts)
        gains = _Gains(dfinal.mantissa.shape[1])
        gradient = dfinal

        def note(n: int) -> None:
            """Write down the norms after n steps."""
            there = self._lengths >= n
            parts = [slice(None), *steps.parts]
            for row, part in zip(rows, parts, strict=True):
                row[n, there] = gradient[there].log_norms(part)

        for segment in reversed(list(_segments(T))):
            inputs, states, kept = self._again(segment)
            taken = self._lengths > np.array(segment)[:, None]
            counts.add(inputs[taken], states[taken])
            for k, n in reversed(list(enumerate(segment))):
                times, who = self._places(n)
                if who.size:
                    gradient = gradient.plus(self._of_output(arriving[times, who], who, B))
                note(n + 1)
                of_input, before = steps.back(kept.pop(), gradient, need_dx=dx is not None)
                gradient = gradient.replaced(who, before[who])
                if dx is not None and of_input is not None:
                    dx.mantissa[times, who] = of_input.mantissa[who]
                    dx.exponent[times, who] = of_input.exponent[who]
                if sequence in who:
                    gains.add(steps.jacobian(inputs[k][sequence], states[k][sequence]))
        note(0)
        total, *norms = rows
        return Found(norms, total, *gains.result(), counts.result()), dx

    def _again(self, segment: range) -> tuple[NDArray[Any], Array, list[Any]]:
        """Run a segment again; return inputs, states before each step, and what `back` needs."""
        inputs = self._inputs(segment)
        state = self._starts[segment.start]
        states, kept = [], []
        for x, n in zip(inputs, segment, strict=True):
            states.append(state)
            new, needed = self.steps.forward(x, state)
            state = np.where((self._lengths > n)[:, None], new, state)
            kept.append(needed)
        return inputs, np.array(states), kept

    def _places(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the times of the inputs of step n, and the sequences that take it."""
        who = np.flatnonzero(self._lengths > n)
        return (self._lengths[who] - 1 - n if self._reverse else np.full(who.shape, n)), who

    def _inputs(self, segment: range) -> NDArray[Any]:
        """Return the inputs of some steps; 0 for sequences that have ended."""
        inputs = np.zeros((len(segment), *self._x.shape[1:]), self._x.dtype)
        for k, n in enumerate(segment):
            times, who = self._places(n)
            inputs[k, who] = self._x[times, who]
        return inputs

    def _of_output(self, dy: Scaled, who: NDArray[np.int64], batch: int) -> Scaled:
        """Return the gradient of the states (B, N) that those of some sequences' outputs are."""
        mantissa = np.zeros((batch, self.steps.parts[-1].stop))
        mantissa[who, self.steps.parts[0]] = dy.mantissa
        exponent = np.zeros(batch, np.int64)
        exponent[who] = dy.exponent
        return Scaled.of(mantissa, exponent)


class _Gains:
    """Largest singular values of the Jacobians of steps, from the last step to the first.

    The product of all Jacobians so far is kept, with an exponent for each of its rows.
    """

    def __init__(self, size: int) -> None:
        self._product = Scaled.of(np.eye(size))
        self._gains: list[float] = []
        self._log_products = [0.0]

    def add(self, jacobian: Array) -> None:
        """Add the Jacobian of the step before the last one that was added."""
        self._gains.append(float(np.linalg.norm(jacobian, 2)))
        product = self._product
        self._product = Scaled.of(product.mantissa @ jacobian, product.exponent)
        self._log_products.append(self._product.log_spectral_norm())

    def result(self) -> tuple[Array, Array]:
        """Return the gain of each step, from the first, and the logarithms of the products'."""
        return np.array(self._gains[::-1]), np.array(self._log_products if self._gains else [])


def _segments(steps: int) -> Iterator[range]:
    """Cut steps into segments of about sqrt(steps)."""
    size = max(1, round(steps**0.5))
    return (range(first, min(first + size, steps)) for first in range(0, steps, size))
