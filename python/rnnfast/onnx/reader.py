"""Conversion of the attributes and constants of an operator to cells and weights, with checks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from rnnfast import reference
from rnnfast._engine import checks
from rnnfast._engine import onnx_layout as layout
from rnnfast._engine.checks import RealArray
from rnnfast.onnx import activations
from rnnfast.onnx.activations import Scaled
from rnnfast.onnx.graph import Found
from rnnfast.onnx.node import Direction, RecurrentNode
from rnnfast.onnx.stacking import Origin
from rnnfast.reference import Cell, gru, gru_reset_before, lstm, rnn

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_ATTRIBUTES = (
    *("hidden_size", "direction", "activations", "activation_alpha", "activation_beta", "clip"),
    "layout",
    "output_sequence",  # in version 1: whether to return Y
)
_FLAGS = ("layout", "input_forget", "linear_before_reset")
_DEFAULTS = {"LSTM": "lstm", "GRU": "gru_reset_before", "RNN": "rnn_tanh"}
_OPTIONAL = ("sequence_lens", "initial_h", "initial_c")
_MORE_ATTRIBUTES = {"LSTM": "input_forget", "GRU": "linear_before_reset", "RNN": ""}


def read(found: Found, origin: Origin | None = None) -> RecurrentNode:
    """Return the operator of a node, whose place in the model is `origin`.

    Raises:
        ValueError: An attribute or input is invalid; the message names the node and the attribute.
        TypeError: A weight does not hold real numbers.
    """
    _check_attributes(found)
    direction = found.attributes.get("direction", "forward")
    W, R, B, P = _weights(found, _DIRECTIONS[direction])
    functions = _activations(found, W.shape[0])
    clip = found.attributes.get("clip") or np.inf
    coupled = found.attributes.get("input_forget", 0) == 1
    directions = []
    for k, chosen in enumerate(functions):
        cell = _cell(found, P is not None, chosen)
        plain = [Scaled(name) for name in layout.OPERATORS[cell].activations]
        variant, peepholes = None, P
        reach = _reach(W.dtype, chosen) if chosen == plain else np.inf
        clipped = clip < reach
        if chosen != plain or clipped or coupled:
            variant = _variant(cell, chosen, clip if clipped else None, coupled)
            cell = variant.name
            if variant.params and P is None:
                peepholes = np.zeros((W.shape[0], variant.params * R.shape[2]), R.dtype)
        weights = layout.from_onnx(cell, W, R, B, peepholes)[k]
        directions.append(Direction(cell, weights, variant))
    inputs = found.inputs
    return RecurrentNode(
        found.node.name,
        found.node.op_type,
        direction,
        found.attributes.get("layout", 0) == 1,
        tuple(directions),
        {n: _constant(found, n, W, R) for n in _OPTIONAL if n in inputs.constants},
        inputs.shaped | inputs.computed,
        found.branches,
        origin,
    )


def _reach(dtype: np.dtype[Any], functions: list[Scaled]) -> float:
    """Return the smallest clip that does not change the results of a cell.

    The logistic function is 0 at -104 in float32 and at -746 in float64; it and tanh reach 1 or -1
    much earlier. Relu can return any finite number.
    """
    if functions[0].name == "Relu":
        return float(np.finfo(dtype).max)
    return 104.0 if dtype == np.float32 else 746.0


def _check_attributes(found: Found) -> None:
    types = onnx.defs.get_schema(found.node.op_type).attributes
    for attribute in found.node.attribute:
        expected = types.get(attribute.name)
        if expected is not None and attribute.type != int(expected.type.value):
            raise ValueError(
                f"{found.label}: attribute {attribute.name}: expected type {expected.type.name}, "
                f"got {onnx.AttributeProto.AttributeType.Name(attribute.type)}"
            )
    known = [*_ATTRIBUTES, _MORE_ATTRIBUTES[found.node.op_type]]
    for name, value in found.attributes.items():
        label = f"{found.label}: attribute {name}"
        if name not in known:
            raise ValueError(
                f"{label}: expected only the attributes {', '.join(filter(None, known))}"
            )
        if name in _FLAGS and value not in (0, 1):
            raise ValueError(f"{label}: expected 0 or 1, got {value}")
        if name == "direction":
            checks.choice(label, value, _DIRECTIONS)
        if name == "clip":
            checks.number(label, value, 0)


def _weights(
    found: Found, directions: int
) -> tuple[RealArray, RealArray, RealArray | None, RealArray | None]:
    """Return W, R, B and P; B and P may be None."""
    weights = {}
    for name in ("W", "R", "B", "P"):
        label = f"{found.label}: input {name}"
        if name in found.inputs.shaped:
            raise ValueError(f"{label}: expected a constant, got a value that depends on X's shape")
        if name in found.inputs.computed:
            why = found.inputs.computed[name]
            raise ValueError(
                f"{label}: expected a constant, got a value that is not constant: {why}"
            )
        if name in found.inputs.constants:
            weights[name] = _real(label, found.inputs.constants[name])
    W, R = (_matrices(found, weights.get(name), name) for name in ("W", "R"))
    hidden = int(found.attributes.get("hidden_size") or R.shape[2])
    gates = len(layout.OPERATORS[_DEFAULTS[found.node.op_type]].blocks)
    rows = gates * hidden
    expected = {
        "W": ((directions, rows, W.shape[2]), f"{gates}*hidden_size, input_size"),
        "R": ((directions, rows, hidden), f"{gates}*hidden_size, hidden_size"),
        "B": ((directions, 2 * rows), f"2*{gates}*hidden_size"),
        "P": ((directions, 3 * hidden), "3*hidden_size"),
    }
    for name, (shape, meaning) in expected.items():
        if name in weights:
            label, value = f"{found.label}: input {name}", weights[name]
            if value.dtype != W.dtype:
                raise TypeError(f"{label}: expected dtype {W.dtype} (W's), got {value.dtype}")
            checks.shape(label, value, shape, f"(num_directions, {meaning})")
    return W, R, weights.get("B"), weights.get("P")


def _matrices(found: Found, value: RealArray | None, name: str) -> RealArray:
    label = f"{found.label}: input {name}"
    if value is None or value.ndim != 3 or 0 in value.shape:
        got = "none" if value is None else f"shape {value.shape}"
        raise ValueError(f"{label}: expected a matrix for each direction, got {got}")
    return value


def _real(label: str, value: NDArray[Any]) -> RealArray:
    """Return a weight in a dtype that the kernels support."""
    value = checks.known_to_numpy(value)
    value = value.astype(np.float32) if value.dtype == np.float16 else value
    checks.real_dtype(f"{label}: dtype", value.dtype)
    return value


def _constant(found: Found, name: str, W: RealArray, R: RealArray) -> NDArray[Any]:
    """Return a constant initial state in the dtype of the weights, or constant lengths."""
    label, value = f"{found.label}: input {name}", found.inputs.constants[name]
    if name == "sequence_lens":
        checks.integer_array(label, value)
        checks.shape(label, value, (value.size,), "(batch,)")
        return value
    value = _real(label, value).astype(W.dtype)
    batch_axis = 0 if found.attributes.get("layout", 0) == 1 else 1
    expected = [W.shape[0], R.shape[2]]
    expected.insert(batch_axis, value.shape[batch_axis] if value.ndim > batch_axis else 0)
    meaning = "(batch, num_directions, " if batch_axis == 0 else "(num_directions, batch, "
    checks.shape(label, value, tuple(expected), meaning + "hidden_size)")
    return value


def _activations(found: Found, directions: int) -> list[list[Scaled]]:
    """Return the functions of each direction."""
    default = layout.OPERATORS[_DEFAULTS[found.node.op_type]].activations
    names = found.attributes.get("activations") or list(default) * directions
    if len(names) != len(default) * directions:
        raise ValueError(
            f"{found.label}: attribute activations: expected {len(default)} functions for each of "
            f"{directions} directions, got {', '.join(names)}"
        )
    parameters = (found.attributes.get(f"activation_{p}") or [] for p in ("alpha", "beta"))
    functions = activations.read(found.label, names, *parameters)
    return [functions[k : k + len(default)] for k in range(0, len(names), len(default))]


def _cell(found: Found, peepholes: bool, functions: list[Scaled]) -> str:
    """Return the name of the cell of a node, ignoring activations, clip and coupled gates."""
    if found.node.op_type == "LSTM":
        return "peephole_lstm" if peepholes else "lstm"
    if found.node.op_type == "GRU":
        return "gru" if found.attributes.get("linear_before_reset", 0) else "gru_reset_before"
    return "rnn_relu" if functions[0].name == "Relu" else "rnn_tanh"


def _variant(cell: str, functions: list[Scaled], clip: float | None, coupled: bool) -> Cell:
    """Return the cell of the reference with other functions, a clip or coupled gates.

    As in onnxruntime, `clip` bounds the arguments of the functions of gates and candidates, but not
    the cell state. An LSTM becomes one with peepholes, which are zero.
    """
    if cell in ("rnn_tanh", "rnn_relu"):
        step = partial(rnn.step, activation=functions[0].on_tape(clip))
        return replace(reference.CELLS[cell], step=step)
    gate, candidate = (f.on_tape(clip) for f in functions[:2])
    if cell in ("gru", "gru_reset_before"):
        step_of = gru.step if cell == "gru" else gru_reset_before.step
        return replace(reference.CELLS[cell], step=partial(step_of, activations=(gate, candidate)))
    chosen = gate, candidate, functions[2].on_tape(None)
    step_peephole = partial(lstm.step_peephole, activations=chosen, coupled=coupled)
    return replace(lstm.PEEPHOLE, step=step_peephole)
