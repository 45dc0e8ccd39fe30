"""What the reserve reports about itself, and reserves restored from their bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cases
from cases import Case
from noise_cases import dropout_masks
from rnnfast import _core, functional
from rnnfast._engine import network
from rnnfast.reference import CELLS


def aligned_copy(memory: np.ndarray) -> np.ndarray:
    """Return a copy at an address that is a multiple of 64."""
    room = np.empty(memory.size + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + memory.size]
    copy[:] = memory
    return copy


def trained(case: Case, dropout: float = 0.0) -> tuple[np.ndarray, functional.Reserve, list[Any]]:
    """Return y and the reserve of a training call, and what `restore` needs from that call."""
    d = cases.make_data(case)
    weights = [functional.Weights(*w) for w in d.weights]
    options = network.network_options(
        case.cell, case.L, case.D == 2, dropout, True, case.precision, keep_y=True
    )
    call = [options, d.x, weights, d.state, d.lengths, None, 11]
    y, _, reserve = _core.forward(*call)
    return y, functional.Reserve(reserve), call


def some_case(cell: str, **options: Any) -> Case:
    return Case(cell, T=6, B=5, I=7, H=17, L=3, D=2, **options)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_restored_reserve_gives_the_same_gradients(cell: str, lengths: bool) -> None:
    case = some_case(cell, lengths=lengths)
    d = cases.make_data(case)
    y, reserve, call = trained(case, dropout=0.3)
    assert reserve.core.memory.nbytes == reserve.nbytes
    memory = aligned_copy(reserve.core.memory)
    expected = functional.backward(reserve, d.dy, d.dstate)
    del reserve
    restored = functional.Reserve(_core.restore(*call, memory))
    assert restored.core.memory.size == 0
    got = functional.backward(restored, d.dy, d.dstate)
    names = [cases.named(y, (), *gradients, case.D) for gradients in (got, expected)]
    cases.assert_identical(*names)


def test_the_bytes_outlive_the_reserve() -> None:
    _, reserve, _ = trained(some_case("lstm"))
    memory = reserve.core.memory
    before = memory.copy()
    del reserve
    trained(some_case("lstm"))  # would reuse the block if it were free
    np.testing.assert_array_equal(memory, before)


def test_restore_refuses() -> None:
    case = some_case("lstm")
    _, reserve, call = trained(case)
    memory = aligned_copy(reserve.core.memory)
    with pytest.raises(ValueError, match=rf"memory: expected {memory.size} bytes.* got 64"):
        _core.restore(*call, memory[:64])
    with pytest.raises(ValueError, match="memory: expected its address to be a multiple of 64"):
        _core.restore(*call, aligned_copy(np.append(memory, memory[:1]))[1:])
    assert _core.restore(*call, memory.view(np.int8)) is None
    assert _core.restore(call[0], call[1][1:].astype(np.float16), *call[2:], memory) is None
    for keep_y, recompute in ((False, 0), (True, 4)):
        options = network.network_options(
            "lstm", case.L, True, 0.0, True, recompute=recompute, keep_y=keep_y
        )
        with pytest.raises(
            ValueError, match="options: expected training and keep_y, without recompute"
        ):
            _core.restore(options, *call[1:], memory)
    case = replace(case, indices=True, lengths=True)
    _, reserve, call = trained(case)
    with pytest.raises(
        ValueError, match=r"x: expected real numbers, as .* different lengths, got indices"
    ):
        _core.restore(*call, aligned_copy(reserve.core.memory))


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.states > 1])
def test_states_over_time_are_the_final_ones_of_shorter_sequences(cell: str, lengths: bool) -> None:
    case = replace(some_case(cell, lengths=lengths), L=1, D=1)
    d = cases.make_data(case)
    _, reserve, _ = trained(case)
    ends = np.full(case.B, case.T) if d.lengths is None else d.lengths
    weights = [functional.Weights(*w) for w in d.weights]
    for s in range(1, CELLS[cell].states):
        states = reserve.core.states_over_time(0, s)
        for t in range(case.T):
            _, final, _ = functional.forward(cell, d.x[: t + 1], weights, d.state)
            running = t < ends
            np.testing.assert_array_equal(states[t, running], final[s][0, running])
            assert not states[t, ~running].any()
    with pytest.raises(ValueError, match="cell: expected 0 to 0, got 1"):
        reserve.core.states_over_time(1, 1)
    with pytest.raises(
        ValueError, match=r"state: expected the number of a state other than h \(0\), got 0"
    ):
        reserve.core.states_over_time(0, 0)


@pytest.mark.parametrize("lengths", [False, True])
def test_dropout_masks_are_those_that_were_applied(lengths: bool) -> None:
    case = some_case("gru", lengths=lengths)
    _, reserve, _ = trained(case, dropout=0.3)
    for layer, mask in enumerate(dropout_masks(case, 0.3, seed=11)):
        np.testing.assert_array_equal(reserve.core.dropout_mask(layer), mask)
    with pytest.raises(ValueError, match="layer: expected 0 to 1, got 2"):
        reserve.core.dropout_mask(2)
