"""Arrays of more than 2^31 elements, which numbers of 32 bits cannot count.

Those that compute take up to 12 GiB and a minute each, and run if they are asked for, alone:

    RNNFAST_TEST_LARGE=1 pytest tests/test_beyond_2_31.py

Memory that nothing writes to takes no room, so arrays of zeros may be large.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast import _core

ROOM = 12 << 30  # bytes that must be available
T, H = 64, 8
B = 2**31 // (T * H) + 3  # so that y has more than 2^31 elements
CHOSEN = np.array([0, 1, B // 2, B - 2, B - 1])  # sequences that are checked


def available_bytes() -> int:
    fields = Path("/proc/meminfo").read_text().split()
    return int(fields[fields.index("MemAvailable:") + 1]) << 10


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def _room() -> None:
    if "RNNFAST_TEST_LARGE" not in os.environ:
        pytest.skip("RNNFAST_TEST_LARGE is not set")
    if available_bytes() < ROOM:
        pytest.skip("less than 12 GiB of memory are available")


@pytest.mark.parametrize("shape", [(2**31 + 1, 2**12, 3), (2**12, 2**31 + 1, 3)])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_arrays_that_no_memory_can_hold_are_refused(cell: str, shape: tuple[int, ...]) -> None:
    """Their elements are all the same number in memory, but the results would not be."""
    layer = rnnfast.Recurrent(cell, 3, 4, seed=1)
    with pytest.raises(MemoryError):
        layer(np.broadcast_to(np.float32(0), shape))


@pytest.mark.slow
@pytest.mark.usefixtures("_room")
def test_a_forward_and_a_backward_pass() -> None:
    """The chosen sequences have the bits that they have without the others."""
    rng = np.random.default_rng(0)
    few = rng.standard_normal((T, len(CHOSEN), 1), np.float32)
    dfew = rng.standard_normal((T, len(CHOSEN), H), np.float32)
    layer = rnnfast.Recurrent("rnn_tanh", 1, H, seed=1)
    expected, _ = layer(few)
    dexpected, _ = layer.backward(dfew)
    gradients = {p.name: p.grad.copy() for p in layer.parameters()}
    layer.zero_grad()
    x, dy = np.zeros((T, B, 1), np.float32), np.zeros((T, B, H), np.float32)
    x[:, CHOSEN], dy[:, CHOSEN] = few, dfew
    y, _ = layer(x)
    assert y.size > 2**31
    np.testing.assert_array_equal(y[:, CHOSEN], expected)
    np.testing.assert_array_equal(y[:, 2], y[:, 3])
    dx, _ = layer.backward(dy)
    np.testing.assert_array_equal(dx[:, CHOSEN], dexpected)
    assert np.count_nonzero(dx) == np.count_nonzero(dexpected)
    for p in layer.parameters():  # the same numbers, added in another order
        np.testing.assert_allclose(p.grad, gradients[p.name], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("_room")
def test_the_gradient_of_a_matrix_of_more_columns() -> None:
    """Also columns whose number is beyond 2^31 get their gradient."""
    columns = 2**31 + 40
    places = np.array([0, 2**31 - 1, 2**31, columns - 1])
    x, dweight = np.zeros((1, columns), np.float32), np.zeros((1, columns), np.float32)
    x[0, places] = [1, 2, 3, 4]
    dy = np.full((1, 1), 2, np.float32)
    dx = _core.linear_backward(dy=dy, x=x, weight=x, dweight=dweight, dbias=None, need_dx=False)
    assert dx is None
    np.testing.assert_array_equal(dweight[0, places], [2, 4, 6, 8])
