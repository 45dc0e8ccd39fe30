"""Learned initial states, which are parameters of a recurrent layer.

Sizes: B batch, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        self, given: Sequence[RealArray | None] | None, batch: int
    ) -> tuple[tuple[RealArray, ...], tuple[bool, ...]]:
        """Return the states that a call starts from.

        Args:
            given: The states passed to the call; None, for one or for all, for the learned ones.
            batch: B.

        Returns:
            An array (L*D, B, H) for each state, and for each whether it is the learned one.
        """
        own = (None,) * len(self.values) if given is None else given
        states = tuple(
            value[:, None].repeat(batch, axis=1) if state is None else state
            for state, value in zip(own, self.values, strict=True)
        )
        return states, tuple(state is None for state in own)

    def add(self, learned: tuple[bool, ...], dinitial: Sequence[RealArray]) -> None:
        """Add a call's gradients to those of the parameters.

        Args:
            learned: For each state, whether the call started from the learned one.
            dinitial: The gradients with respect to the call's initial states, (L*D, B, H) each.
        """
        for gradient, freezing, counts, of_state in zip(
            self.gradients, self.freezings, learned, dinitial, strict=True
        ):
            if counts and freezing.requires_grad:
                gradient += of_state.sum(axis=1)
