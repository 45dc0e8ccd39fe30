"""LSTM and GRU with layer normalisation, and with piecewise linear gates.

The notation is that of `rnnfast.cells.gated`; `p_k` is row k of weight_channel, a number for each
unit, and `norm(v)` has mean 0 and variance 1 over the units (`rnnfast.reference.tape.normalize`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rnnfast.reference import gru, gru_reset_before, lstm
from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.gru import GRU
from rnnfast.reference.gru_reset_before import GRU_RESET_BEFORE
from rnnfast.reference.lstm import LSTM
from rnnfast.reference.tape import (
    Activation,
    Var,
    hard_sigmoid,
    maximum,
    minimum,
    normalize,
    sigmoid,
    tanh,
)


def layer_norm_lstm(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """LSTM with layer normalisation. Row blocks i, f, g, o.

    With a_k = p_k norm(x_k) + p_{4+k} norm(R_k h) + p_{8+k}: i, f, o = sigmoid(a), g = tanh(a_g),
    c' = f c + i g, h' = o tanh(p_12 norm(c') + p_13).

    Ba, Kiros and Hinton 2016, "Layer normalization", arXiv:1607.06450, supplementary material, with
    two differences: each row block is normalised by itself, not all of them together, and a single
    shift p_{8+k} replaces the sum of the paper's three. The biases are added before the norms; the
    paper has none, so omit them or leave them 0.
    """
    h, c = state
    *of_gates, gain_c, shift_c = channel
    gains_x, gains_h, shifts = of_gates[:4], of_gates[4:8], of_gates[8:]
    parts = zip(x, gains_x, recurrent(h), gains_h, shifts, strict=True)
    i, f, g, o = (px * normalize(xk) + ph * normalize(hk) + p for xk, px, hk, ph, p in parts)
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * x.candidate(g)
    return o * tanh(gain_c * normalize(c) + shift_c), c


def layer_norm_gru(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """GRU with layer normalisation. Row blocks r, z, n.

    With u_k = p_k norm(x_k) + p_{6+k} and v_k = p_{3+k} norm(R_k h): r = sigmoid(u_r + v_r),
    z = sigmoid(u_z + v_z), n = tanh(u_n + r (v_n + p_9)), h' = (1 - z) h + z n.

    Ba, Kiros and Hinton 2016, arXiv:1607.06450, supplementary material, with the same differences
    as `layer_norm_lstm`.
    """
    (h,) = state
    shift_h = channel[9]
    of_x = zip(x, channel[:3], channel[6:9], strict=True)
    u_r, u_z, u_n = (gain * normalize(xk) + shift for xk, gain, shift in of_x)
    of_h = zip(recurrent(h), channel[3:6], strict=True)
    v_r, v_z, v_n = (gain * normalize(hk) for hk, gain in of_h)
    r, z = sigmoid(u_r + v_r), sigmoid(u_z + v_z)
    n = tanh(u_n + r * (v_n + shift_h))
    return ((1 - z) * h + z * x.candidate(n),)


def hard_sigmoid_keras3(v: Var) -> Var:
    """Return relu6(v + 3) / 6, the hard sigmoid of Keras 3 and PyTorch.

    The hard sigmoid of Keras 2, clip(0.2 v + 0.5, 0, 1), is `rnnfast.reference.tape.hard_sigmoid`.
    """
    return minimum(maximum(v + 3, 0.0), 6.0) / 6


def _hard(suffix: str, gate: Activation) -> tuple[Cell, ...]:
    """Return the LSTM and both forms of the GRU with another activation of their gates."""
    of_gru = (gate, tanh)
    return (
        replace(LSTM, name=f"lstm_{suffix}", step=partial(lstm.step, gate=gate)),
        replace(GRU, name=f"gru_{suffix}", step=partial(gru.step, activations=of_gru)),
        replace(
            GRU_RESET_BEFORE,
            name=f"gru_reset_before_{suffix}",
            step=partial(gru_reset_before.step, activations=of_gru),
        ),
    )


CELLS = (
    Cell("layer_norm_lstm", layer_norm_lstm, states=2, gates=4, params=14),
    Cell("layer_norm_gru", layer_norm_gru, gates=3, params=10),
    *_hard("hard_keras2", hard_sigmoid),
    *_hard("hard_keras3", hard_sigmoid_keras3),
)
