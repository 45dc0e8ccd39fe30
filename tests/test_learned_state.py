"""`learn_state=True`: layers that start from parameters, and what these learn."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from layer_cases import NAMED, bare, learned_rows, learning, listed
from rnnfast import functional
from rnnfast._engine.known import COMPILED

CELLS = list(COMPILED)


def broadcast(case: Case, batch: int | None = None) -> tuple[np.ndarray, ...]:
    """Repeat a state for every sequence of a batch, to pass it to a call."""
    B = case.B if batch is None else batch
    return tuple(np.repeat(rows[:, None], B, axis=1) for rows in learned_rows(case))


def initial_gradients(layer: rnnfast.Recurrent) -> list[np.ndarray]:
    return [p.grad for p in layer.parameters() if p.name.startswith("initial_state_")]


def results(case: Case, layer: rnnfast.Recurrent, state: Any = None) -> dict[str, np.ndarray]:
    """Return all results of a call and its gradient."""
    d = cases.make_data(case)
    layer.zero_grad()
    y, final = layer(d.x, state, d.lengths)
    dx, dinitial = layer.backward(d.dy, bare(d.dstate), need_dx=not case.indices)
    found = {"y": y} | ({} if dx is None else {"dx": dx})
    found |= {f"state[{k}]": s for k, s in enumerate(listed(final))}
    found |= {f"dstate[{k}]": s for k, s in enumerate(listed(dinitial))}
    return found | {f"d{p.name}": p.grad.copy() for p in layer.parameters()}


def expected_of(case: Case, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Return the reference's results, with the state as variables of the network."""
    data = cases.make_data(case)._replace(state=broadcast(case))
    found = cases.run_reference(case, dtype, data=data)
    states = range(functional.cells()[case.cell].states)
    return found | {f"dinitial_state_{k}": found[f"dstate[{k}]"].sum(axis=1) for k in states}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradients_of_learned_states_are_those_of_the_reference(
    cell: str, directions: int, dtype: str
) -> None:
    """One of the unequal lengths is 0, so that its sequence ends in the state it starts in."""
    case = Case(cell, T=6, B=5, H=17, L=2, D=directions, lengths=True, dtype=dtype)
    got, expected = results(case, learning(case)), expected_of(case)
    plain = expected_of(replace(case, dtype="float32"), "float32")
    exact = expected_of(replace(case, dtype="float32"))
    errors = {name: cases.worst(plain[name], exact[name]) for name in exact}
    cases.assert_close(got, expected, errors, case)
    lengths = cases.make_data(case).lengths
    assert lengths is not None
    empty = int(np.flatnonzero(lengths == 0)[0])
    for k, rows in enumerate(learned_rows(case)):
        np.testing.assert_array_equal(got[f"state[{k}]"][:, empty], rows)


@pytest.mark.parametrize(
    "options", [{}, {"precision": "bfloat16"}, {"indices": True}, {"L": 1, "B": 1}, {"B": 40}]
)
@pytest.mark.parametrize("cell", ["lstm", "gru", "nas"])
def test_a_call_gives_the_bits_of_one_with_the_state_given(
    cell: str, options: dict[str, Any]
) -> None:
    case = Case(cell, **{"L": 2, "H": 35, "lengths": True, **options})
    got = results(case, learning(case))
    state = bare(broadcast(case))
    given = results(case, cases.make_layer(case), state)
    sums = {
        f"dinitial_state_{k}": given[f"dstate[{k}]"].sum(axis=1)
        for k in range(functional.cells()[cell].states)
    }
    cases.assert_identical(got, given | sums)


