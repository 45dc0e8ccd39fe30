"""Unusual arrays are accepted: other strides and integers, NaN, without values, of files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnfast
from argument_cases import B, H, I, T, linear, lstm, x, zeros
from rnnfast import GRU, Embedding, Recurrent, softmax_cross_entropy
from rnnfast._engine.known import COMPILED


def test_non_contiguous_and_read_only_arrays_are_accepted() -> None:
    layer = lstm(batch_first=True)
    plain = x()
    y, (h, c) = layer.eval()(plain)
    layer.train()
    strange = np.empty((T, B, 2 * I), np.float32)[..., ::2]
    strange[...] = plain
    strange.flags.writeable = False
    again, _ = layer(strange)
    np.testing.assert_array_equal(again, y)
    h.flags.writeable = False
    wide = np.asfortranarray(np.ones_like(y))
    layer.eval().train()
    layer(strange, (h, c[:, ::-1]))
    layer.backward(wide, (h, c[:, ::-1]))

    dense = linear()
    expected = dense.eval()(plain)
    np.testing.assert_array_equal(dense.train()(strange), expected)
    dense.backward(np.broadcast_to(np.float32(1), (T, B, H)))
    loss, _ = softmax_cross_entropy(strange, np.zeros((B, T), int).T)
    assert loss == softmax_cross_entropy(plain, np.zeros((T, B), int))[0]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_indices_of_any_integer_type_are_accepted(dtype: str) -> None:
    indices = np.array([[1, 0, 3], [2, 2, 1]])
    layer, table = lstm(), Embedding(5, 2, seed=1)
    np.testing.assert_array_equal(layer(indices.astype(dtype))[0], layer(indices)[0])
    np.testing.assert_array_equal(table(indices.astype(dtype)), table(indices))


@pytest.mark.parametrize("cell", COMPILED)
def test_nan_propagates_in_its_sequence_alone(cell: str) -> None:
    layer = Recurrent(cell, I, H, 2, seed=1)
    bad = x()
    clean, _ = layer.eval()(bad)
    layer.train()
    bad[2, 1, 0] = np.nan
    y, _ = layer(bad)
    assert np.isnan(y[2:, 1]).any(-1).all()
    np.testing.assert_array_equal(y[:2], clean[:2])
    np.testing.assert_array_equal(y[:, [0, 2]], clean[:, [0, 2]])
    dx, _ = layer.backward(np.ones_like(y))
    assert dx is not None
    assert np.isfinite(dx[:, [0, 2]]).all()
    assert np.isnan(next(layer.parameters()).grad).any()


@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("shape", [(0, B, I), (T, 0, I), (T, B, I)])
def test_nothing_to_do_leaves_the_state(cell: str, shape: tuple[int, ...]) -> None:
    layer = Recurrent(cell, I, H, seed=1)
    states = rnnfast.functional.cells()[cell].states
    state = tuple(np.full((1, shape[1], H), 0.25 * (k + 1), np.float32) for k in range(states))
    given = state if states > 1 else state[0]
    y, final = layer(zeros(*shape), given, lengths=np.zeros(shape[1], int))
    np.testing.assert_array_equal(y, zeros(*shape[:2], H))
    np.testing.assert_array_equal(final, given)
    dx, dstate = layer.backward(np.ones_like(y), given)
    np.testing.assert_array_equal(dx, zeros(*shape))
    np.testing.assert_array_equal(dstate, given)
    assert not any(p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("shape", [(0, B, I), (T, 0, I)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    dense = linear()
    assert dense(zeros(*shape)).shape == (*shape[:2], H)
    assert dense.backward(zeros(*shape[:2], H)).shape == shape
    assert Embedding(5, 2)(np.zeros(0, int)).shape == (0, 2)


def test_memory_mapped_arrays_are_accepted(tmp_path: Any) -> None:
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(2, 1, I))
    layer = GRU(I, H, seed=1)
    np.testing.assert_array_equal(layer(x)[0], layer(np.array(x))[0])
