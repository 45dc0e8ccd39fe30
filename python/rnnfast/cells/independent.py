"""Cells whose units do not see each other across steps, most without recurrent matrices.

The notation is that of `rnnfast.cells.gated`; `p_k` is row k of weight_channel, a number for each
unit.
"""

from __future__ import annotations

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.tape import relu, sigmoid, tanh


def indrnn(x: Inputs, _recurrent: Product, state: Values, channel: Values) -> States:
    """Independently recurrent network.

    h' = relu(x_0 + p_0 h).

    Li, Li, Cook, Zhu and Gao 2018, "Independently recurrent neural network (IndRNN): building a
    longer and deeper RNN", arXiv:1803.04831, eq. 2.
    """
    (h,), (u,) = state, channel
    return (relu(x[0] + u * h),)


def brc(x: Inputs, _recurrent: Product, state: Values, channel: Values) -> States:
    """Bistable recurrent cell.

    c = sigmoid(x_0 + p_0 h), a = 1 + tanh(x_1 + p_1 h), h' = c h + (1 - c) tanh(x_2 + a h).

    Vecoven, Ernst and Drion 2021, "A bio-inspired bistable recurrent cell allows for long-lasting
    memory", arXiv:2006.05252; its x_2 has no bias in the authors' code.
    """
    (h,), (p_c, p_a) = state, channel
    c, a = sigmoid(x[0] + p_c * h), 1 + tanh(x[1] + p_a * h)
    n = tanh(x[2] + a * h)
    return (c * h + (1 - c) * x.candidate(n),)


def nbrc(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Neuromodulated bistable recurrent cell: as `brc`, but its gates see all units.

    c = sigmoid(x_0 + R_0 h), a = 1 + tanh(x_1 + R_1 h), h' = c h + (1 - c) tanh(x_2 + a h).

    Vecoven, Ernst and Drion 2021, arXiv:2006.05252; its x_2 has no bias in the authors' code.
    """
    (h,) = state
    h_c, h_a = recurrent(h)
    c, a = sigmoid(x[0] + h_c), 1 + tanh(x[1] + h_a)
    n = tanh(x[2] + a * h)
    return (c * h + (1 - c) * x.candidate(n),)


def t_rnn(x: Inputs, _recurrent: Product, state: Values, _channel: Values) -> States:
    """Strongly typed vanilla network.

    f = sigmoid(x_1), h' = f h + (1 - f) x_0.

    Balduzzi and Ghifary 2016, "Strongly-typed recurrent neural networks", arXiv:1602.02218, whose
    x_0 has no bias.
    """
    (h,) = state
    n, f = x[0], sigmoid(x[1])
    return (f * h + (1 - f) * x.candidate(n),)


def t_gru(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Strongly typed GRU. States: h, and u, the input of the step before.

    z = x_0 + R_0 u, f = sigmoid(x_1 + R_1 u), o = tanh(x_2 + R_2 u), h' = f h + z o, u' = x.

    Balduzzi and Ghifary 2016, arXiv:1602.02218, with tau = tanh.
    """
    h, u = state
    z, f, o = (xk + uk for xk, uk in zip(x, recurrent(u), strict=True))
    f, o = sigmoid(f), tanh(o)
    return f * h + x.candidate(z) * o, x.input


def t_lstm(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Strongly typed LSTM. States: h, c, and u, the input of the step before.

    z = x_0 + R_0 u, f = sigmoid(x_1 + R_1 u), o = tanh(x_2 + R_2 u), c' = f c + (1 - f) z,
    h' = c' o, u' = x. The next step does not see h'.

    Balduzzi and Ghifary 2016, arXiv:1602.02218, with tau = tanh.
    """
    _, c, u = state
    z, f, o = (xk + uk for xk, uk in zip(x, recurrent(u), strict=True))
    f, o = sigmoid(f), tanh(o)
    c = f * c + (1 - f) * x.candidate(z)
    return c * o, c, x.input


def min_gru(x: Inputs, _recurrent: Product, state: Values, _channel: Values) -> States:
    """minGRU, step by step.

    z = sigmoid(x_0), h' = (1 - z) h + z x_1.

    Feng, Tung, Ahmed, Bengio and Hajimirsadeghi 2024, "Were RNNs all we needed?",
    arXiv:2410.01201, in its vanilla form, not in the log space.
    """
    (h,) = state
    z, n = sigmoid(x[0]), x[1]
    return ((1 - z) * h + z * x.candidate(n),)


def min_lstm(x: Inputs, _recurrent: Product, state: Values, _channel: Values) -> States:
    """minLSTM, step by step; its two gates add up to 1.

    f = sigmoid(x_0), i = sigmoid(x_1), h' = f / (f + i) h + i / (f + i) x_2.

    Feng, Tung, Ahmed, Bengio and Hajimirsadeghi 2024, arXiv:2410.01201, in its vanilla form, not
    in the log space.
    """
    (h,) = state
    f, i, n = sigmoid(x[0]), sigmoid(x[1]), x[2]
    return (f / (f + i) * h + i / (f + i) * x.candidate(n),)


CELLS = (
    Cell("indrnn", indrnn, params=1, recurrent_gates=0),
    Cell("brc", brc, gates=3, params=2, recurrent_gates=0),
    Cell("nbrc", nbrc, gates=3, recurrent_gates=2),
    Cell("t_rnn", t_rnn, gates=2, recurrent_gates=0),
    Cell("t_gru", t_gru, states=2, gates=3, reads_input=True),
    Cell("t_lstm", t_lstm, states=3, gates=3, reads_input=True),
    Cell("min_gru", min_gru, gates=2, recurrent_gates=0),
    Cell("min_lstm", min_lstm, gates=3, recurrent_gates=0),
)
