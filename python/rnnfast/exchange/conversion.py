"""Conversion of arrays from and to the layout of the library: one function each way.

Both go through blocks: the numbers of one part and one gate, (size, H) each, where size is that of
the part: input_size for the input matrix, 1 for a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights
from rnnfast.exchange.convention import VECTORS, Array, Convention

Blocks: TypeAlias = "dict[tuple[str, str], RealArray]"

OUR_GATES = {
    "lstm": "ifgo",
    "peephole_lstm": "ifgo",
    "gru": "rzn",
    "gru_reset_before": "rzn",
    "rnn_tanh": "n",
    "rnn_relu": "n",
    "dynet_lstm": "igo",
}
"""The row blocks of the cells that sources have, by the letters of `convention`."""
_PEEPHOLES = "ifo"  # rows of weight_channel
_FROM_C = {"dynet_lstm": "io"}  # gates of the row blocks of weight_hh that multiply c, after others


class Sizes(NamedTuple):
    """The sizes of a layer in one direction.

    Attributes:
        inputs: I, the size of its input.
        hidden: H, the size of its state.
        outputs: P, the size of the h that a step reads: H without a projection.
    """

    inputs: int
    hidden: int
    outputs: int

    def of(self, part: str) -> int:
        """Return the size of a part."""
        sizes = {"x": self.inputs, "h": self.outputs, "r": self.outputs, "m": self.hidden}
        return sizes.get(part, 1)


def sizes_of(convention: Convention, arrays: Mapping[str, RealArray]) -> Sizes | None:
    """Return the sizes that all arrays agree on; None if they do not.

    Args:
        convention: The row of the table.
        arrays: Those that there are, by their names in the row.
    """
    given = {array.name: arrays[array.name] for array in convention.arrays if array.name in arrays}
    length, known = _units_and_inputs(convention, given)
    if length is None or "h" not in known:
        return None
    sizes = Sizes(known.get("x", 0), length, known["h"])
    if sizes.inputs < 1 or ("r" not in known and sizes.outputs != sizes.hidden):
        return None
    fits = all(
        given[array.name].shape == shape_of(convention, array, sizes)
        for array in convention.arrays
        if array.name in given
    )
    return sizes if fits else None


def sizes_of_weights(weights: Weights) -> Sizes:
    """Return the sizes of weights in the layout of the library."""
    return Sizes(weights.weight_ih.shape[1], weights.hidden_size, weights.weight_hh.shape[1])


def _units_and_inputs(
    convention: Convention, arrays: Mapping[str, RealArray]
) -> tuple[int | None, dict[str, int]]:
    """Return H and the sizes of the parts of matrices, as far as matrices tell them."""
    length, known = None, {}
    for array in convention.arrays:
        if array.name not in arrays or set(array.parts) <= {*VECTORS, "s"}:
            continue
        shape = arrays[array.name].shape
        if len(shape) != 2:
            return None, {}
        units, inputs = shape if convention.axes == "units, inputs" else shape[::-1]
        if array.parts == "r":
            known["r"] = units
            continue
        gates = len(convention.gates_of(array))
        if units % gates or not units:
            return None, {}
        length = units // gates
        known.setdefault("h", length)
        vectors = sum(part in VECTORS for part in array.parts)
        rest = inputs - vectors - (known["h"] if "h" in array.parts and "x" in array.parts else 0)
        known["x" if "x" in array.parts else "h"] = rest
    return length, known


def shape_of(convention: Convention, array: Array, sizes: Sizes) -> tuple[int, ...]:
    """Return the shape of an array of a layer of these sizes."""
    if array.parts == "r":
        shape = sizes.outputs, sizes.hidden
        return shape if convention.axes == "units, inputs" else shape[::-1]
    if array.parts == "s":
        return (sizes.hidden,)
    if set(array.parts) <= set(VECTORS):
        length = len(_vectors(convention, array)) * sizes.hidden
        return (array.rows, length // array.rows) if array.rows else (length,)
    length = len(convention.gates_of(array)) * sizes.hidden
    width = sum(sizes.of(part) for part in array.parts)
    return (width, length) if convention.axes == "inputs, units" else (length, width)


def _vectors(convention: Convention, array: Array) -> list[tuple[str, str]]:
    """Return the parts and gates of an array of vectors, in order."""
    return [(part, gate) for part in array.parts for gate in convention.gates_of(array, part)]


def read(
    convention: Convention,
    arrays: Mapping[str, RealArray],
    sizes: Sizes,
    forget_offset: float,
    replaces: bool,
) -> Weights:
    """Return the weights in the layout of the library.

    Args:
        convention: The row of the table.
        arrays: The arrays by their names in the row; optional ones may be missing.
        sizes: Their sizes.
        forget_offset: What a step of the source adds to the argument of f.
        replaces: Whether z = 1 of the source replaces the old state.

    Returns:
        Weights with both biases if there is one in the source. The parts that it lacks are zeros.
    """
    blocks: Blocks = {}
    for array in convention.arrays:
        if array.name in arrays:
            blocks |= _cut(convention, array, arrays[array.name], sizes)
    projection = blocks.pop(("r", ""), None)
    states = [key for key in blocks if key[0] == "s"]
    if any(blocks.pop(key).any() for key in states):
        raise ValueError("source: expected an initial state of zeros; pass it to calls instead")
    _shift(blocks, sizes, forget_offset, replaces, np.result_type(*arrays.values()))
    gates, from_c = OUR_GATES[convention.cell], _FROM_C.get(convention.cell, "")
    peepholes = "p" in convention.parts
    zeros = np.zeros((1, sizes.hidden), blocks["x", gates[0]].dtype)

    def joined(*parts: tuple[str, str]) -> RealArray:
        keys = [(part, gate) for part, names in parts for gate in names]
        return np.concatenate([blocks.get(key, zeros).T for key in keys])

    has_bias = any(part in "bc" for part, _ in blocks)
    return Weights(
        joined(("x", gates)),
        joined(("h", gates), ("m", from_c)),
        joined(("b", gates))[:, 0] if has_bias else None,
        joined(("c", gates), ("bias of m", from_c))[:, 0] if has_bias else None,
        joined(("p", _PEEPHOLES)).reshape(3, -1) if peepholes else None,
        projection,
    )


def write(
    convention: Convention, weights: Weights, forget_offset: float, replaces: bool
) -> dict[str, RealArray]:
    """Return the arrays of a source: the inverse of `read`, whose arguments it takes.

    Raises:
        ValueError: The source has no place for a bias, peephole or projection of the layer.
    """
    gates, sizes = OUR_GATES[convention.cell], sizes_of_weights(weights)
    blocks = _blocks_of(weights, gates, _FROM_C.get(convention.cell, ""))
    always = any(set(array.parts) & set("bc") and not array.optional for array in convention.arrays)
    bias = weights.bias_ih is not None or always or forget_offset != 0
    if bias and weights.bias_ih is None:
        zeros = np.zeros((1, sizes.hidden), weights.weight_ih.dtype)
        blocks |= {(part, gate): zeros for part in "bc" for gate in gates}
    _shift(blocks, sizes, -forget_offset, replaces, weights.weight_ih.dtype)
    _merge_biases(convention, blocks)
    if weights.weight_hr is not None:
        blocks["r", ""] = weights.weight_hr
    unheld = {part for part, gate in blocks if not convention.holds(part, gate or convention.gates)}
    if unheld:
        named = {"b": "bias_ih", "c": "bias_hh", "p": "weight_channel", "r": "weight_hr"}
        raise ValueError(
            f"layer: expected one without {' or '.join(sorted(named[p] for p in unheld))}, as "
            f"{convention.layers} of {convention.source} has no place for it"
        )
    result = {}
    for array in convention.arrays:
        needed = set(array.parts) - set(VECTORS)
        there = needed or bias or ("p" in array.parts and weights.weight_channel is not None)
        if not there or array.parts == "s" or (array.parts == "r" and weights.weight_hr is None):
            continue
        result[array.name] = _join(convention, array, blocks, sizes)
    return result


def _cut(convention: Convention, array: Array, value: RealArray, sizes: Sizes) -> Blocks:
    """Return the blocks of an array."""
    if array.parts == "s":
        return {("s", array.name): value}
    if array.parts == "r":
        return {("r", ""): value if convention.axes == "units, inputs" else value.T}
    gates, hidden = convention.gates_of(array), sizes.hidden
    width = sum(sizes.of(part) for part in array.parts)
    matrix = not set(array.parts) <= set(VECTORS)
    if not matrix and convention.units != "by unit":
        names = _vectors(convention, array)
        return dict(zip(names, np.split(value.reshape(1, -1), len(names), axis=1), strict=True))
    if matrix and convention.axes == "units, inputs":
        value = value.T
    value = value.reshape(width, -1)
    if array.parts == "h" and convention.units == "by stage":
        first, last = np.split(value.ravel(), [2 * hidden * hidden])
        value = np.hstack([first.reshape(hidden, -1), last.reshape(hidden, -1)])
    if matrix and convention.units == "by gate, units first":
        of_gates = [
            np.ascontiguousarray(block).reshape(hidden, width).T
            for block in np.split(value, len(gates), axis=1)
        ]
    elif convention.units == "by unit":
        of_gates = list(np.moveaxis(value.reshape(width, hidden, len(gates)), 2, 0))
    else:
        of_gates = np.split(value, len(gates), axis=1)
    bounds = np.cumsum([sizes.of(part) for part in array.parts])[:-1]
    return {
        (part, gate): block
        for gate, of_gate in zip(gates, of_gates, strict=True)
        for part, block in zip(array.parts, np.split(of_gate, bounds), strict=True)
    }


def _join(convention: Convention, array: Array, blocks: Blocks, sizes: Sizes) -> RealArray:
    """Return an array made of blocks: the inverse of `_cut`."""
    if array.parts == "r":
        projection = blocks["r", ""]
        projection = projection if convention.axes == "units, inputs" else projection.T
        return np.array(projection)
    matrix = not set(array.parts) <= set(VECTORS)
    if not matrix and convention.units != "by unit":
        value = np.concatenate([blocks[name] for name in _vectors(convention, array)], axis=1)
        return value.reshape(shape_of(convention, array, sizes))
    gates = convention.gates_of(array)
    of_gates = [np.concatenate([blocks[part, gate] for part in array.parts]) for gate in gates]
    if matrix and convention.units == "by gate, units first":
        of_gates = [np.ascontiguousarray(block.T).reshape(block.shape) for block in of_gates]
    if convention.units == "by unit":
        value = np.stack(of_gates, axis=2).reshape(len(of_gates[0]), -1)
    else:
        value = np.concatenate(of_gates, axis=1)
    if array.parts == "h" and convention.units == "by stage":
        value = np.concatenate([value[:, : 2 * sizes.hidden].ravel(), of_gates[-1].ravel()])
    if matrix and convention.axes == "units, inputs":
        value = value.T
    return np.ascontiguousarray(value.reshape(shape_of(convention, array, sizes)))


def _blocks_of(weights: Weights, gates: str, from_c: str) -> Blocks:
    """Return the blocks of weights in the layout of the library; both biases or none."""
    parts: list[tuple[RealArray | None, list[tuple[str, str]]]] = [
        (weights.weight_ih, [("x", gates)]),
        (weights.weight_hh, [("h", gates), ("m", from_c)]),
        (weights.bias_ih, [("b", gates)]),
        (weights.bias_hh, [("c", gates), ("bias of m", from_c)]),
        (weights.weight_channel, [("p", _PEEPHOLES)]),
    ]
    blocks: Blocks = {}
    for value, named in parts:
        if value is not None:
            keys = [(part, gate) for part, names in named for gate in names]
            split = [b.reshape(weights.hidden_size, -1).T for b in np.split(value, len(keys))]
            blocks |= dict(zip(keys, split, strict=True))
    if weights.bias_hh is not None:
        for gate in from_c:  # the sum of all products of a gate has one bias
            blocks["c", gate] = blocks["c", gate] + blocks.pop(("bias of m", gate))
    return blocks


def _shift(
    blocks: Blocks, sizes: Sizes, forget_offset: float, replaces: bool, dtype: np.dtype[Any]
) -> None:
    """Add the offset of f to its bias, and turn z around: sigmoid(-a) = 1 - sigmoid(a)."""
    if forget_offset:
        zeros = np.zeros((1, sizes.hidden), dtype)
        blocks["b", "f"] = blocks.get(("b", "f"), zeros) + forget_offset
    if replaces:
        for part in "xhbc":
            if (part, "z") in blocks:
                blocks[part, "z"] = -blocks[part, "z"]


def _merge_biases(convention: Convention, blocks: Blocks) -> None:
    """Add a bias that a source has no place for to the other one of its gate, where that is right.

    The candidate of a GRU that resets after the product needs both: b + r (W h + c).
    """
    for gate in convention.gates:
        if ("b", gate) not in blocks:
            continue
        both = convention.cell == "gru" and gate == "n"
        for part, other in (("c", "b"), ("b", "c")):
            if convention.holds(part, gate) or not convention.holds(other, gate):
                continue
            if both and blocks[part, gate].any():
                continue
            merged = blocks.pop((part, gate))
            blocks[other, gate] = blocks[other, gate] + (0 if both else merged)


def without_forget_gate(weights: Weights) -> Weights:
    """Return the weights of an LSTM without those of f, in the order i, g, o of "lstm_cifg"."""
    channel = weights.weight_channel
    if channel is None:
        channel = np.zeros((3, weights.hidden_size), weights.weight_ih.dtype)

    def rest(value: RealArray) -> RealArray:
        i, _, g, o = np.split(value, 4)
        return np.concatenate([i, g, o])

    return Weights(
        rest(weights.weight_ih),
        rest(weights.weight_hh),
        None if weights.bias_ih is None else rest(weights.bias_ih),
        None if weights.bias_hh is None else rest(weights.bias_hh),
        channel[[_PEEPHOLES.index("i"), _PEEPHOLES.index("o")]],
    )


def real(name: str, value: object) -> RealArray:
    """Return an array of a source as float32 or float64; float16 and bfloat16 become float32."""
    array = checks.known_to_numpy(backends.array_of(name, value))
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32, copy=False)
