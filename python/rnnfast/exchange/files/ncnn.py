"""Models of ncnn: a text file of layers (`.param`) beside one of their weights (`.bin`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.facts import Facts
from rnnfast.exchange.files.content import Content
from rnnfast.exchange.found import Found, Reading, find, stacked

MAGIC = b"7767517\n"
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_FLOAT16 = 0x01306B47
_NONE = "0=0"


def read(path: str, data: bytes) -> Content:
    """Return the recurrent layers of a model.

    Raises:
        ValueError: A layer before them has weights whose size is not known here.
    """
    weights = _Weights(Path(path).with_suffix(".bin").read_bytes())
    found = []
    for line in data.decode().splitlines()[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        options = rest[int(inputs) + int(outputs) :]
        if kind in _GATES:
            found.append(_found(kind, name, dict(_numbers(options)), weights))
        else:
            _skip(kind, name, dict(_numbers(options)), weights)
    return Content({}, found)


def _numbers(options: list[str]) -> Iterator[tuple[int, float]]:
    for option in options:
        key, _, value = option.partition("=")
        if int(key) >= 0:
            yield int(key), float(value)


class _Weights:
    """The `.bin` file, read from its start."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = memoryview(data), 0

    def take(self, *shape: int, flagged: bool = True) -> NDArray[np.float32]:
        """Return the next array, before which there is its type if it is `flagged`."""
        flag = int.from_bytes(self._bytes(4), "little") if flagged else 0
        count = math.prod(shape)
        if flag == 0:
            return np.frombuffer(self._bytes(4 * count), "<f4").reshape(shape)
        if flag == _FLOAT16:
            size = -(-2 * count // 4) * 4
            halves = np.frombuffer(self._bytes(size), "<f2")[:count]
            return halves.astype(np.float32).reshape(shape)
        raise ValueError("expected weights of 32 or 16 bits, got quantised ones")

    def _bytes(self, count: int) -> memoryview:
        if count < 0 or self._place + count > len(self._data):
            raise ValueError("the .bin file is too short for the layers of the .param file")
        self._place += count
        return self._data[self._place - count : self._place]


def _found(kind: str, name: str, options: dict[int, float], weights: _Weights) -> Found:
    hidden, total, direction = (int(options.get(k, 0)) for k in (0, 1, 2))
    if hidden < 1 or total < 1 or options.get(8):
        raise ValueError(f"layer {name!r}: expected sizes above 0 and weights that are not int8")
    D, G = (2 if direction == 2 else 1), _GATES[kind]
    inputs = total // (D * G * hidden)
    biases = 4 if kind == "GRU" else G
    x, b = weights.take(D, G * hidden, inputs), weights.take(D, biases * hidden)
    h = weights.take(D, G * hidden, hidden)
    facts = Facts(activation="tanh") if kind == "RNN" else Facts()
    found = []
    for k in range(D):
        arrays = {"weight_xc": x[k], "weight_hc": h[k], "bias_c": b[k, : G * hidden]}
        if kind == "GRU":
            arrays["bias_hn"] = b[k, G * hidden :]
        named = {f"{name}.{key}": value for key, value in arrays.items()}
        found += find(named, "ncnn")
    if len(found) != D:
        raise ValueError(f"layer {name!r}: expected weights of the sizes that it states")
    readings = found[0].readings
    if D == 2:
        both = stacked(found, f"layer {name!r}")
        readings = tuple(Reading(r.convention, r.parts, 2) for r in both)
    return Found(name, readings, facts, backwards=direction == 1)


def _skip(kind: str, name: str, options: dict[int, float], weights: _Weights) -> None:
    """Read past the weights of another layer."""
    outputs, bias, total = (int(options.get(k, 0)) for k in (0, 1, 2))
    if kind == "InnerProduct":
        weights.take(total)
        if bias:
            weights.take(outputs, flagged=False)
    elif kind in ("Convolution", "Convolution1D"):
        weights.take(int(options.get(6, 0)))
        if options.get(5, 0):
            weights.take(outputs, flagged=False)
    elif kind == "Embed":
        weights.take(int(options.get(3, 0)))
        if options.get(2, 0):
            weights.take(outputs, flagged=False)
    elif kind == "BatchNorm":
        for _ in range(4):
            weights.take(outputs, flagged=False)
    elif kind not in _WITHOUT_WEIGHTS:
        raise ValueError(f"layer {name!r}: the size of the weights of {kind} is not known here")


_WITHOUT_WEIGHTS = {
    *("Input", "Split", "Concat", "Slice", "Permute", "Reshape", "Squeeze", "ExpandDims"),
    *("Flatten", "ReLU", "Sigmoid", "TanH", "Softmax", "Dropout", "Pooling", "Pooling1D"),
    *("BinaryOp", "UnaryOp", "Eltwise", "Crop", "Noop", "Interp", "Padding", "HardSigmoid"),
    *("HardSwish", "Swish", "GELU", "ELU", "Clip", "Reduction"),
}
