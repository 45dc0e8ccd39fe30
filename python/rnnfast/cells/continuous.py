"""Cells that are steps of differential equations, and their relatives.

The notation is that of `rnnfast.cells.gated`; `p_k` is row k of weight_channel, a number for each
unit.
"""

from __future__ import annotations

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.tape import sigmoid, tanh


def cornn(
    x: Inputs,
    recurrent: Product,
    state: Values,
    _channel: Values,
    *,
    dt: float = 0.042,
    gamma: float = 2.7,
    epsilon: float = 4.7,
) -> States:
    """Coupled oscillatory network. States: y, the output, and its velocity z.

    z' = z + dt (tanh(x_0 + R_0 y + R_1 z) - gamma y - epsilon z), y' = y + dt z'.

    Rusch and Mishra 2021, "Coupled oscillatory recurrent neural network (coRNN)",
    arXiv:2010.00951, in the form of its authors' code, which is explicit in z; the numbers are
    theirs for sequential MNIST.
    """
    y, z = state
    force = tanh(x[0] + recurrent(y, 0)[0] + recurrent(z, 1)[0])
    z = z + dt * (force - gamma * y - epsilon * z)
    return y + dt * z, z


def unicornn(
    x: Inputs,
    _recurrent: Product,
    state: Values,
    channel: Values,
    *,
    dt: float = 0.1,
    alpha: float = 1.0,
) -> States:
    """Undamped independent controlled oscillators. States: y, the output, and its velocity z.

    s = dt sigmoid(p_1), z' = z - s (tanh(x_0 + p_0 y) + alpha y), y' = y + s z'.

    Rusch and Mishra 2021, "UnICORNN: a recurrent model for learning very long time dependencies",
    arXiv:2103.05487; p_0 is its w and p_1 its c. The authors tune dt and alpha for each task.
    """
    (y, z), (w, c) = state, channel
    s, force = dt * sigmoid(c), tanh(x[0] + w * y)
    z = z - s * (force + alpha * y)
    return y + s * z, z


def lem(
    x: Inputs, recurrent: Product, state: Values, _channel: Values, *, dt: float = 1.0
) -> States:
    """Long expressive memory. States: y, the output, and z.

    a = dt sigmoid(x_0 + R_0 y), b = dt sigmoid(x_1 + R_1 y),
    z' = (1 - a) z + a tanh(x_2 + R_2 y), y' = (1 - b) y + b tanh(x_3 + R_3 z').

    Rusch, Mishra, Erichson and Mahoney 2022, "Long expressive memory for sequence modeling",
    arXiv:2110.04744: R_3 multiplies the new z, as in the authors' code.
    """
    y, z = state
    y_a, y_b, y_z = recurrent(y, 0, 1, 2)
    a, b = dt * sigmoid(x[0] + y_a), dt * sigmoid(x[1] + y_b)
    n_z = tanh(x[2] + y_z)
    z = (1 - a) * z + a * n_z
    n_y = tanh(x[3] + recurrent(z, 3)[0])
    return (1 - b) * y + b * n_y, z


def cfc(
    x: Inputs, recurrent: Product, state: Values, _channel: Values, *, elapsed: float = 1.0
) -> States:
    """Closed-form continuous-time cell, without the backbone in front of it.

    f = tanh(x_0 + R_0 h), g = tanh(x_1 + R_1 h), t = sigmoid(elapsed (x_2 + R_2 h) + x_3 + R_3 h),
    h' = (1 - t) f + t g.

    Hasani, Lechner, Amini and others 2022, "Closed-form continuous-time neural networks",
    arXiv:2106.13898, in the form of its authors' code. The time between steps is a constant.
    """
    (h,) = state
    f, g, a, b = (xk + hk for xk, hk in zip(x, recurrent(h), strict=True))
    f, g, t = tanh(f), tanh(g), sigmoid(elapsed * a + b)
    return ((1 - t) * f + t * g,)


def cfc_backbone(
    x: Inputs, recurrent: Product, state: Values, _channel: Values, *, elapsed: float = 1.0
) -> States:
    """`cfc` with a backbone of one layer, which has as many units as h.

    v = 1.7159 tanh(0.666 (x_0 + R_0 h)), f = tanh(R_1 v), g = tanh(R_2 v),
    t = sigmoid(elapsed (R_3 v) + R_4 v), h' = (1 - t) f + t g.

    Hasani, Lechner, Amini and others 2022, arXiv:2106.13898, with the function `lecun` of its
    authors' code in the backbone.
    """
    (h,) = state
    v = 1.7159 * tanh(0.666 * (x[0] + recurrent(h, 0)[0]))
    f, g, a, b = recurrent(v, 1, 2, 3, 4)
    f, g, t = tanh(f), tanh(g), sigmoid(elapsed * a + b)
    return ((1 - t) * f + t * g,)


def fast_rnn(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """FastRNN: a weighted residual connection.

    h' = sigmoid(p_0) tanh(x_0 + R_0 h) + sigmoid(p_1) h.

    Kusupati, Singh, Bhatia and others 2018, "FastGRNN: a fast, accurate, stable and tiny kilobyte
    sized gated recurrent neural network", arXiv:1901.02358. Its two weights are one number each
    for all units; here each unit has its own.
    """
    (h,), (alpha, beta) = state, channel
    n = tanh(x[0] + recurrent(h)[0])
    return (sigmoid(alpha) * x.candidate(n) + sigmoid(beta) * h,)


def fast_grnn(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """FastGRNN: gate and candidate share their matrices.

    s = x_0 + R_0 h, z = sigmoid(s + p_0), n = tanh(s + p_1),
    h' = (sigmoid(p_2) (1 - z) + sigmoid(p_3)) n + z h.

    Kusupati, Singh, Bhatia and others 2018, arXiv:1901.02358, without matrices of low rank. p_0
    and p_1 are its biases, which bias_ih and bias_hh add to both of. p_2 and p_3 are one number
    each for all units there; here each unit has its own.
    """
    (h,), (b_z, b_n, zeta, nu) = state, channel
    s = x[0] + recurrent(h)[0]
    z, n = sigmoid(s + b_z), tanh(s + b_n)
    return ((sigmoid(zeta) * (1 - z) + sigmoid(nu)) * x.candidate(n) + z * h,)


CELLS = (
    Cell("cornn", cornn, states=2, recurrent_gates=2),
    Cell("unicornn", unicornn, states=2, params=2, recurrent_gates=0),
    Cell("lem", lem, states=2, gates=4),
    Cell("cfc", cfc, gates=4),
    Cell("cfc_backbone", cfc_backbone, recurrent_gates=5),
    Cell("fast_rnn", fast_rnn, params=2),
    Cell("fast_grnn", fast_grnn, params=4),
)
