"""Long short-term memory, plain and with peepholes. Row blocks in the order i, f, g, o."""

from collections.abc import Sequence

from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.tape import Activation, Var, maximum, minimum, sigmoid, tanh


def step(
    x: Inputs,
    recurrent: Product,
    state: Sequence[Var],
    _channel: Sequence[Var],
    *,
    gate: Activation = sigmoid,
) -> tuple[Var, ...]:
    """Long short-term memory with a forget gate.

    i, f, o = sigmoid(x + W h), g = tanh(x + W h), c' = f c + i g, h' = o tanh(c').

    Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000.
    Keras models may use another activation of the gates.
    """
    h, c = state
    a_i, a_f, a_g, a_o = (xg + hg for xg, hg in zip(x, recurrent(h), strict=True))
    i, f, g, o = gate(a_i), gate(a_f), tanh(a_g), gate(a_o)
    c = f * c + i * x.candidate(g)
    return o * tanh(c), c


def step_peephole(
    x: Inputs,
    recurrent: Product,
    state: Sequence[Var],
    channel: Sequence[Var],
    *,
    activations: tuple[Activation, Activation, Activation] = (sigmoid, tanh, tanh),
    coupled: bool = False,
    clip: float | None = None,
) -> tuple[Var, ...]:
    """LSTM with peepholes: `lstm` with p c added inside i and f, and p c' inside o.

    Each gate has its own vector p over the units.

    Gers, Schraudolph and Schmidhuber 2002, "Learning precise timing with LSTM recurrent networks".
    Models from other libraries may use other activations of the gates, of g and of c', f = 1 - i,
    and a bound of |c'|.
    """
    gate, activation, output = activations
    h, c = state
    p_i, p_f, p_o = channel
    a_i, a_f, a_g, a_o = (xg + hg for xg, hg in zip(x, recurrent(h), strict=True))
    i, g = gate(a_i + p_i * c), activation(a_g)
    f = 1 - i if coupled else gate(a_f + p_f * c)
    c = f * c + i * x.candidate(g)
    c = c if clip is None else minimum(maximum(c, -clip), clip)
    o = gate(a_o + p_o * c)
    return o * output(c), c


LSTM = Cell("lstm", states=2, gates=4, step=step)
PEEPHOLE = Cell("peephole_lstm", states=2, gates=4, step=step_peephole, params=3)
