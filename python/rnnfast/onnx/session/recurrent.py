"""The recurrent operators of a session, which are read like those of `rnnfast.onnx.load`."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import onnx

from rnnfast.onnx import reader
from rnnfast.onnx.graph import OP_TYPES, WEIGHTS, Found, Inputs
from rnnfast.onnx.session.call import Array, Call, Maker, Operation
from rnnfast.onnx.values import Values

_OTHERS = ("sequence_lens", "initial_h", "initial_c")


def _recurrent(call: Call) -> Operation:
    proto, label = call.node.proto, call.node.label
    names = [f.name for f in onnx.defs.get_schema(proto.op_type).inputs]
    constants: dict[str, Array] = {}
    for place, name in enumerate(names):
        value = call.constant(place)
        if name in WEIGHTS and call.has(place):
            if value is None:
                raise ValueError(
                    f"{label}: input {name}: expected a constant, got a value that is not"
                )
            constants[name] = value
    unused = Values(ChainMap(), {}, 0)
    found = Found(proto, label, Inputs(constants, {}, {}), call.attributes, (), unused)
    node = reader.read(found)
    places = [names.index(name) for name in _OTHERS if name in names]

    runs_unchecked = node.cell is not None and node.direction != "reverse" and not node.batch_first

    def run(*inputs: Any) -> list[Array]:
        x = inputs[0]
        lengths, *states = [inputs[k] if k < len(inputs) else None for k in places]
        if runs_unchecked:
            y, *final = node._run(x, states, lengths)
            return [y.swapaxes(1, 2), *final]
        return list(node(x, lengths, *states))

    return run


RECURRENT: dict[str, Maker] = dict.fromkeys(OP_TYPES, _recurrent)
