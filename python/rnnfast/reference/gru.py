"""Gated recurrent unit, reset gate after the product. Row blocks in the order r, z, n."""

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
    """Gated recurrent unit that applies the reset gate after the product.

    r, z = sigmoid(x + W h), n = tanh(x_n + r (W_n h + b)), h' = n + z (h - n).

    Cho et al. 2014, version 1 of arXiv:1406.1078, the form of cuDNN and PyTorch. Models from other
    libraries may use other activations in place of sigmoid and tanh.
    """
    gate, activation = activations
    (h,) = state
    h_r, h_z, h_n = recurrent(h)
    r, z = gate(x[0] + h_r), gate(x[1] + h_z)
    n = x.candidate(activation(x[2] + r * h_n))
    return (n + z * (h - n),)


GRU = Cell("gru", states=1, gates=3, step=step)
