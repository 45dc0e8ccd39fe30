"""Gated units, most with one state: simplifications of the LSTM and the GRU, and relatives.

In the equations `x_k` is row block k of weight_ih times the input and `R_k v` row block k of
weight_hh times v, each with its bias; `h` is the state before the step and `h'` after it.
"""

from __future__ import annotations

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.tape import relu, sigmoid, tanh


def mgu(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Minimal gated unit.

    f = sigmoid(x_0 + R_0 h), n = tanh(x_1 + R_1 (f h)), h' = (1 - f) h + f n.

    Zhou, Wu, Zhang and Zhou 2016, "Minimal gated unit for recurrent neural networks",
    arXiv:1603.09420.
    """
    (h,) = state
    f = sigmoid(x[0] + recurrent(h, 0)[0])
    n = tanh(x[1] + recurrent(f * h, 1)[0])
    return ((1 - f) * h + f * x.candidate(n),)


def li_gru(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Light GRU, without the batch normalisation of x_0 and x_1 in its paper.

    z = sigmoid(x_0 + R_0 h), n = relu(x_1 + R_1 h), h' = z h + (1 - z) n.

    Ravanelli, Brakel, Omologo and Bengio 2018, "Light gated recurrent units for speech
    recognition", arXiv:1803.10225.
    """
    (h,) = state
    h_z, h_n = recurrent(h)
    z, n = sigmoid(x[0] + h_z), relu(x[1] + h_n)
    return (z * h + (1 - z) * x.candidate(n),)


def janet(
    x: Inputs, recurrent: Product, state: Values, _channel: Values, *, beta: float = 1.0
) -> States:
    """LSTM with only a forget gate and a single state, which is both h and c.

    s = x_0 + R_0 h, n = tanh(x_1 + R_1 h), h' = sigmoid(s) h + (1 - sigmoid(s - beta)) n.

    Van der Westhuizen and Lasenby 2018, "The unreasonable effectiveness of the forget gate",
    arXiv:1804.04849, with their beta of 1.
    """
    (h,) = state
    h_s, h_n = recurrent(h)
    s, n = x[0] + h_s, tanh(x[1] + h_n)
    f, i = sigmoid(s), 1 - sigmoid(s - beta)
    return (f * h + i * x.candidate(n),)


def light_ru(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Light recurrent unit.

    n = tanh(x_0), f = sigmoid(x_1 + R_0 h), h' = (1 - f) h + f n.

    Ye, Zhang, Liu, Liu and Li 2024, "Light recurrent unit: towards an interpretable recurrent
    neural network for modeling long-range dependency", Electronics 13(16), 3204.
    """
    (h,) = state
    n, f = tanh(x[0]), sigmoid(x[1] + recurrent(h)[0])
    return ((1 - f) * h + f * x.candidate(n),)


def ugrnn(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Update gate RNN.

    c = tanh(x_0 + R_0 h), g = sigmoid(x_1 + R_1 h), h' = g h + (1 - g) c.

    Collins, Sohl-Dickstein and Sussillo 2017, "Capacity and trainability in recurrent neural
    networks", arXiv:1611.09913.
    """
    (h,) = state
    h_c, h_g = recurrent(h)
    c, g = tanh(x[0] + h_c), sigmoid(x[1] + h_g)
    return (g * h + (1 - g) * x.candidate(c),)


def intersection_rnn(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Intersection RNN, +RNN: one gate for the path through time and one for the path upwards.

    States: y, the output, which the next step does not see, and h. x is the input itself.
    y_in = relu(x_0 + R_0 h), h_in = tanh(x_1 + R_1 h), g_y = sigmoid(x_2 + R_2 h),
    g_h = sigmoid(x_3 + R_3 h), y = g_y x + (1 - g_y) y_in, h' = g_h h + (1 - g_h) h_in.

    Collins, Sohl-Dickstein and Sussillo 2017, arXiv:1611.09913, with the functions of its
    authors' TensorFlow code (`IntersectionRNNCell`).
    """
    _, h = state
    y_in, h_in, g_y, g_h = (xk + hk for xk, hk in zip(x, recurrent(h), strict=True))
    y_in, h_in, g_y, g_h = relu(y_in), tanh(h_in), sigmoid(g_y), sigmoid(g_h)
    y = g_y * x.input + (1 - g_y) * y_in
    return y, g_h * h + (1 - g_h) * x.candidate(h_in)


def cfn(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Chaos-free network.

    f = sigmoid(x_0 + R_0 h), i = sigmoid(x_1 + R_1 h), h' = f tanh(h) + i tanh(x_2).

    Laurent and von Brecht 2017, "A recurrent neural network without chaos", arXiv:1612.06212,
    whose x_2 has no bias.
    """
    (h,) = state
    h_f, h_i = recurrent(h)
    f, i, n = sigmoid(x[0] + h_f), sigmoid(x[1] + h_i), tanh(x[2])
    return (f * tanh(h) + i * x.candidate(n),)


def atr(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Addition-subtraction twin-gated recurrent network.

    p = x_0, q = R_0 h, h' = sigmoid(p + q) p + sigmoid(p - q) h.

    Zhang, Xiong, Su, Lin and Zhang 2018, "Simplifying neural machine translation with
    addition-subtraction twin-gated recurrent networks", arXiv:1810.12546.
    """
    (h,) = state
    p, q = x[0], recurrent(h)[0]
    i, f = sigmoid(p + q), sigmoid(p - q)
    return (i * x.candidate(p) + f * h,)


def ran(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Recurrent additive network. States: h, c.

    n = x_0, i = sigmoid(x_1 + R_0 h), f = sigmoid(x_2 + R_1 h), c' = i n + f c, h' = tanh(c').

    Lee, Levy and Zettlemoyer 2017, "Recurrent additive networks", arXiv:1705.07393, whose x_0 has
    no bias.
    """
    h, c = state
    h_i, h_f = recurrent(h)
    n, i, f = x[0], sigmoid(x[1] + h_i), sigmoid(x[2] + h_f)
    c = i * x.candidate(n) + f * c
    return tanh(c), c


def scrn(
    x: Inputs, recurrent: Product, state: Values, _channel: Values, *, alpha: float = 0.95
) -> States:
    """Structurally constrained recurrent network. States: h, and the slow context s.

    s' = (1 - alpha) x_0 + alpha s, h' = sigmoid(x_1 + R_0 h + R_1 s').

    Mikolov, Joulin, Chopra, Mathieu and Ranzato 2015, "Learning longer memory in recurrent neural
    networks", arXiv:1412.7753, eqs. 4 and 5, with their alpha; x_0 and R_1 have no bias there.
    Here s has as many units as h. The paper's third equation is the layer that reads h' and s'.
    """
    h, s = state
    s = (1 - alpha) * x[0] + alpha * s
    return sigmoid(x[1] + recurrent(h, 0)[0] + recurrent(s, 1)[0]), s


def minimal_rnn(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """MinimalRNN.

    z = tanh(x_0), u = sigmoid(R_0 h + R_1 z), h' = u h + (1 - u) z.

    Chen 2017, "MinimalRNN: toward more interpretable and trainable recurrent neural networks",
    arXiv:1711.06788, with its Phi of one tanh layer.
    """
    (h,) = state
    z = tanh(x[0])
    u = sigmoid(recurrent(h, 0)[0] + recurrent(z, 1)[0])
    return (u * h + (1 - u) * x.candidate(z),)


def star(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Stackable recurrent cell.

    z = tanh(x_0), k = sigmoid(x_1 + R_0 h), h' = tanh((1 - k) h + k z).

    Turkoglu, D'Aronco, Wegner and Schindler 2021, "Gating revisited: deep multi-layer RNNs that
    can be trained", arXiv:1911.11033.
    """
    (h,) = state
    z, k = tanh(x[0]), sigmoid(x[1] + recurrent(h)[0])
    return (tanh((1 - k) * h + k * x.candidate(z)),)


CELLS = (
    Cell("mgu", mgu, gates=2),
    Cell("li_gru", li_gru, gates=2),
    Cell("janet", janet, gates=2),
    Cell("light_ru", light_ru, gates=2, recurrent_gates=1),
    Cell("ugrnn", ugrnn, gates=2),
    Cell("intersection_rnn", intersection_rnn, states=2, gates=4, reads_input=True),
    Cell("cfn", cfn, gates=3, recurrent_gates=2),
    Cell("atr", atr),
    Cell("ran", ran, states=2, gates=3, recurrent_gates=2),
    Cell("scrn", scrn, states=2, gates=2),
    Cell("minimal_rnn", minimal_rnn, recurrent_gates=2),
    Cell("star", star, gates=2, recurrent_gates=1),
)
