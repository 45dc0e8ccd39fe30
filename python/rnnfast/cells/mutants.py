"""MUT1 and MUT2, found by evolving the GRU; MUT3 is `rnnfast.reference.mut3`.

The notation is that of `rnnfast.cells.gated`. Both see the input itself, so input_size must be
hidden_size; the projected forms see a row block of weight_ih times the input instead.
"""

from __future__ import annotations

from rnnfast.reference.cell import Cell, Inputs, Product, States, Values
from rnnfast.reference.tape import Var, sigmoid, tanh


def mut1(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """MUT1, which sees the input itself.

    z = sigmoid(x_0), r = sigmoid(x_1 + R_0 h), n = tanh(R_1 (r h) + tanh(x)),
    h' = n z + h (1 - z), x the input.

    Jozefowicz, Zaremba and Sutskever 2015, "An empirical exploration of recurrent network
    architectures", MUT1.
    """
    return _mut1(x, tanh(x.input), recurrent, state)


def mut1_projected(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """MUT1 with x_2 in place of the input, for inputs of any size.

    z = sigmoid(x_0), r = sigmoid(x_1 + R_0 h), n = tanh(R_1 (r h) + tanh(x_2)),
    h' = n z + h (1 - z).
    """
    return _mut1(x, tanh(x[2]), recurrent, state)


def _mut1(x: Inputs, x_n: Var, recurrent: Product, state: Values) -> States:
    """Compute MUT1, given the contribution of the input to n."""
    (h,) = state
    z, r = sigmoid(x[0]), sigmoid(x[1] + recurrent(h, 0)[0])
    n = x.candidate(tanh(recurrent(r * h, 1)[0] + x_n))
    return (n * z + h * (1 - z),)


def mut2(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """MUT2, which sees the input itself.

    z = sigmoid(x_0 + R_0 h), r = sigmoid(x + R_1 h), n = tanh(R_2 (r h) + x_1),
    h' = n z + h (1 - z), x the input.

    Jozefowicz, Zaremba and Sutskever 2015, MUT2.
    """
    return _mut2(x, x.input, x[1], recurrent, state)


def mut2_projected(x: Inputs, recurrent: Product, state: Values, _channel: Values) -> States:
    """MUT2 with x_1 in place of the input, for inputs of any size.

    z = sigmoid(x_0 + R_0 h), r = sigmoid(x_1 + R_1 h), n = tanh(R_2 (r h) + x_2),
    h' = n z + h (1 - z).
    """
    return _mut2(x, x[1], x[2], recurrent, state)


def _mut2(x: Inputs, x_r: Var, x_n: Var, recurrent: Product, state: Values) -> States:
    """Compute MUT2, given the contributions of the input to r and n."""
    (h,) = state
    h_z, h_r = recurrent(h, 0, 1)
    z, r = sigmoid(x[0] + h_z), sigmoid(x_r + h_r)
    n = x.candidate(tanh(recurrent(r * h, 2)[0] + x_n))
    return (n * z + h * (1 - z),)


CELLS = (
    Cell("mut1", mut1, gates=2, reads_input=True),
    Cell("mut1_projected", mut1_projected, gates=3, recurrent_gates=2),
    Cell("mut2", mut2, gates=2, recurrent_gates=3, reads_input=True),
    Cell("mut2_projected", mut2_projected, gates=3),
)
