"""Gated recurrent unit, reset gate before the product. Row blocks in the order r, z, n."""

from collections.abc import Sequence

from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.tape import Activation, Var, sigmoid, tanh


def step(
    x: Inputs,
    recurrent: Product,
    state: Sequence[Var],
    _channel: Sequence[Var],
    *,
    activations: tuple[Activation, Activation] = (sigmoid, tanh),
) -> tuple[Var, ...]:
    """Gated recurrent unit that applies the reset gate before the product.

    r, z = sigmoid(x + W h), n = tanh(x_n + W_n (r h)), h' = n + z (h - n).

    Cho et al. 2014, version 3 of arXiv:1406.1078. Models from other libraries may use other
    activations in place of sigmoid and tanh.
    """
    gate, activation = activations
    (h,) = state
    h_r, h_z = recurrent(h, 0, 1)
    r, z = gate(x[0] + h_r), gate(x[1] + h_z)
    (h_n,) = recurrent(r * h, 2)
    n = x.candidate(activation(x[2] + h_n))
    return (n + z * (h - n),)


GRU_RESET_BEFORE = Cell("gru_reset_before", states=1, gates=3, step=step)
