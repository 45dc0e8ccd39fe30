"""MUT3, found by evolving the GRU. Row blocks in the order r, z, n."""

from collections.abc import Sequence

from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.tape import Var, sigmoid, tanh


def step(
    x: Inputs, recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """MUT3.

    r = sigmoid(x + W h), z = sigmoid(x + W tanh(h)), n = tanh(x + W (r h)), h' = h + z (n - h).

    Jozefowicz, Zaremba and Sutskever 2015, "An empirical exploration of recurrent network
    architectures", MUT3.
    """
    (h,) = state
    (h_r,) = recurrent(h, 0)
    (h_z,) = recurrent(tanh(h), 1)
    r, z = sigmoid(x[0] + h_r), sigmoid(x[1] + h_z)
    (h_n,) = recurrent(r * h, 2)
    n = x.candidate(tanh(x[2] + h_n))
    return (h + z * (n - h),)


MUT3 = Cell("mut3", states=1, gates=3, step=step)
