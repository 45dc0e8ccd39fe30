"""Learned initial states, which are parameters of a recurrent layer.

Sizes: B batch, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnfast._engine import backends
from rnnfast._engine.checks import RealArray
from rnnfast.layers.parameter import Freezing, Parameter


def parameter_name(state: int) -> str:
    """Return the name of the parameter for the initial value of a cell's state, by its index."""
    return f"initial_state_{state}"


@dataclass(frozen=True)
class LearnedState:
    """The learned initial state of a layer, from which a call starts that is given no state.

    Attributes:
        values: The parameters' values, (L*D, H) for each state of the cell.
        gradients: The parameters' gradients.
        freezings: Whether the parameters are trained.
    """

    values: tuple[RealArray, ...]
    gradients: tuple[RealArray, ...]
    freezings: tuple[Freezing, ...]

    @classmethod
    def of(cls, parameters: Sequence[Parameter]) -> LearnedState:
        """Collect the arrays of the parameters, one for each state."""
        return cls(
            tuple(p.value for p in parameters),
            tuple(p.grad for p in parameters),
            tuple(p.freezing for p in parameters),
        )

    def start(
        self, given: Sequence[RealArray | None] | None, batch: int, resets: bool
    ) -> tuple[tuple[RealArray, ...], tuple[int, ...]]:
        """Return the states that a call starts from.

        Args:
            given: The states passed to the call; None, for one or for all, for the learned ones.
            batch: B.
            resets: Whether the call resets states.

        Returns:
            An array (L*D, B, H) for each state, with one more row, which resets set, if the call
            resets states; and for each state the number of rows that precede the learned ones.
        """
        own = (None,) * len(self.values) if given is None else given
        states = tuple(
            value[:, None].repeat(batch + resets, axis=1)
            if state is None
            else self._with_reset(state, value)
            if resets
            else state
            for state, value in zip(own, self.values, strict=True)
        )
        return states, tuple(0 if state is None else batch for state in own)

    def _with_reset(self, given: RealArray, learned: RealArray) -> RealArray:
        """Return a state with the learned one as a further row."""
        array: RealArray = backends.given("state", given)
        if array.ndim != 3 or array.shape[::2] != learned.shape:
            return array  # `forward_on` refuses other shapes
        return np.concatenate([array, learned[:, None]], axis=1)

    def add(self, before: tuple[int, ...], dinitial: Sequence[RealArray]) -> None:
        """Add a call's gradients to those of the parameters.

        Args:
            before: For each state, the number of rows that precede the learned ones.
            dinitial: The gradients with respect to the call's initial states.
        """
        for gradient, freezing, first, of_state in zip(
            self.gradients, self.freezings, before, dinitial, strict=True
        ):
            if freezing.requires_grad and first < of_state.shape[1]:
                gradient += of_state[:, first:].sum(axis=1)
