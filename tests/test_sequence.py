"""`rnnfast.functional` against the reference: outputs, final states and all gradients."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

import cases
from cases import Case
from rnnfast import functional
from rnnfast._engine.known import COMPILED
from rnnfast.reference import CELLS

DTYPES = ("float32", "float64")


def grid() -> list[Case]:
    """Every cell x dtype x direction x lengths x hidden size, the other choices drawn for each."""
    draw = random.Random(1)
    return [
        Case(
            cell,
            dtype=dtype,
            D=directions,
            lengths=lengths,
            H=hidden,
            T=draw.choice((1, 2, 5, 11)),
            B=draw.choice((1, 2, 5, 9, 19)),
            I=draw.choice((1, 4, 17, 35)),
            L=draw.choice((1, 2, 3)),
            bias=draw.random() < 0.7,
            indices=draw.random() < 0.3,
        )
        for cell, dtype, directions, lengths, hidden in itertools.product(
            CELLS, DTYPES, (1, 2), (False, True), cases.HIDDEN_SIZES
        )
    ]


def options() -> list[Case]:
    """Every cell x layers x bias x kind of input at one size."""
    return [
        Case(cell, H=10, L=layers, bias=bias, indices=indices)
        for cell, layers, bias, indices in itertools.product(
            CELLS, (1, 2, 3), (False, True), (False, True)
        )
    ]


def large() -> list[Case]:
    """Sizes beyond one tile, block or chunk: wide layers, many rows, long sequences."""
    sizes = (
        {"T": 3, "B": 70, "I": 40, "H": 130},
        {"T": 4, "B": 3, "I": 300, "H": 257},
        {"T": 150, "B": 2, "I": 9, "H": 20},
        {"T": 2, "B": 300, "I": 3, "H": 5},
    )
    return [Case(cell, dtype=dtype, **size) for cell in CELLS for dtype in DTYPES for size in sizes]


def projected() -> list[Case]:
    """Layers with a projection: narrower and wider than a vector, and wider than the state."""
    sizes = (
        {"T": 5, "B": 3, "I": 4, "H": 8, "P": 1},
        {"T": 11, "B": 9, "I": 17, "H": 33, "P": 3, "L": 2, "D": 2, "lengths": True},
        {"T": 7, "B": 40, "I": 5, "H": 70, "P": 17, "L": 2},
        {"T": 6, "B": 5, "I": 3, "H": 33, "P": 70, "D": 2, "indices": True},
        {"T": 90, "B": 7, "I": 8, "H": 130, "P": 101, "lengths": True, "bias": False},
        {"T": 3, "B": 1, "I": 300, "H": 257, "P": 64, "L": 3},
    )
    cells = [name for name in COMPILED if functional.cells()[name].projects]
    return [Case(cell, dtype=dtype, **size) for cell in cells for dtype in DTYPES for size in sizes]


@pytest.mark.parametrize("case", [*grid(), *options(), *large(), *projected()], ids=str)
def test_matches_the_reference(case: Case) -> None:
    expected = cases.run_reference(case)
    cases.assert_close(cases.run_engine(case), expected, cases.plain_errors(case), case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0), (0, 0)])
def test_empty_sizes(cell: str, dtype: str, T: int, B: int) -> None:
    """No steps: the final states are the initial ones. No sequences: gradients of weights are 0."""
    case = Case(cell, T=T, B=B, H=3, L=2, D=2, dtype=dtype)
    results = cases.run_engine(case)
    expected = cases.run_reference(case)
    cases.assert_identical(
        results, {name: values.astype(dtype) for name, values in expected.items()}
    )


def test_all_sequences_of_length_zero() -> None:
    case = Case("lstm", L=2, D=2, lengths=True)
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


def forward(
    case: Case, data: cases.Data | None = None, **options: object
) -> tuple[np.ndarray, tuple[np.ndarray, ...], object]:
    """The engine's forward pass on the case's data or, where given, on others."""
    d = data or cases.make_data(case)
    return functional.forward(
        case.cell,
        d.x,
        cases.weights_of(d),
        d.state,
        lengths=d.lengths,
        **case.options,
        **options,
    )


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
    """Arrays that are not contiguous, or not writable, give what their copies give."""
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
    """The same bits as gradients in new arrays that are added afterwards."""
    case = Case(cell, dtype=dtype, T=steps, B=3, I=19, H=35, L=2, D=2, bias=bias)
    data = cases.make_data(case)
    weights = [functional.Weights(*w) for w in data.weights]
    _, _, reserve = functional.forward(cell, data.x, weights, training=True, **case.options)
    assert reserve is not None
    _, _, new = functional.backward(reserve, data.dy)
    # Any values will do, such as those of the weights.
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
        (ValueError, r"dweights\[0\].weight_ih: expected an array", None),
    ]
    for error, message, array in wrong:
        with pytest.raises(error, match=message):
            functional.backward(reserve, dweights=[weights._replace(weight_ih=array)])
    with pytest.raises(ValueError, match="dweights: expected one entry for each of 1 layers"):
        functional.backward(reserve, dweights=[weights, weights])
