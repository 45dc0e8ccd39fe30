"""Recurrent highway networks, with several layers within a step, and the feed-forward layer.

The notation is that of `rnnfast.cells.gated`.
"""

from __future__ import annotations

from functools import partial

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.tape import Activation, relu, sigmoid, tanh


def recurrent_highway(depth: int, *, coupled: bool = True) -> Cell:
    """Return a recurrent highway network with `depth` highway layers within a step.

    Layer l computes n = tanh(x_0 + R s), t = sigmoid(x_1 + R s), and c = 1 - t if coupled, else
    sigmoid(x_2 + R s), where s = s_{l-1}, s_0 = h and every product has its own row block R; only
    the first layer sees the input x. Then s_l = n t + s c, and h' = s_depth. The row blocks of
    weight_hh are those of the first layer in the order n, t, c, then those of the second, and so
    on.

    Zilly, Srivastava, Koutnik and Schmidhuber 2017, "Recurrent highway networks",
    arXiv:1607.03474, eqs. 6 to 9.

    Args:
        depth: Layers within a step, 1 to 10.
        coupled: Whether c is 1 - t, as in most of the paper's experiments.

    Raises:
        ValueError: `depth` is not in 1 to 10.
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
    """Recurrent highway network: several highway layers in one step, after `recurrent_highway`."""
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
    """Highway layer: a feed-forward layer, which ignores the state.

    t = sigmoid(x_1), h' = t relu(x_0) + (1 - t) x, x the input itself.

    Srivastava, Greff and Schmidhuber 2015, "Highway networks", arXiv:1505.00387, eq. 3.
    """
    n, t = activation(x[0]), sigmoid(x[1])
    return (t * n + (1 - t) * x.input,)


CELLS = (
    *(recurrent_highway(d, coupled=c) for c in (True, False) for d in (1, 3, 5, 10)),
    Cell("highway_layer", highway_layer, gates=2, recurrent_gates=0, reads_input=True),
)
