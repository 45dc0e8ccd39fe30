"""The reference itself: gradients by central differences, known values, semantics."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import cases
import tolerances
from cases import Case
from rnnfast import functional
from rnnfast._engine.known import COMPILED, cell_named
from rnnfast.cells import ZOO
from rnnfast.reference import CELLS, Network, min_char_rnn
from rnnfast.reference.tape import Var


def test_registry_is_the_engines() -> None:
    known = functional.cells()
    compiled = {name: known[name] for name in COMPILED}
    engine = {name: (c.states, c.gates, c.params) for name, c in compiled.items()}
    reference = {name: (c.states, c.gates, c.params) for name, c in CELLS.items()}
    assert list(engine.items()) == list(reference.items())


def objective(case: Case, data: cases.Data) -> float:
    """Return the scalar whose gradients `run_reference` computes from dy and dstate."""
    network = Network(
        CELLS[case.cell],
        data.x,
        data.weights,
        data.state,
        lengths=data.lengths,
        bidirectional=case.D == 2,
    )
    parts = zip((network.y, *network.state), (data.dy, *data.dstate), strict=True)
    return sum(float((values * gradient).sum()) for values, gradient in parts)


@pytest.mark.parametrize(
    "case",
    [
        *[Case(cell, T=3, B=2, I=2, H=3, dtype="float64") for cell in CELLS],
        Case("peephole_lstm", T=3, B=2, I=2, H=2, L=2, D=2, dtype="float64", lengths=True),
        Case("lstm", T=3, B=2, I=2, H=3, P=2, L=2, D=2, dtype="float64", lengths=True),
    ],
    ids=str,
)
def test_gradients_by_central_differences(case: Case) -> None:
    data = cases.make_data(case)
    gradients = cases.run_reference(case)
    inputs = {"dx": data.x} | {f"dstate[{k}]": s for k, s in enumerate(data.state)}
    for k, weights in enumerate(data.weights):
        suffix = f"_l{k // case.D}" + ("_reverse" if k % case.D else "")
        pairs = zip(cases.KINDS, weights, strict=True)
        inputs |= {f"d{kind}{suffix}": w for kind, w in pairs if w is not None}
    assert set(inputs) == {name for name in gradients if name.startswith("d")}

    step = tolerances.CENTRAL_DIFFERENCE_STEP
    for name, values in inputs.items():
        difference = np.zeros_like(values)
        for i in np.ndindex(values.shape):
            here = values[i]
            values[i] = here + step
            above = objective(case, data)
            values[i] = here - step
            difference[i] = (above - objective(case, data)) / (2 * step)
            values[i] = here
        error = cases.worst(gradients[name], difference)
        assert error <= tolerances.CENTRAL_DIFFERENCE, f"{name}: {error}"


def test_nas_known_values() -> None:
    """The values come from TensorFlow's own test of its NASCell, with the authors' settings."""
    x = np.array([[[1.0] * 4, [2.0] * 4, [3.0] * 4]])
    weights = [(np.full((48, 4), 0.5), np.full((48, 6), 0.5), None, None, None)]
    network = Network(CELLS["nas"], x, weights, [np.full((1, 3, 6), 0.1)] * 2)
    h, c = network.state
    for got, expected in (
        (h, [0.576751, 0.618936, 0.627393]),
        (c, [0.715798, 0.780416, 0.794577]),
    ):
        np.testing.assert_allclose(got[0], np.repeat(expected, 6).reshape(3, 6), atol=5e-7)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("directions", [1, 2])
def test_lengths_are_each_sequence_alone(cell: str, directions: int) -> None:
    case = Case(cell, T=4, B=4, I=2, H=3, L=2, D=directions, dtype="float64", lengths=True)
    d = cases.make_data(case)
    whole = cases.run_reference(case)
    assert d.lengths is not None
    for b, length in enumerate(d.lengths):
        alone = cases.Data(
            d.x[:length, b : b + 1],
            d.weights,
            tuple(s[:, b : b + 1] for s in d.state),
            None,
            d.dy[:length, b : b + 1],
            tuple(s[:, b : b + 1] for s in d.dstate),
        )
        one = cases.run_reference(replace(case, T=int(length), B=1), data=alone)
        for name in ("y", "dx"):
            np.testing.assert_allclose(whole[name][:length, b : b + 1], one[name], atol=1e-14)
            assert not whole[name][length:, b].any()
        for name in (name for name in whole if "state" in name):
            np.testing.assert_allclose(whole[name][:, b : b + 1], one[name], atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_reverse_direction_reads_time_backwards(cell: str) -> None:
    case = Case(cell, T=4, B=2, I=2, H=3, D=2, dtype="float64")
    d = cases.make_data(case)
    both = cases.run_reference(case)
    flipped = cases.Data(
        d.x[::-1],
        d.weights[1:],
        tuple(s[1:] for s in d.state),
        None,
        d.dy[::-1, :, 3:],
        tuple(s[1:] for s in d.dstate),
    )
    one = cases.run_reference(replace(case, D=1), data=flipped)
    np.testing.assert_array_equal(both["y"][::-1, :, 3:], one["y"])
    for name in (name for name in one if name.startswith(("dweight", "dbias"))):
        np.testing.assert_allclose(both[f"{name}_reverse"], one[name], atol=1e-14)
    for name in (name for name in one if "state" in name):
        np.testing.assert_allclose(both[name][1:], one[name], atol=1e-14)


def test_indices_are_one_hot_rows() -> None:
    case = Case("lstm", I=5, dtype="float64", indices=True)
    d = cases.make_data(case)
    indexed = cases.run_reference(case)
    one_hot = cases.run_reference(case, data=d._replace(x=np.eye(5)[d.x]))
    assert "dx" not in indexed
    for name, values in indexed.items():
        np.testing.assert_array_equal(values, one_hot[name])


def test_dropout_masks_scale_the_outputs_between_layers() -> None:
    case = Case("gru", L=2, dtype="float64")
    d = cases.make_data(case)
    data = d._replace(dstate=(np.zeros_like(d.dstate[0]),))
    plain = cases.run_reference(case, data=data)
    ones, zeros = np.ones((case.T, case.B, case.H)), np.zeros((case.T, case.B, case.H))
    same = cases.run_reference(case, data=data, masks=[ones])
    np.testing.assert_array_equal(same["y"], plain["y"])
    cut = cases.run_reference(case, data=data, masks=[zeros])
    assert not np.array_equal(cut["y"], plain["y"])
    assert not cut["dx"].any()
    assert not cut["dweight_ih_l1"].any()
    assert cut["dweight_hh_l1"].any()


def tape_of(network: Network) -> Iterator[Var]:
    """Return every value that the outputs and final states of a network are computed from."""
    seen: set[int] = set()
    todo = [*network._ys, *itertools.chain(*network._final)]
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            todo += [parent for parent, _ in node._parents]


@pytest.mark.parametrize("cell", ZOO)
def test_float32_is_computed_in_float32(cell: str) -> None:
    """Every intermediate value and gradient is checked, because results are cast at the end."""
    case = Case(cell, L=2, lengths=True)
    case = replace(case, I=case.H) if cell_named(cell).reads_input else replace(case, D=2)
    d = cases.make_data(case)
    network = Network(
        cell_named(cell),
        d.x,
        d.weights,
        d.state,
        lengths=d.lengths,
        bidirectional=case.D == 2,
        dtype="float32",
    )
    network.backward(d.dy, d.dstate)
    nodes = list(tape_of(network))
    assert len(nodes) > 100
    assert {node.value.dtype for node in nodes} == {np.dtype("float32")}
    gradients = {node.grad.dtype for node in nodes if node.grad is not None}
    assert gradients == {np.dtype("float32")}


def test_min_char_rnn_gradients_are_the_tapes() -> None:
    """Compare the hand-written backward pass with the tape, through the softmax."""
    vocabulary, hidden, steps = 5, 4, 6
    rng = np.random.default_rng(3)
    model = min_char_rnn.CharRnn.initial(vocabulary, hidden, seed=1)
    for w in vars(model).values():
        w += rng.standard_normal(w.shape)
    data, h0 = rng.integers(0, vocabulary, steps + 1), rng.standard_normal(hidden)
    loss, grad, h = min_char_rnn.loss_and_gradients(model, data[:-1], data[1:], h0)

    weights = [(model.w_xh, model.w_hh, model.b_h, None, None)]
    network = Network(CELLS["rnn_tanh"], data[:-1, None], weights, [h0[None, None]])
    logits = network.y[:, 0] @ model.w_hy.T + model.b_y
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = p[np.arange(steps), data[1:]]
    np.testing.assert_allclose(loss, -np.log(chosen).sum(), rtol=1e-13)
    dlogits = p - np.eye(vocabulary)[data[1:]]
    gradients = network.backward((dlogits @ model.w_hy)[:, None])
    dw_xh, dw_hh, db_h, *_ = gradients.dweights[0]
    for got, expected in (
        (grad.w_xh, dw_xh),
        (grad.w_hh, dw_hh),
        (grad.b_h, db_h),
        (grad.w_hy, dlogits.T @ network.y[:, 0]),
        (grad.b_y, dlogits.sum(axis=0)),
        (h, network.state[0][0, 0]),
    ):
        np.testing.assert_allclose(got, expected, atol=1e-13)


def test_min_char_rnn_learns() -> None:
    data = np.tile([0, 1, 2, 2, 3], 60)
    losses = min_char_rnn.train(data, min_char_rnn.CharRnn.initial(4, 16, seed=0))
    first, *_, last = (next(losses) for _ in range(200))
    assert first == pytest.approx(25 * np.log(4), rel=1e-3)
    assert last < 1.0
