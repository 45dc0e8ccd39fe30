"""Layers of small networks that run as a wave, one behind the other, on groups of threads."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from noise_cases import TRACED, made
from reset_cases import random_resets
from rnnfast import _core, functional
from rnnfast._engine import network
from rnnfast.reference import CELLS

pytestmark = pytest.mark.usefixtures("threads")

# Enough work for more than one thread in both passes, which is why not every step needs two.
SMALL = {"T": 90, "B": 1, "H": 40, "L": 4}
ROWS = {"T": 40, "B": 5, "H": 40, "L": 3}
TEAMS = {"T": 60, "B": 8, "H": 40, "L": 3}  # a layer's step is worth two of eight threads
THREADS = (2, 3, 4, 8)


def groups(case: Case, backward: bool) -> tuple[int, int]:
    """Return the threads of a pass, and the groups of them that work on different layers."""
    options = network.network_options(case.cell, case.L, case.D == 2)
    return _core._groups(options, case.T, case.B, case.I, case.H, backward)


def same_bits(case: Case, **options: Any) -> None:
    rnnfast.set_num_threads(1)
    alone = cases.run_engine(case, **options)
    for count in THREADS:
        rnnfast.set_num_threads(count)
        for _ in range(3):
            cases.assert_identical(cases.run_engine(case, **options), alone)


@pytest.mark.parametrize(
    ("sizes", "threads", "expected"),
    [
        ({"L": 4}, 2, (2, 2)),
        ({"L": 3}, 2, (2, 2)),
        ({"L": 4}, 3, (2, 2)),
        ({"L": 4}, 8, (4, 4)),
        ({"L": 5}, 4, (3, 3)),
        ({"L": 3, "B": 4}, 8, (6, 3)),  # a layer's step is worth more than one thread
        ({"L": 4, "B": 4}, 2, (2, 1)),  # both threads on each layer are as fast
        ({"L": 1}, 8, (1, 1)),
        ({"L": 4, "H": 600}, 8, (8, 1)),  # meetings take no time to speak of
        ({"L": 4, "D": 2}, 8, (2, 2)),  # the directions of a layer
        ({"L": 4, "T": 1, "B": 64}, 8, (8, 1)),  # there is no step to go on with
    ],
)
def test_a_wave_has_a_group_for_each_layer_at_work(
    sizes: dict[str, int], threads: int, expected: tuple[int, int]
) -> None:
    rnnfast.set_num_threads(threads)
    assert groups(Case("gru", **{"T": 100, "B": 1, "I": 64, "H": 64} | sizes), True) == expected


@pytest.mark.parametrize("sizes", [SMALL, ROWS])
def test_the_cases_below_run_as_a_wave(sizes: dict[str, int]) -> None:
    for backward in (False, True):
        for count in THREADS:
            rnnfast.set_num_threads(count)
            assert groups(Case("gru", **sizes), backward)[1] > 1


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("sizes", [SMALL, ROWS], ids=["one row", "rows"])
@pytest.mark.parametrize("cell", [*CELLS, *TRACED])
def test_same_bits_for_any_number_of_threads(
    cell: str, sizes: dict[str, int], lengths: bool
) -> None:
    same_bits(made(cell, **sizes, lengths=lengths), dropout=0.2, seed=5)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "mut3"])
def test_same_bits_if_several_threads_work_on_a_layer(cell: str, dropout: float) -> None:
    case = Case(cell, **TEAMS)
    rnnfast.set_num_threads(8)
    for backward in (False, True):
        of_threads, count = groups(case, backward)
        assert of_threads > count > 1
    same_bits(case, dropout=dropout, seed=5)


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {"zoneout": 0.3, "seed": 2},
        {"recurrent_dropout": 0.3, "dropout": 0.1, "seed": 2},
        {"input_dropout": 0.3, "dropout": 0.1, "seed": 2},  # in the plain order
        {"recompute": 1},
        {"recompute": 1, "dropout": 0.1, "seed": 2},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize(
    "case", [Case("lstm", **SMALL), Case("gru", **ROWS, lengths=True)], ids=str
)
def test_same_bits_with_options(case: Case, options: dict[str, Any], precision: str) -> None:
    case = replace(case, precision=precision)
    if "recompute" in options:
        case = replace(case, T=1200 // case.B)  # several segments
    same_bits(case, **options)


@pytest.mark.parametrize("by_step", [False, True])
def test_same_bits_with_a_context(by_step: bool) -> None:
    case = Case("gru", **ROWS)
    shape = (case.T, case.B, 3 * case.H) if by_step else (case.B, 3 * case.H)
    values = np.random.default_rng(1).standard_normal((case.L, *shape)).astype(case.dtype)
    same_bits(case, context_gates=list(values))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_same_bits_with_resets(cell: str, dropout: float) -> None:
    case = Case(cell, **ROWS)
    same_bits(case, reset=random_resets(case, 0.1), dropout=dropout, seed=3)


@pytest.mark.parametrize("case", [
    Case("lstm", **SMALL, P=20),
    Case("lstm", **SMALL, dtype="float64"),
    Case("gru", **SMALL, I=50, indices=True),
], ids=str)  # fmt: skip
def test_same_bits_in_other_forms(case: Case) -> None:
    same_bits(case)


@pytest.mark.parametrize("layers", [2, 3, 5, 8])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_inference_gives_the_outputs_of_training(cell: str, layers: int) -> None:
    """Layers at work at the same time have arrays of outputs of their own."""
    case = Case(cell, T=200, B=2, H=40, L=layers)
    rnnfast.set_num_threads(1)
    y, state, _ = cases.forward(case, training=True)
    for count in THREADS:
        rnnfast.set_num_threads(count)
        got_y, got_state, _ = cases.forward(case)
        np.testing.assert_array_equal(got_y, y)
        for got, expected in zip(got_state, state, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_gradients_of_layers_may_be_summed_in_one_array() -> None:
    """Layers that share weights add to the same arrays, one after the other."""
    case = Case("gru", T=100, B=1, I=40, H=40, L=4)
    d = cases.make_data(case)
    weights = [functional.Weights(*d.weights[0])] * case.L

    def summed() -> list[bytes]:
        zeros = functional.Weights(*(None if w is None else np.zeros_like(w) for w in d.weights[0]))
        _, _, reserve = functional.forward(
            case.cell, d.x, weights, d.state, training=True, **case.options
        )
        functional.backward(reserve, d.dy, dweights=[zeros] * case.L)
        return [w.tobytes() for w in zeros if w is not None]

    rnnfast.set_num_threads(1)
    alone = summed()
    for count in THREADS:
        rnnfast.set_num_threads(count)
        assert all(summed() == alone for _ in range(10))


def test_concurrent_waves_neither_deadlock_nor_disturb_each_other() -> None:
    """One call at a time has a team; the others take the plain order."""
    case = Case("gru", T=100, B=1, H=40, L=4)
    rnnfast.set_num_threads(1)
    alone = cases.run_engine(case, dropout=0.2, seed=1)
    rnnfast.set_num_threads(2)
    results: list[dict[str, Any]] = []

    def call() -> None:
        results.extend(cases.run_engine(case, dropout=0.2, seed=1) for _ in range(20))

    callers = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive(), "a concurrent call did not return"
    assert len(results) == 60
    for result in results:
        cases.assert_identical(result, alone)
