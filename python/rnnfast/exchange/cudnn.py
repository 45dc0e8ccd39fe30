"""The canonical buffer of cuDNN: all matrices of all layers, and then all biases."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def from_cudnn(
    buffer: ArrayLike,
    cell: str,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bidirectional: bool = False,
    bias: bool = True,
) -> dict[str, RealArray]:
    """Cut the weights of a cuDNN RNN, such as TensorFlow's `CudnnLSTM`, into arrays.

    The buffer has, for each layer and direction, the matrices (H, I) of the input for each gate and
    the matrices (H, H) of the state, and after those of all layers the biases in the same order.
    The gates are i, f, g, o of an LSTM and r, z, n of a GRU.

    Args:
        buffer: The weights, of any shape.
        cell: "lstm", "gru", "rnn_tanh" or "rnn_relu".
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bidirectional: Whether there are two directions.
        bias: Whether there are biases, two for each gate.

    Returns:
        Views of the buffer by PyTorch's names, for `load_weights` with convention "pytorch".

    Raises:
        ValueError: The buffer has another size, or the cell is not one of cuDNN.
        TypeError: The buffer does not hold real numbers.

    Source: NVIDIA, "cuDNN API reference", cudnnGetRNNWeightParams.
    """
    G = _GATES[checks.choice("cell", cell, tuple(_GATES))]
    I, H = (
        checks.positive_int("input_size", input_size),
        checks.positive_int("hidden_size", hidden_size),
    )
    directions = 2 if bidirectional else 1
    shapes: dict[str, tuple[int, ...]] = {}
    marks = [
        f"_l{layer}{suffix}"
        for layer in range(checks.positive_int("num_layers", num_layers))
        for suffix in ("", "_reverse")[:directions]
    ]
    for k, mark in enumerate(marks):
        inputs = I if k < directions else directions * H
        shapes |= {f"weight_ih{mark}": (G * H, inputs), f"weight_hh{mark}": (G * H, H)}
    for mark in marks if bias else []:
        shapes |= {f"bias_ih{mark}": (G * H,), f"bias_hh{mark}": (G * H,)}
    flat = checks.real_array("buffer", buffer, None).ravel()
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    if flat.size != sum(sizes):
        raise ValueError(f"buffer: expected {sum(sizes)} numbers for these sizes, got {flat.size}")
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
