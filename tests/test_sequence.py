"""`rnnfast.functional` against the reference: outputs, final states and all gradients."""

from __future__ import annotations

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case, forward
from rnnfast import functional
from rnnfast.reference import CELLS
from sequence_cases import DTYPES, grid, large, options, projected


@pytest.mark.parametrize("case", [*grid(), *options(), *large(), *projected()], ids=str)
def test_matches_the_reference(case: Case) -> None:
    expected = cases.run_reference(case)
    cases.assert_close(cases.run_engine(case), expected, cases.plain_errors(case), case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0), (0, 0)])
def test_empty_sizes(cell: str, dtype: str, T: int, B: int) -> None:
    """Without steps, states stay the initial ones; without sequences, weight gradients are 0."""
    case = Case(cell, T=T, B=B, H=3, L=2, D=2, dtype=dtype)
    results = cases.run_engine(case)
    expected = cases.run_reference(case)
    cases.assert_identical(
        results, {name: values.astype(dtype) for name, values in expected.items()}
    )


def test_any_number_of_steps_without_sequences_takes_no_time() -> None:
    """Even a microsecond for each of these steps would be two weeks."""
    layer = rnnfast.LSTM(4, 3, 2, bidirectional=True, seed=1)
    x = np.empty((2**40, 0, 4), np.float32)
    y, _ = layer(x)
    assert y.shape == (2**40, 0, 6)
    assert layer.backward(y)[0].shape == x.shape
    assert not layer.weight_hh_l0.grad.any()


@pytest.mark.parametrize("batch", [3, 9])
def test_all_sequences_of_length_zero(batch: int) -> None:
    """Few sequences take the path of few rows, more the usual one."""
    case = Case("lstm", B=batch, L=2, D=2, lengths=True)
    data = cases.make_data(case)._replace(lengths=np.zeros(case.B, np.int64))
    results = cases.run_engine(case, data=data)
    for name, values in results.items():
        state = dict(zip(("state[0]", "state[1]"), data.state, strict=True)) | dict(
            zip(("dstate[0]", "dstate[1]"), data.dstate, strict=True)
        )
        np.testing.assert_array_equal(values, state.get(name, np.zeros_like(values)))


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_inference_keeps_nothing_and_gives_the_same_bits(
    cell: str, dtype: str, lengths: bool
) -> None:
    case = Case(cell, T=6, B=5, H=17, L=2, D=2, dtype=dtype, lengths=lengths)
    trained = forward(case, training=True)
    inferred = forward(case, training=False)
    assert trained[2] is not None
    assert inferred[2] is None
    np.testing.assert_array_equal(inferred[0], trained[0])
    np.testing.assert_array_equal(inferred[1], trained[1])


@pytest.mark.parametrize("cell", CELLS)
def test_no_state_means_zeros(cell: str) -> None:
    case = Case(cell, L=2, D=2)
    d = cases.make_data(case)
    zeros = d._replace(state=tuple(np.zeros_like(s) for s in d.state))
    expected = cases.run_engine(case, data=zeros)
    cases.assert_identical(cases.run_engine(case, data=d._replace(state=None)), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_absent_gradients_mean_zeros(cell: str) -> None:
    case = Case(cell, L=2, D=2, lengths=True)
    d = cases.make_data(case)
    no_dstate = tuple(np.zeros_like(g) for g in d.dstate)

    def backward(dy: np.ndarray | None, dstate: object) -> dict[str, np.ndarray]:
        y, state, reserve = forward(case, training=True)
        return cases.named(y, state, *functional.backward(reserve, dy, dstate), case.D)

    no_dy, some, some_zero = np.zeros_like(d.dy), d.dstate[:-1], no_dstate[-1:]
    for absent, zero in (
        (backward(d.dy, None), backward(d.dy, no_dstate)),
        (backward(None, d.dstate), backward(no_dy, d.dstate)),
        (backward(d.dy, (*some, None)), backward(d.dy, some + some_zero)),
        (backward(None, None), backward(no_dy, no_dstate)),
    ):
        for name, values in zero.items():
            np.testing.assert_array_equal(absent[name], values)


def test_backward_can_be_repeated() -> None:
    case = Case("gru", L=2, D=2, lengths=True)
    d = cases.make_data(case)
    y, state, reserve = forward(case, training=True)
    first = cases.named(y, state, *functional.backward(reserve, d.dy, d.dstate), case.D)
    again = cases.named(y, state, *functional.backward(reserve, d.dy, d.dstate), case.D)
    cases.assert_identical(again, first)


def test_dx_only_on_request() -> None:
    case = Case("gru")
    d = cases.make_data(case)
    _, _, reserve = forward(case, training=True)
    full = functional.backward(reserve, d.dy, d.dstate)
    less = functional.backward(reserve, d.dy, d.dstate, need_dx=False)
    assert less[0] is None
    np.testing.assert_array_equal(less[1], full[1])
    np.testing.assert_array_equal(less[2][0].weight_ih, full[2][0].weight_ih)


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "int64"])
def test_indices_of_any_integer_type(kind: str) -> None:
    case = Case("lstm", I=100, indices=True)
    d = cases.make_data(case)
    cases.assert_identical(
        cases.run_engine(case, data=d._replace(x=d.x.astype(kind))), cases.run_engine(case)
    )


