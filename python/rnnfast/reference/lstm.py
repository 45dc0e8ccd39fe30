"""Long short-term memory, plain and with peepholes. Row blocks in the order i, f, g, o."""

from collections.abc import Sequence

from rnnfast.reference.cell import Product, ReferenceCell
from rnnfast.reference.tape import Var, sigmoid, tanh


def step(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """One step: i, f, o = sigmoid(x + W h), g = tanh(x + W h), c' = f c + i g, h' = o tanh(c').

    Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000.
    """
    h, c = state
    a_i, a_f, a_g, a_o = (xg + hg for xg, hg in zip(x, recurrent(h), strict=True))
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    c = f * c + i * g
    return o * tanh(c), c


def step_peephole(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], channel: Sequence[Var]
) -> tuple[Var, ...]:
    """As `step`, but i and f also see p c, and o sees p c' (p of each gate a vector over H).

    Gers, Schraudolph and Schmidhuber 2002, "Learning precise timing with LSTM recurrent networks".
    """
    h, c = state
    p_i, p_f, p_o = channel
    a_i, a_f, a_g, a_o = (xg + hg for xg, hg in zip(x, recurrent(h), strict=True))
    i, f, g = sigmoid(a_i + p_i * c), sigmoid(a_f + p_f * c), tanh(a_g)
    c = f * c + i * g
    o = sigmoid(a_o + p_o * c)
    return o * tanh(c), c


LSTM = ReferenceCell("lstm", states=2, gates=4, step=step)
PEEPHOLE = ReferenceCell("peephole_lstm", states=2, gates=4, step=step_peephole, params=3)
