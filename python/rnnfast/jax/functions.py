"""Networks as functions of their parameters, whose names and shapes tell the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from rnnfast.jax.network import Network, Params, State
from rnnfast.reference import Cell
from rnnfast.reference.gru import GRU
from rnnfast.reference.lstm import LSTM
from rnnfast.reference.rnn import TANH

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Options(TypedDict, total=False):
    """The options of `lstm`, `gru` and `rnn`, which are those of `recurrent`."""

    lengths: ArrayLike | None
    batch_first: bool
    precision: str


def recurrent(
    cell: str | Cell,
    x: ArrayLike,
    params: Params,
    state: State | None = None,
    *,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
    precision: str = "full",
) -> tuple[jax.Array, State]:
    """Run a network over whole sequences.

    Args:
        cell: The cell, as for `Network`.
        x: The input, as for `Network.apply`.
        params: The parameters by name, as `Network.init` returns them. They tell the numbers of
            layers and directions, the sizes, and whether there are biases.
        state: The initial states, as for `Network.apply`.
        lengths: The lengths of the sequences, as for `Network.apply`.
        batch_first: Whether x and y are (B, T, ...) instead of (T, B, ...).
        precision: "full" or, for float32 parameters, "bfloat16".

    Returns:
        y and the final states, as `Network.apply` returns them.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument, or a parameter, has the wrong value or shape.
    """
    network = _network_of(cell, params, batch_first, precision)
    return network.apply(params, x, state, lengths=lengths)


def _network_of(cell: str | Cell, params: Params, batch_first: bool, precision: str) -> Network:
    """Return the network to which parameters with these names and shapes belong."""
    _, input_size = _matrix(params, "weight_ih_l0")
    _, hidden_size = _matrix(params, "weight_hh_l0")
    proj_size = 0
    if "weight_hr_l0" in params:
        proj_size, hidden_size = _matrix(params, "weight_hr_l0")
    return Network(
        cell,
        input_size,
        hidden_size,
        sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in params),
        bias="bias_ih_l0" in params,
        batch_first=batch_first,
        bidirectional="weight_ih_l0_reverse" in params,
        proj_size=proj_size,
        precision=precision,
    )


def _matrix(params: Params, name: str) -> tuple[int, ...]:
    """Return the shape of a parameter that must be a matrix."""
    shape: tuple[int, ...] | None = jnp.shape(params[name]) if name in params else None
    if shape is None or len(shape) != 2:
        got = "no such parameter" if shape is None else f"shape {shape}"
        raise ValueError(f"params[{name!r}]: expected a matrix, got {got}")
    return shape


def lstm(
    x: ArrayLike, params: Params, state: State | None = None, **options: Unpack[Options]
) -> tuple[jax.Array, State]:
    """Run an LSTM, whose state is (h, c), as `recurrent` does."""
    return recurrent(LSTM, x, params, state, **options)


def gru(
    x: ArrayLike, params: Params, state: State | None = None, **options: Unpack[Options]
) -> tuple[jax.Array, State]:
    """Run a GRU as `recurrent` does."""
    return recurrent(GRU, x, params, state, **options)


def rnn(
    x: ArrayLike, params: Params, state: State | None = None, **options: Unpack[Options]
) -> tuple[jax.Array, State]:
    """Run a vanilla RNN with tanh as `recurrent` does."""
    return recurrent(TANH, x, params, state, **options)
