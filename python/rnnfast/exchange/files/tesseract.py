"""The networks of Tesseract 4 and 5: `.traineddata`, or the component `.lstm` of one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.facts import Facts
from rnnfast.exchange.files.content import Content
from rnnfast.exchange.found import Found, find

_COMPONENT = 17  # of the network among those of a file
_MOST_COMPONENTS = 1000
_STACKS = ("Series", "Parallel", "Replicated", "ParBidiLSTM", "DepParUDLSTM", "Par2dLSTM",
           "RTLReversed", "TTBReversed", "XYTranspose")  # fmt: skip
_LSTMS = ("LSTM", "SummLSTM")
_FULL = ("Logistic", "LinLogistic", "LinTanh", "Tanh", "Relu", "Linear", "Softmax", "SoftmaxNoCTC")
_TWO_NUMBERS = ("Convolve", "Maxpool", "Reconfig")
_GATES = ("CI", "GI", "GF1", "GO")
_INT8, _ADAM, _DOUBLE = 1, 4, 128
_RATES = 64  # flag: learning rates of the layers follow
_DEPTH = 20
_CLIP = 100.0  # of c in Tesseract's code


class _Head(NamedTuple):
    """What every network of a file begins with."""

    kind: str
    training: bool
    flags: int
    inputs: int
    outputs: int
    name: str


def read(data: bytes) -> Content:
    """Return the LSTMs of a `.traineddata` file."""
    (count,) = struct.unpack_from("<i", data)
    if not _COMPONENT < count <= _MOST_COMPONENTS:
        raise ValueError("expected a file of Tesseract 4 or 5 with a network")
    offsets = struct.unpack_from(f"<{count}q", data, 4)
    start = offsets[_COMPONENT]
    if not 0 < start < len(data):
        raise ValueError("the file has no network; models of Tesseract 3 have none")
    later = [offset for offset in offsets[_COMPONENT + 1 :] if start < offset <= len(data)]
    return read_component(data[start : min(later, default=len(data))])


def read_component(data: bytes) -> Content:
    """Return the LSTMs of a network; integer weights become float32."""
    return Content({}, list(_networks(_Reader(data), "", (), 0)))


class _Reader:
    """The bytes of a network, read from their start."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = memoryview(data), 0

    def numbers(self, form: str) -> tuple[int, ...]:
        """Return numbers in a form of `struct`."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def text(self) -> str:
        """Return a string, which follows its length."""
        return bytes(self.take(self.numbers("I")[0])).decode(errors="replace")

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        if count < 0 or self._place + count > len(self._data):
            raise ValueError("the network is cut off")
        self._place += count
        return self._data[self._place - count : self._place]

    def matrix(self, dtype: str) -> NDArray[np.generic]:
        """Return a matrix, which follows its sizes and one more number."""
        rows, columns = self.numbers("II")
        self.take(np.dtype(dtype).itemsize)
        values = np.frombuffer(self.take(rows * columns * np.dtype(dtype).itemsize), dtype)
        return values.reshape(rows, columns)

    def weights(self, training: bool) -> NDArray[np.float32]:
        """Return the matrix of a gate: rows of integers have a scale each."""
        (mode,) = self.numbers("B")
        if not mode & _DOUBLE:
            raise ValueError("expected weights in the format of Tesseract 4.0 or later")
        if mode & _INT8:
            values = self.matrix("i1").astype(np.float32)
            (count,) = self.numbers("I")
            scales = np.frombuffer(self.take(8 * count), "<f8")
            if count < len(values):
                raise ValueError("expected a scale for each row")
            values *= scales[: len(values), None].astype(np.float32)
            return values
        weights = self.matrix("<f8").astype(np.float32)
        for _ in range((1 + bool(mode & _ADAM)) if training else 0):
            self.matrix("<f8")
        return weights


def _head(reader: _Reader) -> _Head:
    (number,) = reader.numbers("b")
    if number:
        raise ValueError("expected a network whose kinds have names")
    kind = reader.text()
    training, _ = reader.numbers("bb")
    flags, inputs, outputs, _ = reader.numbers("iiii")
    return _Head(kind, training == 1, flags, inputs, outputs, reader.text())


def _networks(reader: _Reader, path: str, around: tuple[str, ...], depth: int) -> Iterator[Found]:
    """Yield the LSTMs of a network, whose weights follow each other in the order of its parts."""
    head = _head(reader)
    if depth > _DEPTH:
        raise ValueError(f"expected at most {_DEPTH} networks in each other")
    if head.kind in _STACKS:
        (count,) = reader.numbers("I")
        for k in range(count):
            yield from _networks(reader, f"{path}{k}.", (*around, head.kind), depth + 1)
        if head.flags & _RATES:
            reader.take(4 * reader.numbers("I")[0])
    elif head.kind in _LSTMS:
        reader.numbers("i")
        gates = {name: reader.weights(head.training) for name in _GATES}
        if gates["CI"].shape[1] > head.inputs + head.outputs + 1:
            raise ValueError(f"{head.name}: expected an LSTM of one dimension")
        yield _lstm(f"{path}{head.name}".strip("."), head, gates, around)
    elif head.kind in _FULL:
        reader.weights(head.training)
    elif head.kind in _TWO_NUMBERS:
        reader.numbers("ii")
    elif head.kind == "Input":
        reader.numbers("iiiii")
    else:
        raise ValueError(f"networks of the kind {head.kind!r} are not read")


def _lstm(
    name: str, head: _Head, gates: dict[str, NDArray[np.float32]], around: tuple[str, ...]
) -> Found:
    facts = Facts(cell_clip=_CLIP)
    named = {f"{name}.{gate}": matrix for gate, matrix in gates.items()}
    found = find(named, "tesseract", {name: facts})
    if len(found) != 1:
        raise ValueError(f"{name}: expected gates of one size")
    notes = []
    if head.kind == "SummLSTM":
        notes.append("only the output of the last step is used")
    if "XYTranspose" in around:
        notes.append("runs over the columns of an image")
    backwards = sum(kind in ("RTLReversed", "TTBReversed") for kind in around) % 2 == 1
    return Found(name, found[0].readings, facts, backwards, tuple(notes))
