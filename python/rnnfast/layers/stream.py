"""Recurrent networks over input that comes step by step."""

from __future__ import annotations

from typing import Generic

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import functional
from rnnfast._engine import arguments, backend, checks, network
from rnnfast._engine.checks import RealArray
from rnnfast._engine.noise import Noise
from rnnfast.layers.states import StateOf


class Stream(Generic[StateOf]):
    """A network of one direction with its weights and state; `rnnfast.Recurrent.stream` makes it.

    `y = stream(x)` takes one step of all B sequences and moves the state on. The bits are those of
    a call over the whole sequences.
    """

    def __init__(
        self,
        packed: functional.Packed,
        batch: int,
        state: tuple[RealArray | None, ...] | None,
        noise: Noise | None = None,
    ) -> None:
        self._packed = packed
        self._options = network.network_options(
            packed.cell, packed.num_layers, precision=packed.precision, noise=noise
        )
        batch = checks.positive_int("batch", batch)
        self._shapes = (batch, packed.input_size), (batch,)  # of reals, of indices
        dtype = np.dtype(packed.dtype)
        shapes = network.state_shapes(self._options, batch, packed.hidden_size, packed.proj_size)
        self._on = on = backend.of_weights(packed)
        self._state = tuple(
            on.asarray(np.zeros(shape, dtype)) if value is None else value.copy()
            for value, shape in zip(
                arguments.checked_states(on, "state", state, dtype, shapes)
                or (None,) * len(shapes),
                shapes,
                strict=True,
            )
        )

    def __call__(self, x: ArrayLike) -> RealArray:
        """Take a step.

        Args:
            x: (B, I) real numbers, which are converted to the layer's dtype, or (B,) integers in
                [0, I), which stand for one-hot rows.

        Returns:
            (B, H), the outputs of the last layer; (B, P) with a projection.

        Raises:
            ValueError: The shape is wrong.
            IndexError: An integer is out of range.
            TypeError: x has no real numbers.
        """
        array = backend.given("x", x)
        if array.shape not in self._shapes:
            raise ValueError(
                f"x: expected shape (batch, input_size) = {self._shapes[0]}, or {self._shapes[1]} "
                f"for indices, got {array.shape}"
            )
        y, self._state, _ = functional.forward_on(
            self._on, self._options, array[None], self._packed, self._state, None, 0
        )
        out: RealArray = y[0]
        return out

    @property
    def state(self) -> StateOf:
        """The state after the last step, in its shapes: one array, or a tuple as of the layer."""
        states = self._state
        return states if len(states) > 1 else states[0]  # type: ignore[return-value]
