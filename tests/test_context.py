"""Contexts of recurrent layers: values and gradients, and the bits of other calls."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from context_cases import (
    C,
    Context,
    assert_as_reference,
    make_context,
    make_layer,
    names,
    run_layer,
    run_reference,
)
from noise_cases import ALL, EARLY_STATE, KINDS, made, masks_of
from reset_cases import random_resets
from sequence_cases import DTYPES

SIZES: dict[str, dict[str, Any]] = {
    "layers": {"T": 7, "B": 5, "H": 9, "L": 2, "D": 2, "lengths": True},
    "few rows": {"T": 3, "B": 2, "H": 35},
    "many rows": {"T": 6, "B": 40, "H": 70},
}
FEW = ["lstm", "gru_reset_before", "slstm", EARLY_STATE]
by_step = pytest.mark.parametrize("by_step", [False, True])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@by_step
@pytest.mark.parametrize("cell", [*ALL, "slstm"])
def test_contexts_match_the_reference(cell: str, by_step: bool, size: str, dtype: str) -> None:
    case = made(cell, dtype=dtype, **SIZES[size])
    assert_as_reference(case, by_step)
    assert_as_reference(case, by_step, random_resets(case))


@by_step
@pytest.mark.parametrize(
    "options",
    [
        {"P": 3, "D": 2, "lengths": True},
        {"indices": True, "L": 2, "lengths": True},
        {"indices": True, "T": 3, "B": 2},
        {"precision": "bfloat16", "L": 2},
        {"precision": "bfloat16", "cell": "gru", "D": 2, "lengths": True},
        {"bias": False, "L": 2},
        {"T": 60, "B": 20},  # several chunks
        {"T": 0},
        {"B": 0},
    ],
    ids=str,
)
def test_other_networks_match_the_reference(options: dict[str, Any], by_step: bool) -> None:
    case = Case(**{"cell": "lstm", "T": 8, "B": 6, "I": 7, "H": 19} | options)
    assert_as_reference(case, by_step)
    if case.T and case.B:
        assert_as_reference(case, by_step, random_resets(case))


@by_step
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "mut3", EARLY_STATE])
def test_noise_inside_the_steps_and_recomputation(cell: str, by_step: bool) -> None:
    case = made(cell, T=7, B=5, H=18, L=2, D=2, lengths=True)
    noise, reset, seed = {**KINDS["all"], "dropout": 0.3}, random_resets(case), 7
    masks = masks_of(case, seed, **KINDS["all"])
    del masks["candidate_masks"]
    _, _, reserve = cases.forward(case, training=True, seed=seed, reset=reset, **noise)
    masks["dropout_masks"] = [reserve.core.dropout_mask(0)]
    for recompute in (False, 2):
        layer = make_layer(case, make_context(case, by_step), recompute=recompute, **noise)
        layer._generator = SimpleNamespace(integers=lambda _: seed)  # type: ignore[assignment]
        assert_as_reference(case, by_step, reset, masks, layer=layer)


@by_step
@pytest.mark.parametrize("cell", ["lstm", "gru", "peephole_lstm", "rnn_relu"])
def test_a_context_by_step_is_a_part_of_the_input(cell: str, by_step: bool) -> None:
    """A layer of input size I + C that gets [x; v] computes the same."""
    case = Case(cell, T=6, B=4, D=2, dtype="float64", lengths=True)
    context, data = make_context(case, by_step), cases.make_data(case)
    got = run_layer(case, context)
    every = np.broadcast_to(context.values, (case.T, case.B, C))
    weights = [
        (np.concatenate([w[0], of_context], 1), *w[1:])
        for w, of_context in zip(data.weights, context.weights, strict=True)
    ]
    joined = data._replace(x=np.concatenate([data.x, every], 2), weights=weights)
    expected = cases.run_engine(replace(case, I=case.I + C), data=joined)
    dx = expected.pop("dx")
    expected["dx"] = dx[..., : case.I]
    dcontext = dx[..., case.I :]
    expected["dcontext"] = dcontext if by_step else dcontext.sum(0)
    for suffix in ("_l0", "_l0_reverse"):
        both = expected.pop(f"dweight_ih{suffix}")
        expected[f"dweight_ih{suffix}"] = both[:, : case.I]
        expected[f"dweight_ch{suffix}"] = both[:, case.I :]
    assert sorted(got) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("precision", ["full", "bfloat16"])
@by_step
@pytest.mark.parametrize("cell", FEW)
def test_threads_and_recomputation_leave_the_bits(cell: str, by_step: bool, precision: str) -> None:
    for size in ({"T": 300, "B": 3, "H": 18}, {"T": 30, "B": 70, "H": 70}):
        case = made(cell, **size, D=2, lengths=True, precision=precision)
        context, reset = make_context(case, by_step), random_resets(case, 0.05)
        rnnfast.set_num_threads(1)
        kept = run_layer(case, context, reset=reset)
        for threads, recompute in ((2, False), (1, True), (3, 100)):
            rnnfast.set_num_threads(threads)
            got = run_layer(case, context, reset=reset, recompute=recompute)
            cases.assert_identical(got, kept)


@pytest.mark.parametrize("resets", [False, True])
@by_step
@pytest.mark.parametrize("cell", FEW)
def test_a_sequence_has_the_same_bits_alone_and_in_a_batch(
    cell: str, by_step: bool, resets: bool
) -> None:
    for size in ({"T": 40, "B": 20, "H": 33, "L": 2}, {"T": 3, "B": 2, "H": 17, "D": 2, "L": 2}):
        case = made(cell, **size, lengths=True)
        context, data = make_context(case, by_step), cases.make_data(case)
        reset = random_resets(case, 0.15) if resets else None
        layer = make_layer(case, context)
        of_batch = run_layer(case, context, reset=reset, layer=layer)
        for b in range(case.B):
            one = cases.select(data, np.array([b]), case.T, lengths=True)
            values = np.ascontiguousarray(context.values[..., b : b + 1, :])
            alone = run_layer(
                replace(case, B=1),
                Context(values, context.weights),
                one,
                None if reset is None else np.ascontiguousarray(reset[:, b : b + 1]),
                layer,
            )
            for name, axis in (("y", 1), ("dx", 1), ("dstate[0]", 1), ("dcontext", -2)):
                expected = np.take(of_batch[name], [b], axis)
                assert alone[name].tobytes() == expected.tobytes(), name


@by_step
def test_zeros_as_weights_leave_the_bits_of_a_layer_without_a_context(by_step: bool) -> None:
    case = Case("lstm", T=6, B=5, H=17, L=2, D=2, lengths=True)
    context = make_context(case, by_step)
    zeros = Context(context.values, [np.zeros_like(w) for w in context.weights])
    got = run_layer(case, zeros)
    expected = cases.run_engine(case)
    cases.assert_identical({name: got[name] for name in expected}, expected)
    assert not got["dcontext"].any()


@pytest.mark.parametrize("batch_first", [False, True])
@by_step
def test_layers_calls_and_evaluation(by_step: bool, batch_first: bool) -> None:
    case = Case("lstm", T=6, B=4, H=9, L=2, D=2, lengths=True)
    context, d = make_context(case, by_step), cases.make_data(case)
    expected = run_layer(case, context)
    layer = make_layer(case, context, batch_first=batch_first)

    def turn(a: np.ndarray) -> np.ndarray:
        return a.swapaxes(0, 1) if batch_first and a.ndim == 3 else a

    values = turn(context.values)
    call = layer.call(turn(d.x), d.state, d.lengths, None, values)
    other = layer.call(turn(d.x), d.state, d.lengths, context=values.tolist())
    dcontext = np.ones_like(values)
    dx, _ = call.backward(turn(d.dy), d.dstate, dcontext=dcontext)
    assert dx is not None
    np.testing.assert_array_equal(turn(dx), expected["dx"])
    np.testing.assert_allclose(turn(dcontext), 1 + expected["dcontext"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(turn(other.y), expected["y"])
    np.testing.assert_array_equal(other.backward(turn(d.dy), d.dstate)[0], dx)
    for name in names(case):
        twice = 2 * expected[f"d{name}"]
        np.testing.assert_allclose(getattr(layer, name).grad, twice, rtol=1e-5, atol=1e-6)
    layer.eval()
    for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        y, _ = twin(turn(d.x), d.state, d.lengths, context=values)
        np.testing.assert_array_equal(turn(y), expected["y"])


def test_a_copy_trains_its_own_weights() -> None:
    case = Case("gru", T=3, B=2)
    context, d = make_context(case, False), cases.make_data(case)
    layer = make_layer(case, context)
    twin = copy.deepcopy(layer)
    twin.weight_ch_l0 *= 2
    y, _ = layer(d.x, context=context.values)
    other, _ = twin(d.x, context=context.values)
    assert not np.array_equal(y, other)
    twin.backward(d.dy)
    assert twin.weight_ch_l0.grad.any()
    assert not layer.weight_ch_l0.grad.any()


def test_frozen_weights_get_no_gradient() -> None:
    case = Case("lstm", T=3, B=2, D=2)
    context, d = make_context(case, False), cases.make_data(case)
    layer = make_layer(case, context)
    layer.weight_ch_l0.requires_grad = False
    layer(d.x, context=context.values)
    layer.backward(d.dy)
    assert not layer.weight_ch_l0.grad.any()
    assert layer.weight_ch_l0_reverse.grad.any()


def test_learned_states_go_with_a_context() -> None:
    case = Case("gru", T=4, B=3, dtype="float64")
    context, d = make_context(case, False), cases.make_data(case)
    layer = make_layer(case, context)
    learning = cases.new_layer(case, context_size=C, learn_state=True)
    learned = d.state[0][:, 0]
    learning.load_state_dict(layer.state_dict() | {"initial_state_0": learned})
    given = np.repeat(learned[:, None], case.B, 1)
    y, _ = layer(d.x, given, context=context.values)
    dx, dh = layer.backward(d.dy)
    again, _ = learning(d.x, context=context.values)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(learning.backward(d.dy)[0], dx)
    np.testing.assert_allclose(learning.initial_state_0.grad, dh.sum(1), rtol=1e-13)


@by_step
def test_tensors_take_gradients_of_the_context(by_step: bool) -> None:
    case = Case("lstm", T=6, B=4, H=9, L=2, dtype="float64")
    context, d = make_context(case, by_step), cases.make_data(case)
    layer = make_layer(case, context)
    expected = run_reference(case, context, data=d._replace(dstate=(None, None)))
    x, v = (rnnfast.tensor(a, requires_grad=True) for a in (d.x, context.values))
    y, _ = layer(x, d.state, context=v)
    (y * d.dy).sum().backward()
    for got, name in ((x, "dx"), (v, "dcontext")):
        assert got.grad is not None
        np.testing.assert_allclose(got.grad, expected[name], rtol=0, atol=1e-13)
    layer.zero_grad()
    y, _ = layer(rnnfast.tensor(d.x), d.state, context=context.values)
    (y * d.dy).sum().backward()
    got_weight = layer.weight_ch_l1.grad
    np.testing.assert_allclose(got_weight, expected["dweight_ch_l1"], rtol=0, atol=1e-13)

    def loss(v: Any) -> Any:
        return (layer(rnnfast.tensor(d.x), context=v)[0] * d.dy).sum()

    assert rnnfast.gradcheck(loss, [context.values], parameters=[layer.weight_ch_l0])


def test_files_hold_the_weights_of_a_context(tmp_path: Path) -> None:
    layer = rnnfast.GRU(3, 5, 2, context_size=4, seed=1)
    assert "context_size=4" in repr(layer)
    assert list(layer.state_dict())[4] == "weight_ch_l0"
    path = tmp_path / "layer.safetensors"
    layer.save(path)
    loaded: Any = rnnfast.Module.load(path)
    assert loaded.context_size == 4
    x, v = np.ones((2, 1, 3), "f"), np.ones((1, 4), "f")
    np.testing.assert_array_equal(loaded(x, context=v)[0], layer(x, context=v)[0])


def test_other_weights_are_drawn_as_without_a_context() -> None:
    plain, with_context = (rnnfast.LSTM(3, 5, context_size=n, seed=1) for n in (0, 4))
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(with_context.state_dict()[name], value)
    assert np.abs(with_context.weight_ch_l0.value).max() <= 5**-0.5


@by_step
@pytest.mark.parametrize("batch_first", [False, True])
def test_traces_have_the_states_of_calls(by_step: bool, batch_first: bool) -> None:
    case = Case("lstm", T=300, B=4, H=9, L=2, D=2, lengths=True)  # several chunks
    context, d = make_context(case, by_step), cases.make_data(case)
    layer = make_layer(case, context, batch_first=batch_first).eval()

    def turn(a: np.ndarray) -> np.ndarray:
        return a.swapaxes(0, 1) if batch_first and a.ndim == 3 else a

    values = turn(context.values)
    y, _ = layer(turn(d.x), d.state, d.lengths, context=values)
    states = rnnfast.trace(layer, turn(d.x), d.state, lengths=d.lengths, context=values)
    both = np.concatenate([states["l1"]["h"], states["l1_reverse"]["h"]], -1)
    np.testing.assert_array_equal(both, turn(y))

    class Model(rnnfast.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = layer

        def __call__(self, x: Any, context: Any) -> Any:
            return self.lstm(x, d.state, d.lengths, context=context)

    inside = rnnfast.trace(Model(), turn(d.x), context=values)
    np.testing.assert_array_equal(inside["lstm.l1"]["c"], states["l1"]["c"])
    with pytest.raises(ValueError, match="context: expected shape"):
        rnnfast.trace(layer, turn(d.x))
    with pytest.raises(ValueError, match="context: expected None, as the layer has context_size"):
        rnnfast.trace(rnnfast.GRU(3, 4), np.zeros((2, 1, 3), "f"), context=np.zeros((1, 4), "f"))
