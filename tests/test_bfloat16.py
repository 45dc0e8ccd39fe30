"""Products in bfloat16: what is rounded and how, and that nothing else is rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import cases
from cases import Case
from rnnfast import functional
from rnnfast.reference import CELLS, round_to_bfloat16
from sequence_cases import all_of_float32

FULL = Case("lstm", T=3, B=5, I=17, H=19)
ROUNDED = replace(FULL, precision="bfloat16")


@pytest.mark.parametrize("case", all_of_float32(), ids=str)
def test_matches_the_reference(case: Case) -> None:
    case = replace(case, precision="bfloat16")
    expected = cases.run_reference(case)
    cases.assert_close(cases.run_engine(case), expected, cases.plain_errors(case), case)


def integers(case: Case) -> cases.Data:
    """Return data for which a network of ReLUs is exact in float32 once its operands have rounded.

    The values are ten-bit integers, which lose their last bits by rounding, and few enough that no
    sum needs more than the 24 bits of a float. Every product has operands that bfloat16 cannot
    hold.
    """
    d, rng = cases.make_data(case), np.random.default_rng(3)

    def draw(array: np.ndarray | None, bits: int, sparse: bool = False) -> np.ndarray | None:
        if array is None:
            return None
        values = rng.integers(-(2**bits), 2**bits, array.shape)
        if sparse:  # two values per row
            keep = np.zeros(array.shape, bool)
            for k in range(2):
                keep[np.arange(len(array)), (np.arange(len(array)) * 3 + k) % array.shape[1]] = True
            values = np.where(keep, values, 0)
        return values.astype(case.dtype)

    weights = [
        (draw(w[0], 1), draw(w[1], 1, sparse=True), draw(w[2], 9), draw(w[3], 9), None)
        for w in d.weights
    ]
    x = d.x if case.indices else draw(d.x, 10)
    return d._replace(
        x=x,
        weights=weights,
        state=tuple(draw(s, 10) for s in d.state),
        dy=draw(d.dy, 10),
        dstate=tuple(draw(s, 10) for s in d.dstate),
    )


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("T", "B", "I", "H"), [(1, 3, 4, 8), (2, 5, 7, 17), (2, 9, 3, 33)])
def test_exact_on_integers(
    T: int, B: int, I: int, H: int, directions: int, indices: bool, lengths: bool
) -> None:
    """Every operand and every gradient is rounded once, and nothing else is."""
    case = Case(
        "rnn_relu", T, B, I, H, D=directions, lengths=lengths, indices=indices, precision="bfloat16"
    )
    data = integers(case)
    expected = cases.run_reference(case, data=data)
    plain = cases.run_reference(replace(case, precision="full"), data=data)
    exact = {name: values.astype(np.float32) for name, values in expected.items()}
    for name, values in expected.items():  # otherwise the test would test nothing
        assert (exact[name] == values).all(), name
        assert (plain[name] != values).any() or T == 1, name
    cases.assert_identical(
        {name: values + 0 for name, values in cases.run_engine(case, data=data).items()},
        {name: values + 0 for name, values in exact.items()},  # turns -0 into 0
    )


def relu_of(x: np.ndarray, weight_ih: np.ndarray) -> np.ndarray:
    """Run one step of ReLUs, max(0, x @ weight_ih.T), with rounded operands."""
    H = len(weight_ih)
    weights = [functional.Weights(weight_ih, np.zeros((H, H), np.float32))]
    y, _, _ = functional.forward("rnn_relu", x[None], weights, precision="bfloat16")
    return y[0]


def test_rounds_to_nearest_even_and_keeps_nan_and_inf() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0x00800000, 0x7F7F8000, 4000, dtype=np.uint32)  # finite, positive, normal
    ties = bits[:1000] & np.uint32(0xFFFF0000) | np.uint32(0x8000)
    beside = np.concatenate([ties - np.uint32(1), ties + np.uint32(1)])
    special = np.array([np.inf, np.nan, 0, 1, 1 + 2**-8, 1 + 3 * 2**-8], np.float32)
    values = np.concatenate([np.concatenate([bits, ties, beside]).view(np.float32), special])
    expected = round_to_bfloat16(values.astype(np.float64)).astype(np.float32)
    assert (expected[-2:] == [1, 1 + 2**-6]).all()
    assert np.isnan(expected).sum() == 1
    one = np.ones((1, 1), np.float32)
    np.testing.assert_array_equal(relu_of(values[:, None], one)[:, 0], expected)
    np.testing.assert_array_equal(relu_of(one, values[:, None])[0], expected)


@pytest.mark.parametrize("payload", [0x7F800001, 0x7FFFFFFF])
def test_no_nan_becomes_a_number(payload: int) -> None:
    nan = np.array([[payload]], np.uint32).view(np.float32)
    assert np.isnan(relu_of(nan, np.ones((1, 1), np.float32))).all()


@pytest.mark.parametrize("cell", CELLS)
def test_inference_gives_the_same_bits(cell: str) -> None:
    case = Case(cell, T=6, B=5, H=17, L=2, D=2, lengths=True, precision="bfloat16")
    d = cases.make_data(case)
    weights = cases.weights_of(d)
    y, state, reserve = functional.forward(
        cell, d.x, weights, d.state, lengths=d.lengths, **case.options
    )
    trained = cases.run_engine(case)
    assert reserve is None
    np.testing.assert_array_equal(y, trained["y"])
    np.testing.assert_array_equal(state[0], trained["state[0]"])


def test_nan_beside_an_odd_end_stays_where_it_is() -> None:
    """An odd depth ends with half a pair, which must not read what lies behind it."""
    case = replace(ROUNDED, T=4)
    d = cases.make_data(case)
    x = d.x.copy()
    x[1, 2] = np.nan
    clean, spoilt = cases.run_engine(case), cases.run_engine(case, data=d._replace(x=x))
    others = np.arange(case.B) != 2
    assert np.isnan(spoilt["y"][1:, 2]).all()
    for name in ("y", "dx", "state[0]", "dstate[0]"):
        np.testing.assert_array_equal(spoilt[name][:, others], clean[name][:, others])


def test_precisions_differ_as_much_as_rounding_does() -> None:
    rounded, full = cases.run_engine(ROUNDED), cases.run_engine(FULL)
    for name, values in full.items():
        difference = cases.worst(rounded[name], values.astype(np.float64))
        assert 2**-12 < difference / np.abs(values).max() < 2**-5, name


def test_wrong_precisions_are_refused() -> None:
    d = cases.make_data(FULL)
    weights = cases.weights_of(d)
    with pytest.raises(
        ValueError, match="precision: expected one of full, bfloat16, int8, got 'half'"
    ):
        functional.forward("lstm", d.x, weights, precision="half")
    d = cases.make_data(replace(FULL, dtype="float64"))
    weights = cases.weights_of(d)
    with pytest.raises(TypeError, match=r"precision: expected float32 arrays .* got float64"):
        functional.forward("lstm", d.x, weights, precision="bfloat16")
