"""Cells that another library has and the zoo lacks, as they are in no paper."""

from __future__ import annotations

from rnnfast.reference import Cell
from rnnfast.reference.cell import Inputs, Product, States, Values
from rnnfast.reference.tape import sigmoid, tanh


def dynet_lstm(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """DyNet's LSTM with f coupled to i, and full matrices where others have peepholes.

    i = sigmoid(x_i + R_i h + R_3 c), g = tanh(x_g + R_g h), c' = (1 - i) c + i g,
    o = sigmoid(x_o + R_o h + R_4 c'), h' = o tanh(c'). Row blocks are in the order i, g, o.

    Source: DyNet, `CoupledLSTMBuilder`, which is `LSTMBuilder` in C++ and in DyNet 1.
    """
    h, c = state
    a_i, a_g, a_o = (xk + hk for xk, hk in zip(x, recurrent(h, 0, 1, 2), strict=True))
    (c_i,) = recurrent(c, 3)
    i, g = sigmoid(a_i + c_i), tanh(a_g)
    c = (1 - i) * c + i * x.candidate(g)
    (c_o,) = recurrent(c, 4)
    return sigmoid(a_o + c_o) * tanh(c), c


CELLS = {"dynet_lstm": Cell("dynet_lstm", dynet_lstm, states=2, gates=3, recurrent_gates=5)}
