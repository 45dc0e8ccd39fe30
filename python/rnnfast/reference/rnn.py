"""Vanilla recurrent networks (Elman 1990, "Finding structure in time")."""

from collections.abc import Sequence
from functools import partial

from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.tape import Activation, Var, relu, tanh


def step(
    x: Inputs,
    recurrent: Product,
    state: Sequence[Var],
    _channel: Sequence[Var],
    *,
    activation: Activation = tanh,
) -> tuple[Var, ...]:
    """Vanilla RNN: h' = tanh(x + W h), or another activation in place of tanh."""
    (h,) = state
    (hg,) = recurrent(h)
    return (activation(x[0] + hg),)


TANH = Cell("rnn_tanh", states=1, gates=1, step=step)
RELU = Cell("rnn_relu", states=1, gates=1, step=partial(step, activation=relu))
