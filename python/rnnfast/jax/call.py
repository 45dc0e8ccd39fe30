"""What a call of a network is, apart from its arrays.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax

from rnnfast import _core
from rnnfast._engine.network import Weights, info_of, network_options, state_shapes

Arrays: TypeAlias = "list[jax.Array]"


class Call(NamedTuple):
    """The parameters of the primitives, which are constants in JAX's programs.

    Attributes:
        cell: The engine's name of the cell.
        num_layers: L.
        num_directions: D.
        hidden_size: H.
        proj_size: Width of a projected h; 0 without a projection.
        bias: Whether the products have biases.
        precision: The precision of products, "full" or "bfloat16".
        has_state: Whether initial states are among the arrays; they are zeros otherwise.
        has_lengths: Whether the lengths of the sequences are among the arrays.
    """

    cell: str
    num_layers: int
    num_directions: int
    hidden_size: int
    proj_size: int
    bias: bool
    precision: str
    has_state: bool
    has_lengths: bool

    @property
    def states(self) -> int:
        """Number of states of the cell."""
        return int(info_of(self.cell).states)

    @property
    def weight_names(self) -> list[str]:
        """The fields of `Weights` that a layer has in one direction."""
        shapes = info_of(self.cell).shapes(1, self.hidden_size, self.proj_size)
        return [name for name in shapes if self.bias or not name.startswith("bias")]

    def options(self, training: bool) -> _core.NetworkOptions:
        """Return the options in the form of the engine."""
        return network_options(
            self.cell,
            self.num_layers,
            self.num_directions == 2,
            training=training,
            precision=self.precision,
            keep_y=True,
        )

    def state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """Return the shape of each state: (L*D, B, H), or (L*D, B, proj_size) for a projected h."""
        return state_shapes(self.options(False), batch, self.hidden_size, self.proj_size)

    def parts(self, arrays: Sequence[Any]) -> tuple[Any, list[Weights], list[Any], Any]:
        """Return x, the weights of each layer and direction, the states and the lengths.

        The arrays are those of a call: x (T, B, I), the weights, the states if `has_state`, and
        the lengths if `has_lengths`. The list of states is empty, and the lengths are None, if
        they are not among the arrays.
        """
        names = self.weight_names
        end = 1 + len(names) * self.num_layers * self.num_directions
        weights = [
            Weights(**dict(zip(names, arrays[i : i + len(names)], strict=True)))
            for i in range(1, end, len(names))
        ]
        state = list(arrays[end : end + self.states]) if self.has_state else []
        return arrays[0], weights, state, arrays[-1] if self.has_lengths else None
