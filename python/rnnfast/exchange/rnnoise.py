"""Layers of RNNoise, whose matrices are stored as blocks of 4 inputs and 8 outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.exchange.conversion import real

_INPUTS, _OUTPUTS = 4, 8  # of a block
_ONE = 127  # the integer that stands for an input of 1


def from_rnnoise(arrays: Mapping[str, Any], layer: str, input_size: int) -> dict[str, RealArray]:
    """Unpack the weights of a GRU of RNNoise.

    RNNoise stores a matrix as float32 or as 8-bit integers with a scale for each output, whole or
    as those blocks that are not zero, with a list of their places, and keeps the diagonal of the
    recurrent matrix apart. Of a matrix in both types that of float32 is read, which RNNoise
    prefers, too. Where it has integers alone, it also rounds inputs and states to multiples of
    1/127, which a layer does not.

    Args:
        arrays: The arrays of a model by the names in its C code, such as
            "gru1_input_weights_float", "gru1_input_weights_idx" and "gru1_recurrent_bias".
        layer: The beginning of the names of the layer's arrays, such as "gru1".
        input_size: I, which the places of blocks do not tell.

    Returns:
        Arrays with the names of the convention "rnnoise", for `load_weights`.

    Raises:
        ValueError: An array is missing, has another size, or lists places that do not exist.
        TypeError: An array has another type.

    Source: RNNoise 0.2, src/nnet_arch.h, src/nnet.h and src/vec.h.
    """
    I = checks.positive_int("input_size", input_size)
    bias = _reals(arrays, f"{layer}_input_bias")
    H, rest = divmod(len(bias), 3)
    if rest or not H:
        raise ValueError(f"{layer}_input_bias: expected 3*hidden_size numbers, got {len(bias)}")
    return {
        "input_weights": _matrix(arrays, f"{layer}_input", (I, 3 * H)),
        "recurrent_weights": _matrix(arrays, f"{layer}_recurrent", (H, 3 * H)),
        "bias": bias,
        "recurrent_bias": _reals(arrays, f"{layer}_recurrent_bias", 3 * H),
    }


def _matrix(arrays: Mapping[str, Any], name: str, shape: tuple[int, int]) -> RealArray:
    """Return a matrix of this shape, inputs and outputs."""
    inputs, outputs = shape
    floats, index = f"{name}_weights_float", f"{name}_weights_idx"
    matrix: RealArray
    if floats in arrays and index not in arrays:
        matrix = _reals(arrays, floats, inputs * outputs).reshape(shape).copy()
    elif floats in arrays:
        blocks = _blocks(_reals(arrays, floats), floats).reshape(-1, _INPUTS, _OUTPUTS)
        matrix = _unpacked(blocks, _integers(arrays, index), index, shape)
    else:
        integers = f"{name}_weights_int8"
        blocks = _blocks(_integers(arrays, integers), integers).reshape(-1, _OUTPUTS, _INPUTS)
        places = _integers(arrays, index) if index in arrays else _all_places(shape)
        matrix = _unpacked(blocks.swapaxes(1, 2), places, index, shape)
        matrix *= _ONE * _reals(arrays, f"{name}_scale", outputs)
    if (diagonal := f"{name}_weights_diag") in arrays:
        units = np.arange(outputs)
        matrix[units % inputs, units] += _reals(arrays, diagonal, outputs)
    return matrix


def _unpacked(
    blocks: NDArray[Any], index: NDArray[Any], name: str, shape: tuple[int, int]
) -> RealArray:
    """Return the matrix that has some blocks, and zeros elsewhere.

    Args:
        blocks: (N, 4, 8), in the order of the index.
        index: For each 8 outputs the number of their blocks, and then the first input of each.
        name: The name of the index, for messages.
        shape: Inputs and outputs.
    """
    inputs, outputs = shape
    if inputs % _INPUTS or outputs % _OUTPUTS:
        raise ValueError(
            f"{name}: expected multiples of 4 inputs and 8 outputs, as blocks have these sizes, "
            f"got {inputs} and {outputs}"
        )
    matrix = np.zeros((inputs // _INPUTS, _INPUTS, outputs), np.float32)
    place = used = 0
    for first in range(0, outputs, _OUTPUTS):
        count = int(index[place]) if place < len(index) else -1
        rows = index[place + 1 : place + 1 + count]
        if len(rows) != count or used + count > len(blocks):
            raise ValueError(f"{name}: expected the places of {len(blocks)} blocks, got others")
        if count and not (rows.min() >= 0 and rows.max() < inputs and not (rows % _INPUTS).any()):
            raise ValueError(f"{name}: expected multiples of 4 below {inputs}, got {rows}")
        matrix[rows // _INPUTS, :, first : first + _OUTPUTS] = blocks[used : used + count]
        place, used = place + 1 + count, used + count
    if (place, used) != (len(index), len(blocks)):
        raise ValueError(f"{name}: expected the places of {len(blocks)} blocks, got {used}")
    return matrix.reshape(shape)


def _all_places(shape: tuple[int, int]) -> NDArray[Any]:
    """Return the index of a matrix that has all its blocks."""
    rows = np.arange(0, shape[0], _INPUTS)
    return np.tile([len(rows), *rows], shape[1] // _OUTPUTS)


def _blocks(array: NDArray[Any], name: str) -> NDArray[Any]:
    size = _INPUTS * _OUTPUTS
    if array.size % size:
        raise ValueError(f"{name}: expected blocks of {size} numbers, got {array.size} numbers")
    return array


def _reals(arrays: Mapping[str, Any], name: str, size: int | None = None) -> RealArray:
    array = real(name, _named(arrays, name))
    if size is not None and array.size != size:
        raise ValueError(f"{name}: expected {size} numbers, got {array.size}")
    return array


def _integers(arrays: Mapping[str, Any], name: str) -> NDArray[Any]:
    array = _named(arrays, name)
    if array.dtype.kind != "i":
        raise TypeError(f"{name}: expected an array of integers, got dtype {array.dtype}")
    return array


def _named(arrays: Mapping[str, Any], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"arrays: expected one with the name {name!r}, got none")
    return np.asarray(arrays[name]).ravel()
