"""A recurrent product with an initial state of zeros is left out, with the same results."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import cases
from cases import Case, Data
from rnnfast.reference import CELLS

EACH = [
    Case(cell, T=steps, B=batch, I=5, H=21, D=2, lengths=lengths, precision=precision)
    for cell, (steps, batch, lengths, precision) in itertools.product(
        CELLS,
        (
            (1, 1, False, "full"),
            (1, 11, False, "full"),
            (4, 11, True, "full"),
            (1, 11, False, "bfloat16"),
            (3, 2, False, "bfloat16"),
        ),
    )
]


def with_zero_states(data: Data, members: slice) -> Data:
    """Return the data with states of zeros for some sequences."""
    state = tuple(s.copy() for s in data.state)
    for s in state:
        s[:, members] = 0
    return data._replace(state=state)


@pytest.mark.parametrize("case", EACH, ids=str)
def test_results_are_those_of_the_product_with_zeros(case: Case) -> None:
    # In the larger batch every second sequence has a state, so that nothing is left out.
    larger = replace(case, B=2 * case.B)
    d = with_zero_states(cases.make_data(larger), slice(0, None, 2))
    members = np.arange(0, larger.B, 2)
    some = cases.select(d, members, case.T, lengths=True)
    whole = cases.of_sequences(cases.run_engine(larger, data=d))
    got = cases.of_sequences(cases.run_engine(case, data=some))
    cases.assert_identical(got, {name: values[members] for name, values in whole.items()})


@pytest.mark.parametrize("case", EACH, ids=str)
def test_no_state_is_a_state_of_zeros(case: Case) -> None:
    d = cases.make_data(case)
    zeros = with_zero_states(d, slice(None))
    none = d._replace(state=None)  # type: ignore[arg-type]
    got = cases.run_engine(case, data=none)
    cases.assert_identical(got, cases.run_engine(case, data=zeros))


@pytest.mark.cpu_only("which products are computed")
@pytest.mark.parametrize("batch", [1, 11])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "gru_reset_before"])
def test_a_single_step_without_a_state_does_not_read_weight_hh(cell: str, batch: int) -> None:
    case = Case(cell, T=1, B=batch)
    d = cases.make_data(case)._replace(state=None)  # type: ignore[arg-type]
    ((weight_ih, weight_hh, *others),) = d.weights
    assert weight_hh is not None
    unread = d._replace(weights=[(weight_ih, np.full_like(weight_hh, np.nan), *others)])
    expected, _, _ = cases.forward(case, d)
    got, _, _ = cases.forward(case, unread)
    np.testing.assert_array_equal(got, expected)
