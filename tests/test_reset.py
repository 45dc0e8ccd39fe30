"""Resets, which cut sequences into episodes: values and gradients, and the bits of other calls."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cases
import rnnfast
from cases import Case
from layer_cases import bare, learned_rows, learning, listed
from noise_cases import ALL, EARLY_STATE, KINDS, made, masks_of
from reset_cases import (
    assert_as_reference,
    by_one_call,
    by_separate_calls,
    data_of,
    episodes,
    random_resets,
)
from rnnfast import functional
from rnnfast._engine import arguments
from sequence_cases import DTYPES

SIZES: dict[str, dict[str, Any]] = {
    "layers": {"T": 7, "B": 5, "H": 9, "L": 2, "D": 2, "lengths": True},
    "one sequence": {"T": 9, "B": 1, "H": 35},
    "many rows": {"T": 6, "B": 40, "H": 70},
}
FEW = ["lstm", "gru_reset_before", "slstm", EARLY_STATE]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cell", [*ALL, "slstm"])
def test_resets_match_the_reference(cell: str, size: str, dtype: str) -> None:
    case = made(cell, dtype=dtype, **SIZES[size])
    for with_row in (False, True):
        assert_as_reference(case, random_resets(case), with_row, {})


@pytest.mark.parametrize(
    "options",
    [
        {"P": 3, "D": 2, "lengths": True},
        {"indices": True, "L": 2, "lengths": True},
        {"precision": "bfloat16", "L": 2},
        {"bias": False, "L": 2},
        {"T": 60, "B": 20},  # several chunks
    ],
    ids=str,
)
def test_other_networks_match_the_reference(options: dict[str, Any]) -> None:
    case = Case("lstm", **{"T": 8, "B": 6, "I": 7, "H": 19} | options)
    assert_as_reference(case, random_resets(case), True, {})


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "mut3", EARLY_STATE])
def test_masks_of_noise_do_not_depend_on_resets(cell: str, lengths: bool) -> None:
    case = made(cell, T=7, B=5, H=18, L=2, D=2, lengths=lengths)
    reset, noise = random_resets(case), KINDS["all"]
    if cell in ("lstm", "gru_reset_before"):
        noise = {**noise, "candidate_dropout": 0.3}
    options: dict[str, Any] = {"seed": 7, "dropout": 0.3, **noise}
    masks = masks_of(case, 7, **noise)
    for name, of_name in masks_of(case, 7, reset=reset, **noise).items():
        np.testing.assert_equal(of_name, masks[name])
    _, _, reserve = cases.forward(case, training=True, reset=reset, **options)
    masks["masks"] = [reserve.core.dropout_mask(0)]
    running = np.ones((case.T, case.B), bool)
    if case.lengths:
        running = np.arange(case.T)[:, None] < cases.make_data(case).lengths
    _, _, plain = cases.forward(case, training=True, **options)
    np.testing.assert_array_equal(plain.core.dropout_mask(0)[running], masks["masks"][0][running])
    if "candidate_dropout" not in noise:
        del masks["candidate_masks"]
    for recompute in (False, 2):
        assert_as_reference(case, reset, True, masks, recompute=recompute, **options)


def test_zoneouts_expectation() -> None:
    case = Case("lstm", T=6, B=4, H=11, D=2, dtype="float64")
    reset = random_resets(case)
    shares = [np.full((case.T, case.B, case.H), 0.7)] * 2
    expected = cases.run_reference(case, reset=reset, zoneout_masks=[shares] * 2)
    y, final, _ = cases.forward(case, reset=reset, zoneout=0.3)
    for got, wanted in ((y, expected["y"]), (final[1], expected["state[1]"])):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
@pytest.mark.parametrize("recompute", [False, 3])
@pytest.mark.parametrize("cell", FEW)
def test_every_episode_has_the_bits_of_its_own_call(
    cell: str, recompute: bool | int, precision: str
) -> None:
    for sizes in ({"T": 40, "B": 20, "H": 33, "L": 2}, {"T": 9, "B": 3, "H": 17, "D": 2, "L": 2}):
        case = made(cell, **sizes, lengths=True, precision=precision)
        data, reset = data_of(case, with_row=True), random_resets(case, 0.15)
        got = by_one_call(case, data, reset, recompute=recompute)
        cases.assert_identical(got, by_separate_calls(case, data, reset))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_mask_gives_the_bits_of_separate_calls(draw: st.DataObject) -> None:
    case = made(
        draw.draw(st.sampled_from([*FEW, "peephole_lstm"]), "cell"),
        T=draw.draw(st.integers(0, 7), "T"),
        B=draw.draw(st.integers(1, 4), "B"),
        H=draw.draw(st.sampled_from([1, 9, 17]), "H"),
        L=draw.draw(st.integers(1, 2), "L"),
        D=draw.draw(st.integers(1, 2), "D"),
        indices=draw.draw(st.booleans(), "indices"),
        lengths=draw.draw(st.booleans(), "lengths"),
    )
    count = case.T * case.B
    flags = draw.draw(st.lists(st.booleans(), min_size=count, max_size=count), "reset")
    reset = np.array(flags, bool).reshape(case.T, case.B)
    data = data_of(case, draw.draw(st.booleans(), "with_row"))
    if case.lengths:
        lengths = st.lists(st.integers(0, case.T), min_size=case.B, max_size=case.B)
        data = data._replace(lengths=np.array(draw.draw(lengths, "lengths"), np.int64))
    got = by_one_call(case, data, reset)
    cases.assert_identical(got, by_separate_calls(case, data, reset))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("cell", FEW)
def test_threads_and_recomputation_leave_the_bits(cell: str) -> None:
    for size in ({"T": 300, "B": 3, "H": 18}, {"T": 30, "B": 70, "H": 70}):
        case = made(cell, **size, D=2, lengths=True)
        options = {"reset": random_resets(case, 0.05), "data": data_of(case, with_row=True)}
        rnnfast.set_num_threads(1)
        kept = cases.run_engine(case, **options)
        for threads, recompute in ((2, False), (1, True), (3, 100)):
            rnnfast.set_num_threads(threads)
            got = cases.run_engine(case, recompute=recompute, **options)
            cases.assert_identical(got, kept)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("with_row", [False, True])
def test_masks_without_an_effect_leave_the_bits(lengths: bool, with_row: bool) -> None:
    """Values after the end of a sequence are not read, and no reset is no change."""
    case = Case("lstm", T=6, B=5, H=17, L=2, D=2, lengths=lengths)
    data, unread = cases.make_data(case), np.zeros((case.T, case.B), bool)
    if data.lengths is not None:
        unread = np.arange(case.T)[:, None] >= data.lengths
    if with_row:
        rows = [np.full_like(state[:, :1], np.nan) for state in data.state]
        joined = [np.concatenate(parts, 1) for parts in zip(data.state, rows, strict=True)]
        data = data._replace(state=tuple(joined))
    got = cases.run_engine(case, data=data, reset=unread)
    for k in range(2):
        assert not got[f"dstate[{k}]"][:, case.B :].any()
        got[f"dstate[{k}]"] = got[f"dstate[{k}]"][:, : case.B].copy()
    cases.assert_identical(got, cases.run_engine(case))


def test_no_gradient_passes_a_reset_and_the_given_state_is_discarded() -> None:
    case = Case("gru", T=4, B=2, H=9)
    d = cases.make_data(case)
    reset = np.zeros((4, 2), bool)
    reset[2, 0] = reset[0, 1] = True
    spoiled = d.state[0].copy()
    spoiled[:, 1] = np.nan
    y, _, reserve = cases.forward(case, d._replace(state=(spoiled,)), reset=reset, training=True)
    assert np.isfinite(y).all()
    dy = np.zeros_like(d.dy)
    dy[2:] = d.dy[2:]
    dx, (dstate,), _ = functional.backward(reserve, dy)
    assert dx is not None
    assert not dx[:2, 0].any()
    assert dx[:2, 1].any()
    assert not dstate.any()
    y, _, reserve = cases.forward(case, d, reset=reset, training=True)
    _, (dstate,), _ = functional.backward(reserve, d.dy)
    assert dstate[0, 0].any()
    assert not dstate[0, 1].any()


def test_evaluation_packed_weights_and_states_over_time() -> None:
    case = Case("lstm", T=6, B=5, H=17, L=2, D=2, lengths=True)
    d, reset = data_of(case, with_row=True), random_resets(case)
    y, final, reserve = cases.forward(case, d, reset=reset, training=True)
    packed = functional.pack("lstm", cases.weights_of(d), **case.options)
    options = {"lengths": d.lengths, "reset": reset, **case.options}
    again, final_again, _ = functional.forward("lstm", d.x, packed, d.state, **options)
    cases.assert_identical(
        {"y": again, "h": final_again[0], "c": final_again[1]},
        {"y": y, "h": final[0], "c": final[1]},
    )
    c = reserve.core.states_over_time(0, 1)
    assert d.lengths is not None
    for b, _, end, _, ends in episodes(reset, d.lengths):
        if end and ends[0]:
            np.testing.assert_array_equal(c[end - 1, b], final[1][0, b])
            assert not c[end:, b].any()


def test_what_resets_keep() -> None:
    """Memory follows the formula of `functional.Reserve`."""
    case = Case("lstm", T=8, B=4, I=16, H=64)  # whole tiles and cache lines
    reset = random_resets(case)
    count = len(list(episodes(reset, None)))

    def nbytes(**options: Any) -> int:
        _, _, reserve = cases.forward(case, training=True, **options)
        return int(reserve.nbytes)

    rows = case.T * case.B
    added = (count - case.B) * case.H + rows * (case.I + case.H)
    assert nbytes(reset=reset) == nbytes() + 4 * added


@pytest.mark.parametrize("state", ["learned", "given", "h given"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers_reset_to_their_learned_state(batch_first: bool, state: str) -> None:
    case = Case("lstm", T=7, B=5, H=9, L=2, D=2, lengths=True, dtype="float64")
    d, reset = cases.make_data(case), random_resets(case)
    layer = learning(case, batch_first=batch_first)
    rows = [np.repeat(r[:, None], case.B + 1, axis=1) for r in learned_rows(case)]
    given: Any = {"learned": None, "given": d.state, "h given": (d.state[0], None)}[state]
    for k, part in enumerate(given or ()):
        if part is not None:
            rows[k][:, : case.B] = part
    expected = cases.run_reference(case, data=d._replace(state=tuple(rows)), reset=reset)
    turn = (lambda a: a.swapaxes(0, 1)) if batch_first else (lambda a: a)
    y, final = layer(turn(d.x), given, d.lengths, turn(reset))
    dx, dinitial = layer.backward(turn(d.dy), d.dstate)
    got = {"y": turn(y), "dx": turn(dx)}
    got |= {f"state[{k}]": s for k, s in enumerate(final)}
    for name, values in got.items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-13)
    for k, of_state in enumerate(dinitial):
        of_all = expected[f"dstate[{k}]"]
        np.testing.assert_allclose(of_state, of_all[:, : case.B], rtol=0, atol=1e-13)
        own = of_all if given is None or given[k] is None else of_all[:, case.B :]
        learned = getattr(layer, f"initial_state_{k}").grad
        np.testing.assert_allclose(learned, own.sum(axis=1), rtol=0, atol=1e-12)


def test_calls_and_tensors_take_resets() -> None:
    case = Case("lstm", T=6, B=4, H=9, L=2)
    d, reset = cases.make_data(case), random_resets(case)
    layer = cases.make_layer(case)
    y, final = layer(d.x, d.state, reset=reset)
    dx, dstate = layer.backward(d.dy, d.dstate)
    call = layer.call(d.x, d.state, None, reset.astype(np.uint8))
    np.testing.assert_array_equal(call.y, y)
    again, of_state = call.backward(d.dy, d.dstate)
    np.testing.assert_array_equal(again, dx)
    np.testing.assert_array_equal(of_state, dstate)
    x = rnnfast.tensor(d.x, requires_grad=True)
    of_tensors, _ = layer(x, d.state, reset=reset.tolist())
    np.testing.assert_array_equal(of_tensors.value, y)
    (of_tensors * d.dy).sum().backward()
    expected, _ = layer.call(d.x, d.state, reset=reset).backward(d.dy)
    np.testing.assert_array_equal(x.grad, expected)
    layer.eval()
    np.testing.assert_array_equal(layer(d.x, d.state, reset=reset)[0], y)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(d.x, d.state, reset=reset)[0], y)
    assert listed(bare(final))


def test_streams_reset_to_the_same_bits() -> None:
    layer = rnnfast.GRU(4, 9, 2, learn_state=True, seed=1).eval()
    x = np.random.default_rng(1).standard_normal((8, 3, 4)).astype("f")
    reset = np.random.default_rng(2).random((8, 3)) < 0.3
    y, _ = layer(x, reset=reset)
    stream = layer.stream(3)
    for step, starts, expected in zip(x, reset, y, strict=True):
        stream.reset(np.flatnonzero(starts))
        np.testing.assert_array_equal(stream(step), expected)


def test_containers_pass_resets_to_recurrent_layers() -> None:
    inner = rnnfast.GRU(5, 5, seed=2)
    lstm, linear = rnnfast.LSTM(3, 5, seed=1), rnnfast.Linear(5, 2, seed=3)
    residual = rnnfast.Residual(rnnfast.Sequential(rnnfast.LayerNorm(5), inner))
    model = rnnfast.Sequential(lstm, rnnfast.Tanh(), residual, linear)
    x = np.random.default_rng(1).standard_normal((6, 4, 3)).astype("f")
    reset = np.random.default_rng(2).random((6, 4)) < 0.3
    lengths = np.array([6, 2, 0, 5])
    y = model(x, lengths, reset)
    dx = model.backward(np.ones_like(y))
    h = np.tanh(lstm.eval()(x, lengths=lengths, reset=reset)[0])
    h = h + inner.eval()(residual.layer[0](h), lengths=lengths, reset=reset)[0]  # type: ignore[index]
    np.testing.assert_allclose(y, linear(h), rtol=0, atol=1e-6)
    call = model.train().call(x, lengths, reset)
    np.testing.assert_array_equal(call.backward(np.ones_like(y)), dx)
    of_tensor = model(rnnfast.tensor(x), lengths, reset)
    np.testing.assert_array_equal(of_tensor.value, y)


def test_containers_refuse_resets_that_they_cannot_keep() -> None:
    x, reset = np.zeros((4, 2, 3), "f"), np.zeros((4, 2), bool)
    with pytest.raises(ValueError, match="reset: expected None, as no recurrent layer would take"):
        rnnfast.Sequential(rnnfast.Linear(3, 3))(x, reset=reset)
    with pytest.raises(ValueError, match="reset: expected None, as no recurrent layer would take"):
        rnnfast.Residual(rnnfast.Linear(3, 3))(x, reset=reset)
    gru = rnnfast.GRU(3, 3)
    with pytest.raises(ValueError, match="reset: expected None with Conv1d, which computes from"):
        rnnfast.Sequential(rnnfast.Conv1d(3, 3, 3, padding="same"), gru)(x, reset=reset)
    nested = rnnfast.Residual(rnnfast.Sequential(gru, rnnfast.Conv1d(3, 3, 3, padding="same")))
    with pytest.raises(ValueError, match="reset: expected None with Conv1d"):
        nested(x, reset=reset)
    with pytest.raises(ValueError, match=r"reset: expected shape \(seq_len, batch\) = \(4, 2\)"):
        rnnfast.Sequential(gru)(x, reset=reset.T)


WRONG: list[tuple[Any, type[Exception], str]] = [
    (np.zeros((3, 4)), TypeError, r"reset: expected an array of booleans, or .*, got float64"),
    (np.zeros((4, 3), bool), ValueError, r"reset: expected .*= \(3, 4\), got \(4, 3\)"),
    (np.zeros(3, bool), ValueError, r"reset: expected shape .*= \(3, 4\), got \(3,\)"),
    (np.full((3, 4), 2), ValueError, r"reset: expected booleans, or .*, got values from 2 to 2"),
    (np.full((3, 4), "a"), TypeError, r"reset: expected an array of booleans, or .*, got <U1"),
    (np.ma.zeros((3, 4), bool), TypeError, "reset: expected an array without a mask"),
]


@pytest.mark.parametrize(("reset", "error", "message"), WRONG)
def test_a_wrong_mask_is_named(reset: Any, error: type[Exception], message: str) -> None:
    case = Case("lstm", T=3, B=4)
    d = cases.make_data(case)
    with pytest.raises(error, match=message):
        cases.forward(case, d, reset=reset)
    with pytest.raises(error, match=message):
        cases.make_layer(case)(d.x, reset=reset)


def test_a_mask_of_the_other_order_of_axes_is_named() -> None:
    layer = rnnfast.GRU(4, 5, batch_first=True)
    with pytest.raises(ValueError, match=r"reset: .* \(batch, seq_len\) = \(3, 6\), got \(6, 3\)"):
        layer(np.zeros((3, 6, 4), "f"), reset=np.zeros((6, 3), bool))


def test_a_row_for_resets_needs_resets() -> None:
    case = Case("lstm", T=3, B=4)
    d = data_of(case, with_row=True)
    with pytest.raises(
        ValueError, match=r"state: expected shape .* = \(1, 4, 8\), got \(1, 5, 8\)"
    ):
        cases.forward(case, d)
    h, c = d.state
    with pytest.raises(
        ValueError, match=r"state: expected shape .* = \(1, 5, 8\), got \(1, 4, 8\)"
    ):
        cases.forward(case, d._replace(state=(h, c[:, :4])), reset=random_resets(case))
    layer = rnnfast.LSTM(4, 8, learn_state=True)
    with pytest.raises(ValueError, match=r"state: expected shape .*\(1, 5, 8\), got \(1, 3, 8\)"):
        layer(d.x, (h[:, :2], None), reset=random_resets(case))


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool"])
def test_other_forms_of_the_mask_give_the_same_bits(dtype: str) -> None:
    case = Case("gru", T=5, B=4)
    reset = random_resets(case)
    expected = cases.run_engine(case, reset=reset)
    for other in (reset.astype(dtype, order="F"), reset.astype(dtype).tolist()):
        cases.assert_identical(cases.run_engine(case, reset=other), expected)


def test_traces_refuse_resets() -> None:
    class Model(rnnfast.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = rnnfast.GRU(3, 4)

        def __call__(self, x: Any) -> Any:
            return self.gru(x, reset=np.ones((2, 1), bool))

    with pytest.raises(ValueError, match="reset: expected None, as traced sequences have no rese"):
        rnnfast.trace(Model(), np.zeros((2, 1, 3), "f"))


def test_devices_without_resets_refuse_them() -> None:
    device: Any = SimpleNamespace(name="cuda", resets=False)
    with pytest.raises(ValueError, match="reset: expected None on device 'cuda', which does not"):
        arguments.checked_reset(device, np.zeros((2, 3), bool), (2, 3))