def test_views_are_read_as_they_are() -> None:
    """Arrays that are not contiguous or not writable give what their copies give."""
    case = Case("peephole_lstm", T=6, L=2, D=2, lengths=True)
    d = cases.make_data(case)

    def strided(a: np.ndarray | None) -> np.ndarray | None:
        if a is None:
            return None
        view = np.repeat(a, 2, axis=-1)[..., ::2]
        view.flags.writeable = False
        return view

    views = cases.Data(
        strided(d.x),
        [tuple(strided(w) for w in weights) for weights in d.weights],
        tuple(strided(s) for s in d.state),
        strided(d.lengths),
        strided(d.dy),
        tuple(strided(g) for g in d.dstate),
    )
    cases.assert_identical(cases.run_engine(case, data=views), cases.run_engine(case))


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_sequence(cell: str) -> None:
    case = Case(cell, T=6, B=5, H=9, L=2, D=2)
    d = cases.make_data(case)
    x = d.x.copy()
    x[2, 3] = np.nan
    clean, spoilt = cases.run_engine(case), cases.run_engine(case, data=d._replace(x=x))
    others = np.arange(case.B) != 3
    assert np.isnan(spoilt["y"][2:, 3, : case.H]).all()
    for name in ("y", "dx", "state[0]", "dstate[0]"):
        np.testing.assert_array_equal(spoilt[name][:, others], clean[name][:, others])


@pytest.mark.parametrize("steps", [0, 1, 5, 300])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_added_to_given_arrays(cell: str, dtype: str, bias: bool, steps: int) -> None:
    """The bits are those of gradients in new arrays that are added afterwards."""
    case = Case(cell, dtype=dtype, T=steps, B=3, I=19, H=35, L=2, D=2, bias=bias)
    data = cases.make_data(case)
    weights = [functional.Weights(*w) for w in data.weights]
    _, _, reserve = functional.forward(cell, data.x, weights, training=True, **case.options)
    assert reserve is not None
    _, _, new = functional.backward(reserve, data.dy)
    # Any values will do, even those of the weights.
    given = [functional.Weights(*(None if a is None else a.copy() for a in w)) for w in weights]
    _, _, returned = functional.backward(reserve, data.dy, dweights=given)
    for before, gradient, after, same in zip(weights, new, given, returned, strict=True):
        for b, g, a, s in zip(before, gradient, after, same, strict=True):
            assert a is s
            if a is not None:
                np.testing.assert_array_equal(a, b + g)


def test_given_gradients_are_checked() -> None:
    weights = functional.Weights(np.ones((4, 3)), np.ones((4, 4)), np.ones(4), np.ones(4))
    _, _, reserve = functional.forward("rnn_tanh", np.ones((2, 1, 3)), [weights], training=True)
    assert reserve is not None
    read_only = np.ones((4, 3))
    read_only.flags.writeable = False
    wrong = [
        (TypeError, r"dweights\[0\].weight_ih: expected an array to write into, got list", [[1]]),
        (
            TypeError,
            r"dweights\[0\].weight_ih: expected dtype float64, got float32",
            np.ones((4, 3), "f4"),
        ),
        (
            ValueError,
            "weight_ih: expected a writable C-contiguous array, got strides",
            np.ones((3, 4)).T,
        ),
        (ValueError, "weight_ih: expected a writable C-contiguous array, got read-only", read_only),
        (ValueError, r"weight_ih: expected shape .*\(4, 3\), got \(4, 2\)", np.ones((4, 2))),
    ]
    for error, message, array in wrong:
        with pytest.raises(error, match=message):
            functional.backward(reserve, dweights=[weights._replace(weight_ih=array)])
    with pytest.raises(ValueError, match="dweights: expected one entry for each of 1 layers"):
        functional.backward(reserve, dweights=[weights, weights])
