"""Frozen graphs of TensorFlow 1, written here by the numbers of their schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
from exchange_cases import H, I, numbers
from rnnfast.exchange import found_in, read_layer, to_weights

FLOAT, DOUBLE, INT = 1, 2, 3  # the numbers of types


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def field(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(kind: int, shape: tuple[int, ...], numbers_field: int, data: bytes) -> bytes:
    axes = b"".join(field(2, field(1, size)) for size in shape)
    return field(1, kind) + field(2, axes) + field(numbers_field, data)


def node(name: str, kind: str, value: bytes = b"") -> bytes:
    attribute = field(1, "value") + field(2, field(8, value))
    return field(1, field(1, name) + field(2, kind) + field(3, "input") + field(5, attribute))


def written(array: NDArray[np.float32], double: bool) -> bytes:
    """Return an array as bytes, or as the first number if all are the same."""
    if double:
        return tensor(DOUBLE, array.shape, 4, array.astype(np.float64).tobytes())
    if np.ptp(array) == 0:
        return tensor(FLOAT, array.shape, 5, array[:1].tobytes())
    return tensor(FLOAT, array.shape, 4, array.tobytes())


def arrays_of_a_gru() -> dict[str, NDArray[np.float32]]:
    arrays = to_weights(rnnfast.Recurrent("gru_reset_before", I, H, seed=1), "tensorflow1")
    arrays["gates.bias"][:] = 0.25
    return arrays


def frozen_graph(double: bool = False) -> bytes:
    """Return a graph with the weights of a GRU, and nodes that hold none."""
    others = (
        node("step", "Const", tensor(INT, (1,), 7, b"\x03")),
        node("keep", "Const", tensor(FLOAT, (), 5, np.float32(0.5).tobytes())),
        node("rate", "Placeholder"),
    )
    constants = [
        node(f"rnn/cell/{name.replace('.', '/')}", "Const", written(array, double))
        for name, array in arrays_of_a_gru().items()
    ]
    return b"".join([*others, *constants])


@pytest.mark.parametrize("double", [False, True])
def test_constants(tmp_path: Path, double: bool) -> None:
    (tmp_path / "m.pb").write_bytes(frozen_graph(double))
    (found,) = found_in(tmp_path / "m.pb")
    assert found.prefix == "rnn.cell"
    x = numbers(5, 2, I)
    expected = read_layer(arrays_of_a_gru())(x)[0]
    np.testing.assert_array_equal(read_layer(tmp_path / "m.pb")(x)[0], expected)


def test_graphs_without_constants(tmp_path: Path) -> None:
    (tmp_path / "m.pb").write_bytes(node("rate", "Placeholder"))
    with pytest.raises(ValueError, match="expected a graph with constants; a SavedModel"):
        found_in(tmp_path / "m.pb")


def test_constants_that_claim_to_be_large(tmp_path: Path) -> None:
    huge = node("kernel", "Const", tensor(FLOAT, (1 << 20, 1 << 20), 5, bytes(4)))
    (tmp_path / "m.pb").write_bytes(huge)
    with pytest.raises(ValueError, match="is too large in relation to the file"):
        found_in(tmp_path / "m.pb")
