"""Results are the same bits for any number of threads, in any batch, and in every run."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case, Data, of_sequences, select
from rnnfast import functional
from rnnfast.reference import CELLS

# Sizes too small and large enough to be shared between threads, over hidden units and batch rows.
SIZES = (
    {"T": 5, "B": 3, "I": 7, "H": 17},
    {"T": 40, "B": 1, "I": 50, "H": 190},
    {"T": 12, "B": 61, "I": 33, "H": 70},
)
EACH_SIZE = [
    Case(cell, **size, L=2, D=directions, dtype=dtype, lengths=lengths, precision=precision)
    for cell, size, (directions, dtype, lengths, precision) in itertools.product(
        CELLS,
        SIZES,
        (
            (1, "float32", False, "full"),
            (2, "float32", True, "full"),
            (1, "float64", True, "full"),
            (2, "float64", False, "full"),
            (1, "float32", False, "bfloat16"),
            (2, "float32", True, "bfloat16"),
            (1, "float32", True, "int8"),
        ),
    )
]
EACH_SIZE += [
    replace(case, P=size)
    for case, size in itertools.product(EACH_SIZE, (3, 50))
    if case.cell == "lstm" and size < case.H
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", EACH_SIZE, ids=str)
def test_same_bits_for_any_number_of_threads(case: Case) -> None:
    rnnfast.set_num_threads(1)
    alone = cases.run_engine(case, dropout=0.2, seed=5)
    for count in (2, 3, 4, 2):
        rnnfast.set_num_threads(count)
        cases.assert_identical(cases.run_engine(case, dropout=0.2, seed=5), alone)


@pytest.mark.parametrize("case", EACH_SIZE, ids=str)
def test_same_bits_alone_and_in_any_batch(case: Case) -> None:
    d = cases.make_data(case)
    whole = of_sequences(cases.run_engine(case))
    for size in {1, 2, 7, 16} & set(range(case.B + 1)):
        members = np.random.default_rng(size).choice(case.B, size, replace=False)
        few = select(d, members, case.T, lengths=True)
        got = of_sequences(cases.run_engine(replace(case, B=size), data=few))
        cases.assert_identical(got, {name: values[members] for name, values in whole.items()})


@pytest.mark.parametrize("case", [case for case in EACH_SIZE if case.lengths], ids=str)
def test_same_bits_with_and_without_padding(case: Case) -> None:
    d = cases.make_data(case)
    assert d.lengths is not None
    whole = of_sequences(cases.run_engine(case))
    for b, length in list(enumerate(d.lengths))[:4]:
        cut = select(d, np.array([b]), length, lengths=False)
        got = of_sequences(cases.run_engine(replace(case, B=1, T=int(length)), data=cut))
        for name, values in whole.items():
            expected = values[b : b + 1, :length] if name in ("y", "dx") else values[b : b + 1]
            np.testing.assert_array_equal(got[name], expected)


@pytest.mark.parametrize("case", [case for case in EACH_SIZE if case.lengths], ids=str)
def test_same_bits_for_sorted_and_unsorted_lengths(case: Case) -> None:
    d = cases.make_data(case)
    assert d.lengths is not None
    whole = of_sequences(cases.run_engine(case))
    for order in (np.argsort(-d.lengths, kind="stable"), np.argsort(d.lengths)):
        got = of_sequences(cases.run_engine(case, data=select(d, order, case.T, lengths=True)))
        cases.assert_identical(got, {name: values[order] for name, values in whole.items()})


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_when_threads_run_apart(cell: str, training: bool) -> None:
    """Half of the sequences end early, so that in reverse their thread is chunks ahead at once."""
    case = Case(cell, T=48, B=60, I=3, H=130, D=2, lengths=True)
    d = cases.make_data(case)
    d = d._replace(lengths=np.repeat([case.T, case.T // 2], case.B // 2))
    weights = [functional.Weights(*w) for w in d.weights]

    def outputs() -> bytes:
        y, state, _ = functional.forward(
            cell, d.x, weights, d.state, lengths=d.lengths, training=training, **case.options
        )
        return y.tobytes() + b"".join(s.tobytes() for s in state)

    rnnfast.set_num_threads(1)
    alone = outputs()
    for count in (2, 4):
        rnnfast.set_num_threads(count)
        assert all(outputs() == alone for _ in range(5))


def full_of_nan(data: Data) -> Data:
    """Return data of the same shapes whose reals are all NaN."""

    def nan(a: np.ndarray | None) -> np.ndarray | None:
        return None if a is None else np.full_like(a, np.nan)

    return Data(
        nan(data.x),
        [tuple(nan(w) for w in weights) for weights in data.weights],
        tuple(nan(s) for s in data.state),
        data.lengths,
        nan(data.dy),
        tuple(nan(s) for s in data.dstate),
    )


@pytest.mark.parametrize("case", EACH_SIZE, ids=str)
def test_same_bits_every_time(case: Case) -> None:
    """The bits also repeat in memory that the previous call left full of NaN."""
    first = cases.run_engine(case, dropout=0.3, seed=9)
    for _ in range(2):
        cases.run_engine(case, data=full_of_nan(cases.make_data(case)), dropout=0.3, seed=9)
        cases.assert_identical(cases.run_engine(case, dropout=0.3, seed=9), first)
