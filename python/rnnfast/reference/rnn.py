"""Vanilla recurrent networks (Elman 1990, "Finding structure in time")."""

from collections.abc import Sequence

from rnnfast.reference.cell import Product, ReferenceCell
from rnnfast.reference.tape import Var, relu, tanh


def step_tanh(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """One step: h' = tanh(x + W h)."""
    (h,) = state
    (hg,) = recurrent(h)
    return (tanh(x[0] + hg),)


def step_relu(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """One step: h' = max(0, x + W h)."""
    (h,) = state
    (hg,) = recurrent(h)
    return (relu(x[0] + hg),)


TANH = ReferenceCell("rnn_tanh", states=1, gates=1, step=step_tanh)
RELU = ReferenceCell("rnn_relu", states=1, gates=1, step=step_relu)
