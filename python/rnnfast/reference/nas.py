"""The cell found by neural architecture search. Row blocks in the order of its authors' code."""

from collections.abc import Sequence

from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.tape import Var, relu, sigmoid, tanh


def step(
    x: Inputs, recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """NAS cell: eight gates in pairs; gate 3 multiplies its two products instead of adding them.

    c' = tanh(tanh(l0 l1) + c) tanh(l2 + l3), h' = tanh(c' tanh(tanh(l4 l5) + sigmoid(l6 + l7))).

    Zoph and Le 2017, "Neural architecture search with reinforcement learning", in the form of its
    authors' TensorFlow code (`NASCell`).
    """
    h, c = state
    hg = recurrent(h)
    l0, l1, l2 = sigmoid(x[0] + hg[0]), relu(x[1] + hg[1]), sigmoid(x[2] + hg[2])
    l3 = relu(x[3] * hg[3])
    l4, l5, l6 = tanh(x[4] + hg[4]), sigmoid(x[5] + hg[5]), tanh(x[6] + hg[6])
    l7 = sigmoid(x[7] + hg[7])
    c = tanh(tanh(l0 * l1) + c) * tanh(l2 + l3)
    return tanh(c * tanh(tanh(l4 * l5) + sigmoid(l6 + l7))), c


NAS = Cell("nas", states=2, gates=8, step=step)