@pytest.mark.parametrize(
    ("T", "options"),
    [(600, {"recompute": True}), (600, {"recompute": 3}), (6, {"batch_first": True})],
)
def test_options_of_the_layer_change_no_bit_of_what_is_learned(
    T: int, options: dict[str, Any]
) -> None:
    case = Case("lstm", T=T, B=4, H=8, lengths=True)
    d, layer, other = cases.make_data(case), learning(case), learning(case, **options)
    expected = results(case, layer)

    def turned(a: np.ndarray) -> np.ndarray:
        return a.swapaxes(0, 1) if other.batch_first else a

    call = other.call(turned(d.x).tolist(), None, d.lengths)
    dx, _ = call.backward(turned(d.dy), d.dstate)
    assert dx is not None
    np.testing.assert_array_equal(turned(dx), expected["dx"])
    cases.assert_identical(
        {f"d{p.name}": p.grad for p in other.parameters()},
        {name: expected[name] for name in (f"d{p.name}" for p in other.parameters())},
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_that_is_given_counts_and_the_learned_one_learns_nothing(cell: str) -> None:
    case = Case(cell, L=2, D=2)
    layer, state = learning(case), bare(cases.make_data(case).state)
    got = results(case, layer, state)
    assert not any(g.any() for g in initial_gradients(layer))
    expected = results(case, cases.make_layer(case), state)
    cases.assert_identical({name: got[name] for name in expected}, expected)


@pytest.mark.parametrize("given", [0, 1])
def test_states_that_are_none_in_the_tuple_are_the_learned_ones(given: int) -> None:
    case = Case("lstm", L=2)
    layer, own, d = learning(case), broadcast(case), cases.make_data(case)
    state = tuple(s if k == given else None for k, s in enumerate(d.state))
    got = results(case, layer, state)
    full = tuple(s if k == given else own[k] for k, s in enumerate(d.state))
    expected = results(case, cases.make_layer(case), full)
    cases.assert_identical({name: got[name] for name in expected}, expected)
    for k, gradient in enumerate(initial_gradients(layer)):
        dstate = expected[f"dstate[{k}]"].sum(axis=1)
        np.testing.assert_array_equal(gradient, 0 * dstate if k == given else dstate)


def test_the_gradients_of_several_calls_add_up_in_any_order() -> None:
    case = Case("lstm", L=2, dtype="float64")
    d, layer = cases.make_data(case), learning(case)
    calls = [layer.call(d.x), layer.call(2 * d.x), layer.call(d.x, d.state)]
    found = [call.backward(d.dy)[1] for call in reversed(calls)]
    dh, dc = (a + b for a, b in zip(found[1], found[2], strict=True))
    for gradient, dstate in zip(initial_gradients(layer), (dh, dc), strict=True):
        # The same terms in another order differ by a few roundings of values below 10.
        np.testing.assert_allclose(gradient, dstate.sum(axis=1), rtol=0, atol=1e-14)


def test_backward_takes_the_gradient_at_what_the_parameter_was() -> None:
    case = Case("gru")
    d, layer, other = cases.make_data(case), learning(case), learning(case)
    call, expected = layer.call(d.x), other.call(d.x).backward(d.dy)
    layer.initial_state_0 += 1
    np.testing.assert_array_equal(call.backward(d.dy)[1], expected[1])


@pytest.mark.parametrize("cell", NAMED)
def test_named_layers_learn_their_state_from_zero(cell: str) -> None:
    kind, options = NAMED[cell]
    layer = kind(3, 5, 2, bidirectional=True, learn_state=True, seed=1, **options)
    plain = kind(3, 5, 2, bidirectional=True, seed=1, **options)
    states = functional.cells()[cell].states
    assert list(layer.state_dict()) == [
        *plain.state_dict(),
        *(f"initial_state_{k}" for k in range(states)),
    ]
    for k in range(states):
        parameter = getattr(layer, f"initial_state_{k}")
        assert parameter.shape == (4, 5)
        assert not parameter.value.any()
    x = np.ones((4, 2, 3), np.float32)
    cases.assert_identical({"y": layer(x)[0]}, {"y": plain(x)[0]})
    layer.backward(np.ones((4, 2, 10), np.float32))
    before = layer.initial_state_0.copy()
    rnnfast.Adam(layer, lr=0.1).step()
    assert (layer.initial_state_0.value != before).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("mode", [True, False])
def test_streams_start_from_the_learned_state(cell: str, mode: bool) -> None:
    case = Case(cell, L=2)
    d, layer = cases.make_data(case), learning(case)
    y, final = layer.eval()(d.x)
    stream = layer.train(mode).stream(case.B)
    for x, expected in zip(d.x, y, strict=True):
        np.testing.assert_array_equal(stream(x), expected)
    cases.assert_identical(
        dict(enumerate(listed(stream.state))),  # type: ignore[arg-type]
        dict(enumerate(listed(final))),  # type: ignore[arg-type]
    )
    zeros = bare([np.zeros((2, 1, case.H), np.float32)] * len(d.state))
    np.testing.assert_array_equal(
        layer.stream(1, zeros)(d.x[0, :1]), cases.make_layer(case)(d.x[:1, :1])[0][0]
    )
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        layer.stream(0)


def test_a_stream_takes_none_for_the_learned_part_of_its_state() -> None:
    case = Case("lstm")
    d, layer = cases.make_data(case), learning(case)
    stream = layer.stream(case.B, (None, d.state[1]))
    expected, _ = cases.make_layer(case)(d.x[:1], (broadcast(case)[0], d.state[1]))
    np.testing.assert_array_equal(stream(d.x[0]), expected[0])


def test_evaluation_has_the_bits_of_training_and_follows_what_is_loaded() -> None:
    case = Case("lstm", L=2, D=2, B=9)
    d, layer = cases.make_data(case), learning(case)
    y = layer(d.x)[0].copy()
    np.testing.assert_array_equal(layer.eval()(d.x)[0], y)
    if layer.device == "cpu":
        with pytest.raises(ValueError, match=r"^initial_state_1: .* read-only .*`layer.train\(\)`"):
            layer.initial_state_1[...] = 0
    zeros = {n: 0 * a if n.startswith("initial") else a for n, a in layer.state_dict().items()}
    layer.load_state_dict(zeros)
    np.testing.assert_array_equal(layer(d.x)[0], cases.make_layer(case).eval()(d.x)[0])
    with pytest.raises(ValueError, match="missing 'initial_state_0', 'initial_state_1'"):
        layer.load_state_dict(cases.make_layer(case).state_dict())


@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_learn_for_themselves(make: Any) -> None:
    case = Case("gru")
    d, layer = cases.make_data(case), learning(case)
    layer(d.x)
    twin = make(layer)
    assert repr(twin) == repr(layer)
    y, _ = twin(d.x)
    twin.backward(d.dy)
    assert not any(g.any() for g in initial_gradients(layer))
    layer.backward(d.dy)
    np.testing.assert_array_equal(twin.initial_state_0.grad, layer.initial_state_0.grad)
    twin.initial_state_0[...] = 0
    assert (twin(d.x)[0] != y).any()
    np.testing.assert_array_equal(layer.eval()(d.x)[0], y)


@pytest.mark.parametrize("T", [0, 4])
@pytest.mark.parametrize("B", [0, 3])
def test_empty_batches_and_sequences_end_where_they_start(T: int, B: int) -> None:
    case = Case("lstm", H=5)
    layer = learning(case)
    y, (h, _) = layer(np.zeros((T, B, 4), np.float32), lengths=np.zeros(B, int))
    np.testing.assert_array_equal(h, broadcast(case, B)[0])
    layer.backward(np.ones_like(y), (np.ones_like(h), None))
    dh, dc = initial_gradients(layer)
    assert (dh == B).all()
    assert not dc.any()


def test_learned_states_of_a_model_are_its_parameters() -> None:
    class Model(rnnfast.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [rnnfast.GRU(3, 4, learn_state=True), rnnfast.LSTM(4, 4)]

    names = [p.name for p in Model().parameters() if "initial" in p.name]
    assert names == ["layers.0.initial_state_0"]


def test_wrong_arguments_are_refused_as_without_learned_states() -> None:
    layer = rnnfast.LSTM(3, 5, learn_state=True)
    x = np.zeros((4, 2, 3), np.float32)
    with pytest.raises(ValueError, match=r"x: expected shape \(seq_len, batch, input_size"):
        layer(x[0])
    with pytest.raises(ValueError, match="x: expected indices"):
        layer(np.zeros(4, int))
    with pytest.raises(TypeError, match="state: expected a tuple of 2 arrays"):
        layer(x, x)
    with pytest.raises(ValueError, match=r"state: expected shape .*= \(1, 2, 5\)"):
        layer(x, (x, None))
    with pytest.raises(TypeError, match="learn_state: expected True or False, got 1"):
        rnnfast.GRU(3, 5, learn_state=1)  # type: ignore[arg-type]


def test_a_layer_learns_the_state_that_made_its_data() -> None:
    """Gradient descent finds the initial state, which is the only unknown."""
    case = Case("gru", T=3, B=8, I=4, H=6, dtype="float64")
    x, teacher = cases.make_data(case).x, learning(case).eval()
    target, _ = teacher(x)
    student = learning(case)
    student.initial_state_0[...] = 0
    optimizer = rnnfast.Adam([student.initial_state_0], lr=0.05)
    for _ in range(400):
        y, _ = student(x)
        student.backward(y - target)
        optimizer.step(zero_grad=True)
    found, wanted = student.initial_state_0.value, teacher.initial_state_0.value
    assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()
