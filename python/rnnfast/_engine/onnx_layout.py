"""The ONNX operators of the cells of rnnfast, with their gate orders and weight layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights, cells, reordered

_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
PEEPHOLES = (0, 2, 1)  # our rows i, f, o in ONNX's order i, o, f


class Operator(NamedTuple):
    """An operator of ONNX that computes a cell.

    Attributes:
        op_type: "LSTM", "GRU" or "RNN".
        blocks: Our row blocks in the gate order of the operator: iofc for an LSTM, zrh for a GRU.
        activations: Its activation functions for one direction.
        attributes: Further attributes that distinguish this cell.
    """

    op_type: str
    blocks: tuple[int, ...]
    activations: tuple[str, ...]
    attributes: dict[str, int]


_LSTM = Operator("LSTM", (0, 3, 1, 2), ("Sigmoid", "Tanh", "Tanh"), {})
_GRU = Operator("GRU", (1, 0, 2), ("Sigmoid", "Tanh"), {"linear_before_reset": 1})

OPERATORS: dict[str, Operator] = {
    "rnn_tanh": Operator("RNN", (0,), ("Tanh",), {}),
    "rnn_relu": Operator("RNN", (0,), ("Relu",), {}),
    "lstm": _LSTM,
    "peephole_lstm": _LSTM,
    "gru": _GRU,
    "gru_reset_before": _GRU._replace(attributes={"linear_before_reset": 0}),
}
"""The operators of the cells that ONNX has, by the names of the cells."""


def to_onnx(cell: str, weights: Sequence[Weights]) -> dict[str, RealArray]:
    """Return the inputs W and R of an operator and, if there are any, B and P.

    Args:
        cell: A key of `OPERATORS`.
        weights: The weights of one layer, an entry for each direction.

    Returns:
        W (D, G*H, I), R (D, G*H, H), B (D, 2*G*H), P (D, 3*H).
    """
    order = OPERATORS[cell].blocks
    arrays = {
        "W": [reordered(w.weight_ih, order) for w in weights],
        "R": [reordered(w.weight_hh, order) for w in weights],
        "B": [
            np.concatenate([reordered(b, order) for b in (w.bias_ih, w.bias_hh) if b is not None])
            for w in weights
            if w.bias_ih is not None
        ],
        "P": [
            w.weight_channel[list(PEEPHOLES)].reshape(-1)
            for w in weights
            if w.weight_channel is not None
        ],
    }
    return {name: np.stack(parts) for name, parts in arrays.items() if parts}


def from_onnx(
    cell: str, W: RealArray, R: RealArray, B: RealArray | None, P: RealArray | None
) -> list[Weights]:
    """Return the weights of each direction: the inverse of `to_onnx`. Does not check shapes."""
    blocks = OPERATORS[cell].blocks
    order = [int(i) for i in np.argsort(blocks)]
    rows = [int(i) for i in np.argsort(PEEPHOLES)]
    result = []
    for k in range(W.shape[0]):
        bias_ih, bias_hh = (None, None) if B is None else np.split(B[k], 2)
        result.append(
            Weights(
                reordered(W[k], order),
                reordered(R[k], order),
                None if bias_ih is None else reordered(bias_ih, order),
                None if bias_hh is None else reordered(bias_hh, order),
                None if P is None else P[k].reshape(cells()[cell].params, -1)[rows],
            )
        )
    return result


def inputs(names: Mapping[str, str]) -> list[str]:
    """Return the input list of an operator, given the names of its values by ONNX's input names."""
    last = max(i for i, name in enumerate(_INPUTS) if name in names)
    return [names.get(name, "") for name in _INPUTS[: last + 1]]


def attributes(cell: str, hidden_size: int, directions: int) -> dict[str, Any]:
    """Return the attributes of the operator that computes a layer of a cell."""
    operator = OPERATORS[cell]
    return {
        "hidden_size": hidden_size,
        "direction": "bidirectional" if directions == 2 else "forward",
        "activations": list(operator.activations) * directions,
        **operator.attributes,
    }
