"""The comparison with the reference catches typical mistakes of recurrent kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

import cases
from cases import Case
from rnnfast.cells import ZOO
from rnnfast.reference import CELLS
from rnnfast.reference.cell import Product, Step
from rnnfast.reference.tape import Var, sigmoid, tanh


def gru_reset_outside_bias(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """Return a GRU whose reset gate does not apply to bias_hh."""
    (h,) = state
    h_r, h_z, h_n = recurrent(h)
    (b_n,) = recurrent(h * 0.0, 2)
    r, z = sigmoid(x[0] + h_r), sigmoid(x[1] + h_z)
    n = tanh(x[2] + r * (h_n - b_n) + b_n)
    return (n + z * (h - n),)


def peephole_output_sees_old_state(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], channel: Sequence[Var]
) -> tuple[Var, ...]:
    """Return a peephole LSTM whose output gate sees c instead of c'."""
    h, c = state
    a_i, a_f, a_g, a_o = (xg + hg for xg, hg in zip(x, recurrent(h), strict=True))
    i, f = sigmoid(a_i + channel[0] * c), sigmoid(a_f + channel[1] * c)
    o = sigmoid(a_o + channel[2] * c)
    c = f * c + i * tanh(a_g)
    return o * tanh(c), c


def mut3_plain_operand(
    x: Sequence[Var], recurrent: Product, state: Sequence[Var], _channel: Sequence[Var]
) -> tuple[Var, ...]:
    """Return a MUT3 whose z sees h instead of tanh(h)."""
    (h,) = state
    h_r, h_z = recurrent(h, 0, 1)
    r, z = sigmoid(x[0] + h_r), sigmoid(x[1] + h_z)
    (h_n,) = recurrent(r * h, 2)
    return (tanh(x[2] + h_n) * z + h * (1 - z),)


WRONG_STEPS: dict[str, Step] = {
    "gru": gru_reset_outside_bias,
    "gru_reset_before": CELLS["gru"].step,
    "peephole_lstm": peephole_output_sees_old_state,
    "mut3": mut3_plain_operand,
    "rnn_tanh": CELLS["rnn_relu"].step,
}


@pytest.mark.parametrize("hidden", cases.HIDDEN_SIZES)
@pytest.mark.parametrize("cell", WRONG_STEPS)
def test_wrong_equations_are_caught(
    cell: str, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(cell, H=hidden)
    expected, plain = cases.run_reference(case), cases.plain_errors(case)
    monkeypatch.setitem(ZOO, cell, replace(CELLS[cell], step=WRONG_STEPS[cell]))
    with pytest.raises(AssertionError, match="error"):
        cases.assert_close(cases.run_reference(case, "float32"), expected, plain, case)


def swap_first_two_blocks(gradient: np.ndarray) -> None:
    rows = len(gradient) // 4
    gradient[: 2 * rows] = np.roll(gradient[: 2 * rows], rows, axis=0)


def forget_last_row(gradient: np.ndarray) -> None:
    gradient[-1] = 0


def forget_one_element(gradient: np.ndarray) -> None:
    gradient.flat[gradient.size // 2] = 0


@pytest.mark.parametrize("spoil", [swap_first_two_blocks, forget_last_row, forget_one_element])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_spoilt_gradient_is_caught(spoil: Callable[[np.ndarray], None], dtype: str) -> None:
    case = Case("lstm", L=2, D=2, dtype=dtype, lengths=True)
    expected, plain = cases.run_reference(case), cases.plain_errors(case)
    good = {name: values.astype(dtype) for name, values in expected.items()}
    cases.assert_close(good, expected, plain, case)
    for name in (name for name in expected if name.startswith(("dweight", "dbias"))):
        spoilt = good | {name: good[name].copy()}
        spoil(spoilt[name])
        with pytest.raises(AssertionError, match=name):
            cases.assert_close(spoilt, expected, plain, case)


def test_nan_is_caught() -> None:
    case = Case("lstm")
    expected, plain = cases.run_reference(case), cases.plain_errors(case)
    got = {name: values.astype("float32") for name, values in expected.items()}
    got["y"][0, 0, 0] = np.nan
    with pytest.raises(AssertionError, match="y: error inf"):
        cases.assert_close(got, expected, plain, case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain_numpy_passes(dtype: str) -> None:
    """Correct code of the same precision stays within the bound."""
    for cell in CELLS:
        case = Case(cell, L=2, D=2, dtype=dtype, lengths=True)
        expected, plain = cases.run_reference(case), cases.plain_errors(case)
        cases.assert_close(cases.run_reference(case, dtype), expected, plain, case)
