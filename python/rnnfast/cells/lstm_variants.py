"""Relatives of the LSTM. Row blocks are in the order i, f, g, o; a cell may lack some of them.

The notation is that of `rnnfast.cells.gated`; `p_k` is row k of weight_channel, a number for each
unit, and row blocks are named after their gates: `x_i`, `R_i h`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.lstm import LSTM, PEEPHOLE, step_peephole
from rnnfast.reference.tape import (
    Activation,
    Var,
    exp,
    maximum,
    minimum,
    sigmoid,
    softplus,
    tanh,
    where,
)


def lstm_1997(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Original LSTM, without a forget gate. Row blocks i, g, o.

    i = sigmoid(x_i + R_i h), g = 4 sigmoid(x_g + R_g h) - 2, o = sigmoid(x_o + R_o h),
    c' = c + i g, h' = o (2 sigmoid(c') - 1).

    Hochreiter and Schmidhuber 1997, "Long short-term memory", with its functions g and h. In the
    paper a memory cell may share its gates with others, and its gradients are cut at the gates.
    """
    h, c = state
    i, g, o = (sigmoid(xk + hk) for xk, hk in zip(x, recurrent(h), strict=True))
    g = 4 * g - 2
    c = c + i * x.candidate(g)
    return o * (2 * sigmoid(c) - 1), c


def without_gate(
    x: Inputs, recurrent: Product, state: Values, channel: Values, *, gates: str
) -> States:
    """NIG, NFG and NOG: the LSTM with peepholes and one of its gates replaced by 1.

    i = sigmoid(x_i + R_i h + p_i c), f = sigmoid(x_f + R_f h + p_f c), g = tanh(x_g + R_g h),
    c' = f c + i g, o = sigmoid(x_o + R_o h + p_o c'), h' = o tanh(c'); `gates` names those of i, f
    and o that the cell keeps. The others have no row blocks and no peepholes.

    Greff, Srivastava, Koutnik, Steunebrink and Schmidhuber 2017, "LSTM: a search space odyssey",
    arXiv:1503.04069, section III and appendix. Its other variants are NIAF and NOAF, without the
    tanh of g and of c', CIFG and FGR, and NP, without peepholes.
    """
    h, c = state
    names = [name for name in "ifgo" if name in gates + "g"]
    sums = {n: xk + hk for n, xk, hk in zip(names, x, recurrent(h), strict=True)}
    peephole = dict(zip(gates, channel, strict=True))
    g = tanh(sums["g"])
    added, kept = x.candidate(g), c
    if "i" in gates:
        i = sigmoid(sums["i"] + peephole["i"] * c)
        added = i * added
    if "f" in gates:
        f = sigmoid(sums["f"] + peephole["f"] * c)
        kept = f * c
    c = kept + added
    if "o" not in gates:
        return tanh(c), c
    o = sigmoid(sums["o"] + peephole["o"] * c)
    return o * tanh(c), c


def _same(v: Var) -> Var:
    """Return what NIAF and NOAF have in place of a tanh."""
    return v


