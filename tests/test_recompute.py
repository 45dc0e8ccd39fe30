"""A backward pass that recomputes the gates gives the same bits with less memory."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast import functional
from rnnfast.reference import CELLS

# Several segments each, with few and many rows per step, and some shared by sequences.
SIZES = (
    {"T": 2600, "B": 1, "I": 3, "H": 9},
    {"T": 700, "B": 5, "I": 18, "H": 70},
    {"T": 50, "B": 70, "I": 5, "H": 34},
)
EACH_SIZE = [
    Case(cell, **size, L=layers, D=directions, dtype=dtype, lengths=lengths, indices=indices)
    for cell, size, (layers, directions, dtype, lengths, indices) in itertools.product(
        CELLS,
        SIZES,
        (
            (1, 1, "float32", False, False),
            (1, 1, "float64", True, True),
            (2, 2, "float32", True, False),
            (2, 2, "float64", False, True),
        ),
    )
]
EACH_SIZE += [
    replace(case, precision="bfloat16")
    for case in EACH_SIZE
    if case.dtype == "float32" and case.L == 2
]
EACH_SIZE += [replace(case, P=21) for case in EACH_SIZE if case.cell == "lstm" and case.L == 2]
KEEPS_GATES = [cell for cell in CELLS if not cell.startswith("rnn_")]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", EACH_SIZE, ids=str)
def test_same_bits_as_with_everything_kept(case: Case) -> None:
    options = {"dropout": 0.2, "seed": 4}
    kept = cases.run_engine(case, **options)
    for recompute, threads in ((True, 1), (1, 2), (case.T // 3, 3)):
        rnnfast.set_num_threads(threads)
        cases.assert_identical(cases.run_engine(case, recompute=recompute, **options), kept)


def reserve_bytes(case: Case, recompute: bool | int) -> int:
    d = cases.make_data(case)
    weights = [functional.Weights(*w) for w in d.weights]
    _, _, reserve = functional.forward(
        case.cell, d.x, weights, training=True, recompute=recompute, **case.options
    )
    assert reserve is not None
    return reserve.nbytes


@pytest.mark.parametrize("cell", KEEPS_GATES)
def test_keeps_the_states_between_segments_alone(cell: str) -> None:
    case = Case(cell, T=4 * 512, B=1, H=8)
    states = CELLS[cell].states * case.B * case.H * 4
    for recompute, places in ((True, 3), (1, 3), (513, 1), (1024, 1), (1025, 1), (1537, 0)):
        expected = places * states if places else reserve_bytes(case, False)
        assert reserve_bytes(case, recompute) == pytest.approx(expected, abs=64)


def test_outputs_between_layers_are_kept() -> None:
    case = Case("lstm", T=4 * 512, B=1, H=16)
    between = case.T * case.H * 4
    one, three = (reserve_bytes(replace(case, L=layers), True) for layers in (1, 3))
    assert three == 3 * one + 2 * between


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu"])
def test_a_cell_that_keeps_nothing_has_nothing_to_make_again(cell: str) -> None:
    case = Case(cell, T=4 * 512, B=1)
    assert reserve_bytes(case, True) == reserve_bytes(case, False)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_same_bits_over_ten_thousand_steps(cell: str) -> None:
    case = Case(cell, T=10_000, B=1, I=64, H=128, indices=True)
    cases.assert_identical(cases.run_engine(case, recompute=True), cases.run_engine(case))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", KEEPS_GATES)
def test_layers(cell: str, bidirectional: bool) -> None:
    """Layers are also called twice, because recomputation must leave the outputs unchanged."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 3, 5)).astype(np.float32)
    dy = rng.standard_normal((600, 3, 7 * (1 + bidirectional))).astype(np.float32)

    def run(recompute: bool | int) -> list[np.ndarray]:
        layer = rnnfast.Recurrent(
            cell, 5, 7, bidirectional=bidirectional, recompute=recompute, seed=1
        )
        for _ in range(2):
            y, state = layer(x)
            before = y.copy()
            dx, dstate = layer.backward(dy)
            np.testing.assert_array_equal(y, before)
        states = [*state, *dstate] if isinstance(state, tuple) else [state, dstate]
        return [y, dx, *states, *(p.grad for p in layer.parameters())]

    for again, kept in zip(run(True), run(False), strict=True):
        np.testing.assert_array_equal(again, kept)


@pytest.mark.parametrize(
    ("recompute", "error", "message"),
    [
        (0, ValueError, "recompute: expected at least 1, got 0"),
        (-3, ValueError, "recompute: expected at least 1, got -3"),
        (2.0, TypeError, "recompute: expected an integer, got float"),
        ("sqrt", TypeError, "recompute: expected an integer, got str"),
    ],
)
def test_bad_values(recompute: object, error: type[Exception], message: str) -> None:
    case = Case("lstm")
    d = cases.make_data(case)
    with pytest.raises(error, match=message):
        functional.forward(
            "lstm", d.x, [functional.Weights(*w) for w in d.weights], recompute=recompute
        )
    with pytest.raises(error, match=message):
        rnnfast.LSTM(3, 4, recompute=recompute)
