"""Single steps of a recurrent layer, forward and backward, in float64.

Sizes: B batch, I input_size of the layer, N the numbers of all states of a sequence together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast import functional
from rnnfast._engine import checks, network, noise
from rnnfast._engine.backends import CPU
from rnnfast.inspection.scaled import Array, Scaled
from rnnfast.layers.recurrent import Recurrent


class SingleSteps:
    """The steps of one layer in one direction.

    The states of a sequence are one row of N numbers: h, then the other states of the cell. There
    is no dropout, and zoneout takes its expectation.

    Args:
        layer: The layer, whose weights are copied to float64.
        number: The number of the layer and direction, in the order l0, l0 reverse, l1, ...

    Attributes:
        weights: The weights in float64.
        parts: Where each state is in a row.
    """

    def __init__(self, layer: Recurrent[Any], number: int) -> None:
        checks.no_context("layer", layer.context_size, "gradient flows")
        level, reverse = divmod(number, 2 if layer.bidirectional else 1)
        suffix = f"_l{level}" + ("_reverse" if reverse else "")
        values = {
            name.removesuffix(suffix): np.asarray(value, np.float64)
            for name, value in layer.state_dict().items()
            if name.endswith(suffix)
        }
        self.weights = functional.Weights(**values)
        info = network.info_of(layer.cell)
        widths = [layer.proj_size or layer.hidden_size, *[layer.hidden_size] * (info.states - 1)]
        ends = np.cumsum(widths).tolist()
        self.parts = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        expected = noise.of(layer.zoneout, 0.0, 0.0, 0.0, layer.cell, info.states, expects=True)
        self._number = number
        self._options = network.network_options(layer.cell, training=True, noise=expected)

    def split(self, rows: Array) -> tuple[Array, ...]:
        """Return the states in rows (B, N), as the engine takes them: (1, B, H) each."""
        return tuple(np.ascontiguousarray(rows[None, :, part]) for part in self.parts)

    def join(self, states: Sequence[Array]) -> Array:
        """Return the rows (B, N) of this layer and direction in states (L*D, B, H) of all."""
        return np.concatenate([state[self._number] for state in states], axis=-1)

    def run(self, x: NDArray[Any], state: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return y (T, B, H) and the final states (B, N) of several steps with inputs (T, B, I)."""
        y, final, _ = functional.forward_on(
            CPU, self._options, x, [self.weights], self.split(state), lengths, None, 0
        )
        return y, np.concatenate(final, axis=-1)[0]

    def forward(self, x: NDArray[Any], state: Array) -> tuple[Array, Any]:
        """Return the states (B, N) after a step with the input (B, I), and what `back` needs."""
        _, final, kept = functional.forward_on(
            CPU, self._options, x[None], [self.weights], self.split(state), None, None, 0
        )
        return np.concatenate(final, axis=-1)[0], kept

    def back(
        self, kept: Any, gradient: Scaled, *, need_dx: bool = True
    ) -> tuple[Scaled | None, Scaled]:
        """Return the gradients of the input and of the states before a step.

        Args:
            kept: What `forward` returned.
            gradient: (B, N), the gradient with respect to the states after the step.
            need_dx: Whether to return the gradient of the input.

        Returns:
            The gradient of the input (B, I), None if it is not needed or the input is an index, and
            the gradient of the states before the step (B, N).
        """
        dx, before, _ = functional.backward_on(
            CPU, kept, None, self.split(gradient.mantissa), need_dx, None
        )
        rows = np.concatenate(before, axis=-1)[0]
        of_input = None if dx is None else Scaled.of(dx[0], gradient.exponent)
        return of_input, Scaled.of(rows, gradient.exponent)

    def jacobian(self, x: NDArray[Any], state: Array) -> Array:
        """Return the derivatives (N, N) of a step's new states with respect to its old ones.

        Args:
            x: The input of one sequence: (I,), or () for an index.
            state: (N,), the states before the step.
        """
        n = len(state)
        _, kept = self.forward(np.repeat(x[None], n, axis=0), np.repeat(state[None], n, axis=0))
        return self.back(kept, Scaled.of(np.eye(n)), need_dx=False)[1].plain()
