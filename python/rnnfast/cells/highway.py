"""Highway networks: recurrent ones, with several layers within a step, and the feed-forward layer.

Notation as in `rnnfast.cells.gated`.
"""

from __future__ import annotations

from functools import partial

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.tape import Activation, relu, sigmoid, tanh


def recurrent_highway(depth: int, *, coupled: bool = True) -> Cell:
    """Recurrent highway network: `depth` highway layers within a step, the first sees the input.

    With s_0 = h and x_k only where l = 1: n = tanh(x_0 + R s), t = sigmoid(x_1 + R s), c = 1 - t
    if coupled, else sigmoid(x_2 + R s), each with a row block R of its own and s = s_{l-1};
    s_l = n t + s c, and h' = s_depth. Row blocks of weight_hh: those of the first layer in the
    order n, t, c, then those of the second.

    Zilly, Srivastava, Koutnik and Schmidhuber 2017, "Recurrent highway networks",
    arXiv:1607.03474, eqs. 6 to 9.

    Args:
        depth: layers within a step, 1 to 10.
        coupled: whether c is 1 - t, as in most of the paper's experiments.

    Raises:
        ValueError: depth is not among 1 to 10.
    """
    if not 1 <= depth <= 10:
        raise ValueError(f"depth: expected 1 to 10 layers within a step, got {depth}")
    gates = 2 if coupled else 3
    return Cell(
        f"recurrent_highway_{depth}" + ("" if coupled else "_uncoupled"),
        partial(_highway, depth=depth),
        gates=gates,
        recurrent_gates=gates * depth,
    )


def _highway(
    x: Inputs, recurrent: Product, state: Values, _channel: Values, *, depth: int
) -> States:
    """A step of `recurrent_highway`."""
    (s,) = state
    gates = len(x)
    for layer in range(depth):
        sums = recurrent(s, *range(layer * gates, (layer + 1) * gates))
        if layer == 0:
            sums = [xk + hk for xk, hk in zip(x, sums, strict=True)]
        n, t = tanh(sums[0]), sigmoid(sums[1])
        c = sigmoid(sums[2]) if gates == 3 else 1 - t
        s = n * t + s * c
    return (s,)


def highway_layer(
    x: Inputs,
    _recurrent: Product,
    _state: Values,
    _channel: Values,
    *,
    activation: Activation = relu,
) -> States:
    """A highway layer: feed-forward, the same for every step, whatever the state.

    t = sigmoid(x_1), h' = t relu(x_0) + (1 - t) x, x the input itself.

    Srivastava, Greff and Schmidhuber 2015, "Highway networks", arXiv:1505.00387, eq. 3.
    """
    t = sigmoid(x[1])
    return (t * activation(x[0]) + (1 - t) * x.input,)


CELLS = (
    *(recurrent_highway(d, coupled=c) for c in (True, False) for d in (1, 3, 5, 10)),
    Cell("highway_layer", highway_layer, gates=2, recurrent_gates=0, reads_input=True),
)