def lstm_cifg(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """CIFG: the LSTM with peepholes with f coupled to i. Row blocks i, g, o.

    i = sigmoid(x_i + R_i h + p_0 c), c' = (1 - i) c + i tanh(x_g + R_g h),
    h' = sigmoid(x_o + R_o h + p_1 c') tanh(c'). Of the paper of `without_gate`.
    """
    (h, c), (p_i, p_o) = state, channel
    a_i, a_g, a_o = (xk + hk for xk, hk in zip(x, recurrent(h), strict=True))
    i, g = sigmoid(a_i + p_i * c), tanh(a_g)
    c = (1 - i) * c + i * x.candidate(g)
    o = sigmoid(a_o + p_o * c)
    return o * tanh(c), c


def lstm_fgr(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """FGR, full gate recurrence: gates also see all gates of the step before, through matrices.

    States: h, c, i, f, o. With R_4, R_5, R_6 of i, R_7, R_8, R_9 of f and R_10, R_11, R_12 of o:
    i' = sigmoid(x_i + R_i h + p_0 c + R_4 i + R_7 f + R_10 o),
    f' = sigmoid(x_f + R_f h + p_1 c + R_5 i + R_8 f + R_11 o), g = tanh(x_g + R_g h),
    c' = f' c + i' g, o' = sigmoid(x_o + R_o h + p_2 c' + R_6 i + R_9 f + R_12 o),
    h' = o' tanh(c'). From the same paper as `without_gate`.
    """
    (h, c, *old), (p_i, p_f, p_o) = state, channel
    a_i, a_f, a_g, a_o = (xk + hk for xk, hk in zip(x, recurrent(h, 0, 1, 2, 3), strict=True))
    for k, gate in enumerate(old):
        to_i, to_f, to_o = recurrent(gate, *range(4 + 3 * k, 7 + 3 * k))
        a_i, a_f, a_o = a_i + to_i, a_f + to_f, a_o + to_o
    i, f, g = sigmoid(a_i + p_i * c), sigmoid(a_f + p_f * c), tanh(a_g)
    c = f * c + i * x.candidate(g)
    o = sigmoid(a_o + p_o * c)
    return o * tanh(c), c, i, f, o


def multiplicative_lstm(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Multiplicative LSTM: an LSTM that sees m in place of h. Row blocks i, f, g, o, m.

    m = x_m (R_m h), i, f, o = sigmoid(x + R m), g = tanh(x_g + R_g m), c' = f c + i g,
    h' = o tanh(c').

    Krause, Lu, Murray and Renals 2017, "Multiplicative LSTM for sequence modelling",
    arXiv:1609.07959, where x_m and R_m have no bias; the LSTM that sees m is the usual one, as in
    Radford, Jozefowicz and Sutskever 2017, "Learning to generate reviews and discovering
    sentiment", arXiv:1704.01444.
    """
    h, c = state
    m = x[4] * recurrent(h, 4)[0]
    i, f, g, o = (xk + mk for xk, mk in zip(x[:4], recurrent(m, 0, 1, 2, 3), strict=True))
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * x.candidate(g)
    return o * tanh(c), c


def residual_lstm(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """Residual LSTM: the output gate also passes a shortcut. Row blocks i, f, g, o, r.

    i = sigmoid(x_i + R_i h + p_0 c), f = sigmoid(x_f + R_f h + p_1 c), g = tanh(x_g + R_g h),
    c' = f c + i g, o = sigmoid(x_o + R_o h + p_2 c'), h' = o (R_r tanh(c') + x_r).

    Kim, El-Khamy and Lee 2017, "Residual LSTM: design of a deep recurrent architecture for distant
    speech recognition", arXiv:1701.03360: R_r is its projection, here to the number of units of c,
    and x_r its shortcut from the layer below. The paper has no bias for either.
    """
    (h, c), (p_i, p_f, p_o) = state, channel
    i, f, g, o = (xk + hk for xk, hk in zip(x[:4], recurrent(h, 0, 1, 2, 3), strict=True))
    i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
    c = f * c + i * x.candidate(g)
    o = sigmoid(o + p_o * c)
    return o * (recurrent(tanh(c), 4)[0] + x[4]), c


def slstm(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """Scalar LSTM of xLSTM: exponential gates, normaliser n, stabiliser m. States: h, c, n, m.

    With a = x + R h of each gate: l = m + log(sigmoid(a_f)); m' = max(a_i, l), or a_i where n = 0,
    as before the first step; i = exp(a_i - m'), f = exp(min(l - m', 0)),
    c' = f c + i tanh(a_g), n' = f n + i, h' = sigmoid(a_o) c' / n'. States n are not negative.

    Beck, Poeppel, Spanring and others 2024, "xLSTM: extended long short-term memory",
    arXiv:2405.04517, eqs. 8 to 17, in the form of its authors' code. One head: heads are row blocks
    of weight_hh that are 0 off their diagonal blocks. Gradients go through m, as in that code.
    """
    h, c, n, m = state
    a_i, a_f, a_g, a_o = (xk + hk for xk, hk in zip(x, recurrent(h), strict=True))
    kept = m - softplus(-a_f)
    m = where(n > 0, maximum(a_i, kept), a_i)
    i, f, g, o = exp(a_i - m), exp(minimum(kept - m, 0.0)), tanh(a_g), sigmoid(a_o)
    c, n = f * c + i * x.candidate(g), f * n + i
    return o * c / n, c, n, m


def _with_functions(name: str, activations: tuple[Activation, Activation, Activation]) -> Cell:
    """Return the LSTM with peepholes and other activations of its gates, of g and of c'."""
    return replace(PEEPHOLE, name=name, step=partial(step_peephole, activations=activations))


CELLS = (
    Cell("lstm_1997", lstm_1997, states=2, gates=3),
    Cell("lstm_nig", partial(without_gate, gates="fo"), states=2, gates=3, params=2),
    Cell("lstm_nfg", partial(without_gate, gates="io"), states=2, gates=3, params=2),
    Cell("lstm_nog", partial(without_gate, gates="if"), states=2, gates=3, params=2),
    _with_functions("lstm_niaf", (sigmoid, _same, tanh)),
    _with_functions("lstm_noaf", (sigmoid, tanh, _same)),
    replace(LSTM, name="lstm_np"),
    Cell("lstm_cifg", lstm_cifg, states=2, gates=3, params=2),
    Cell("lstm_fgr", lstm_fgr, states=5, gates=4, params=3, recurrent_gates=13),
    Cell("multiplicative_lstm", multiplicative_lstm, states=2, gates=5),
    Cell("residual_lstm", residual_lstm, states=2, gates=5, params=3),
    Cell("slstm", slstm, states=4, gates=4),
)
