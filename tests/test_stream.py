"""Streams: steps of some of the sequences; saving and restoring states."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast._engine import backends
from rnnfast.cells import tanh
from rnnfast.layers.stream_plan import DeviceStepper
from stream_cases import B, H, I, T, layer_of, reals, steps

CELLS = ["lstm", "gru", "rnn_tanh", "peephole_lstm"]


# ---- some of the sequences


@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_some_sequences_leave_the_others_alone(cell: str) -> None:
    layer, x = layer_of(cell), reals(T, B, I)
    y = layer(x)[0]
    stream, taken = layer.stream(B), np.zeros(B, int)
    rng = np.random.default_rng(3)
    while taken.min() < T:
        ready = rng.permutation(np.flatnonzero(taken < T))[: rng.integers(1, B + 1)]
        np.testing.assert_array_equal(stream(x[taken[ready], ready], ready), y[taken[ready], ready])
        taken[ready] += 1
    whole = layer.stream(B)
    steps(whole, x)
    np.testing.assert_array_equal(stream.take().values, whole.take().values)


def test_rows_may_be_any_integers_and_no_rows_at_all() -> None:
    layer, x = layer_of("gru"), reals(B, I)
    expected = layer.stream(B)(x)
    for rows in ([3, 1], (3, 1), np.array([3, 1], np.uint8), np.array([3, 0, 1])[::2]):
        np.testing.assert_array_equal(layer.stream(B)(x[[3, 1]], rows), expected[[3, 1]])
    np.testing.assert_array_equal(layer.stream(B)(x[2:3].tolist(), 2), expected[2:3])
    stream = layer.stream(B)
    assert stream(x[:0], []).shape == (0, H)
    assert not stream.state.any()


@pytest.mark.parametrize("kind", [list, np.array])
def test_rows_that_are_wrong_are_refused(kind: Callable[..., Any]) -> None:
    stream, x = layer_of("gru").stream(3), reals(2, I)
    for rows, error, message in [
        ([0, 3], IndexError, r"in \[0, batch\) = \[0, 3\), got 3"),
        ([-1, 0], IndexError, "got -1"),
        ([1, 1], ValueError, "each sequence once"),
        ([[0, 1]], ValueError, r"expected shape \(sequences,\)"),
        ([0.0, 1.0], TypeError, "integers"),
        ([True, False], TypeError, "integers"),
        ([0, 1, 2], ValueError, r"x: expected shape \(batch, input_size\) = \(3, 6\)"),
    ]:
        with pytest.raises(error, match=message):
            stream(x, kind(rows))
        if error is not ValueError or "x:" not in message:
            with pytest.raises(error, match=message):
                stream.reset(kind(rows))
    assert not stream.state.any()


# ---- states


@pytest.mark.parametrize("cell", CELLS)
def test_sequences_go_on_in_another_stream_at_another_place(cell: str) -> None:
    layer, x = layer_of(cell), reals(T, B, I)
    y = layer(x)[0]
    stream = layer.stream(B)
    steps(stream, x[:2])
    taken = pickle.loads(pickle.dumps(stream.take([4, 7, 2])))
    assert len(taken) == 3
    assert repr(taken) == f"StreamState(sequences=3, bytes={taken.values.nbytes})"
    steps(stream, x[2:])  # does not change the states taken before
    other = layer.stream(5)
    other.put(taken, [3, 0, 1])
    np.testing.assert_array_equal(
        [other(step[[4, 7, 2]], [3, 0, 1]) for step in x[2:]], y[2:, [4, 7, 2]]
    )
    other.put(taken[1], 2)
    np.testing.assert_array_equal(other(x[2, 7:8], 2), y[2, 7:8])
    other.put(taken[::-1], [0, 1, 2])
    np.testing.assert_array_equal(other(x[2, [2, 7, 4]], [0, 1, 2]), y[2, [2, 7, 4]])


def test_states_are_read_and_set_in_the_shapes_of_the_layer() -> None:
    layer, x = layer_of("lstm"), reals(T, B, I)
    _, (h, c) = layer(x)
    stream = layer.stream(B)
    steps(stream, x)
    for ours, expected in zip(stream.state, (h, c), strict=True):
        np.testing.assert_array_equal(ours, expected)
    stream.state[0][...] = 0  # writes to a copy
    np.testing.assert_array_equal(stream.state[0], h)
    stream.state = (None, np.zeros_like(c))
    np.testing.assert_array_equal(stream.state[0], h)
    assert not stream.state[1].any()
    stream.state = (h.astype("f8"), c.tolist())
    np.testing.assert_array_equal(stream(x[0]), layer(x[:1], (h, c))[0][0])
    for state, error, message in [
        (h, TypeError, "a tuple of 2 arrays"),
        ((h, c, c), TypeError, "tuple of 3"),
        ((h[:, 1:], c), ValueError, r"state: expected shape .* = \(2, 11, 9\), got \(2, 10, 9\)"),
        ((h * 1j, c), TypeError, "real numbers"),
    ]:
        with pytest.raises(error, match=message):
            stream.state = state
    model = rnnfast.Sequential(layer, rnnfast.GRU(H, 3)).stream(B)
    model.state = ((h, c), np.ones((1, B, 3), "f4"))
    assert (model.state[1] == 1).all()
    np.testing.assert_array_equal(model.state[0][1], c)
    with pytest.raises(TypeError, match="expected a tuple of 2, the state of each recurrent"):
        model.state = (h, c, c)


def test_put_refuses_states_of_others() -> None:
    stream = layer_of("lstm").stream(3)
    with pytest.raises(ValueError, match="expected the state of a stream with"):
        stream.put(layer_of("gru").stream(3).take())
    with pytest.raises(ValueError, match="expected the state of a stream with"):
        stream.put(layer_of("lstm", dtype="f8").stream(3).take())
    with pytest.raises(ValueError, match="state: expected 3 sequences, got 2"):
        stream.put(stream.take([0, 1]))
    with pytest.raises(TypeError, match="state: expected StreamState, got ndarray"):
        stream.put(stream.take().values)  # type: ignore[arg-type]


@pytest.mark.parametrize("learn", [False, True])
def test_reset_starts_sequences_anew(learn: bool) -> None:
    layer = rnnfast.LSTM(I, H, 2, learn_state=learn, seed=1)
    if learn:
        layer.initial_state_0.value[:] = reals(2, H)
        layer.initial_state_1.value[:] = reals(2, H, seed=1)
    x = reals(T, B, I)
    y = layer.eval()(x)[0]
    stream = layer.stream(B)
    steps(stream, x[:3])
    stream.reset([2, 5])
    mixed = stream(x[0])
    np.testing.assert_array_equal(mixed[[2, 5]], y[0, [2, 5]])
    assert (mixed[[0, 1]] != y[0, [0, 1]]).any()
    stream.reset()
    np.testing.assert_array_equal(steps(stream, x), y)


def test_streams_grow_and_shrink_without_packing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_of("gru"), reals(T, B, I)
    y = layer(x)[0]
    stream = layer.stream(4)
    monkeypatch.setattr(rnnfast.functional, "pack", None)
    stream(x[0, :4])
    stream.resize(B)
    assert stream.batch == B
    np.testing.assert_array_equal(stream(x[0, 4:], np.arange(4, B)), y[0, 4:])
    np.testing.assert_array_equal(stream(x[1]), y[1])
    stream.resize(3)
    np.testing.assert_array_equal(steps(stream, x[2:, :3]), y[2:, :3])
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        stream.resize(0)


def test_a_copy_has_the_sequences_that_it_is_asked_for() -> None:
    stream = layer_of("lstm").stream(3)
    stream(reals(3, I))
    before = stream.take().values
    rows = [2, 0, 2, 2, 1]
    some, x = stream.copy(rows), reals(5, I, seed=1)
    np.testing.assert_array_equal(some.take().values, before[rows])
    alone = stream.copy()
    y = some(x)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(alone.copy([row])(x[i : i + 1])[0], y[i])
    np.testing.assert_array_equal(stream.take().values, before)
    with pytest.raises(IndexError, match=r"rows: .* in \[0, batch\) = \[0, 3\), got 3"):
        stream.copy([0, 3])
    with pytest.raises(ValueError, match="rows: expected at least one sequence, got none"):
        stream.copy([])


@pytest.mark.parametrize("twin_of", [rnnfast.Stream.copy, copy.copy, copy.deepcopy])
def test_copies_go_on_by_themselves(twin_of: Callable[..., Any]) -> None:
    layer, x = layer_of("lstm"), reals(T, B, I)
    y = layer(x)[0]
    stream = layer.stream(B)
    steps(stream, x[:2])
    twin = twin_of(stream)
    np.testing.assert_array_equal(steps(stream, x[2:]), y[2:])
    np.testing.assert_array_equal(steps(twin, x[2:]), y[2:])


# ---- pickles


def pickled(stream: rnnfast.Stream) -> rnnfast.Stream:
    result: rnnfast.Stream = pickle.loads(pickle.dumps(stream))
    return result


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"precision": "bfloat16"}, {"zoneout": 0.2}, {"learn_state": True}]
)
@pytest.mark.parametrize("cell", ["lstm", "mgu"])
def test_a_pickled_stream_goes_on(cell: str, options: dict[str, Any], mode: bool) -> None:
    layer, x = layer_of(cell, **options), reals(T, B, I)
    y = layer(x)[0]
    stream = layer.train(mode).stream(B)
    steps(stream, x[:2])
    np.testing.assert_array_equal(steps(pickled(stream), x[2:]), y[2:])


@pytest.mark.parametrize("mode", [True, False])
def test_a_stream_keeps_its_weights_whatever_becomes_of_the_layers(mode: bool) -> None:
    layer, x = layer_of("lstm"), reals(T, B, I)
    y = layer(x)[0]
    stream = layer.train(mode).stream(B)
    model = rnnfast.Sequential(rnnfast.Linear(I, I, seed=0), layer).train(mode)
    expected = model.eval()(x)
    of_model = model.train(mode).stream(B)
    for parameter in model.train().parameters():
        parameter.value[:] = 0
    np.testing.assert_array_equal(steps(stream.copy(), x), y)
    np.testing.assert_array_equal(steps(pickled(stream), x), y)
    np.testing.assert_array_equal(steps(pickled(of_model), x), expected)
    assert not layer.eval()(x)[0].any()


@pytest.mark.cpu_only("weights that are read-only in evaluation")
def test_streams_of_layers_in_evaluation_share_the_weights() -> None:
    layer = layer_of("lstm")
    first, second = layer.stream(), layer.stream(3)
    assert first._plan.layers[0].core[2] is second._plan.layers[0].core[2]
    layer.precision = "bfloat16"
    x = reals(3, I)
    rounded = layer.stream(3)(x)
    assert (second(x) != rounded).any()
    layer.train().weight_hh_l0.value[:] = 0
    np.testing.assert_array_equal(pickled(second.copy())(x, [0, 1, 2]), second(x))


def test_another_process_goes_on_with_a_cell_that_it_lacks(tmp_path: Any) -> None:
    if backends.get(None).name == "emulated":
        pytest.skip("a pickled array of the emulator is one of this process")
    cell = rnnfast.Cell(
        "own", lambda x, recurrent, state, _: (tanh(x[0] + 0.5 * recurrent(state[0])[0]),)
    )
    layer, x = rnnfast.Recurrent(cell, I, H, seed=0).eval(), reals(T, B, I)
    y = layer(x)[0]
    stream = layer.stream(B)
    stream(x[0])
    (tmp_path / "stream").write_bytes(pickle.dumps(stream))
    np.save(tmp_path / "x.npy", x[1])
    code = (
        "import pickle, sys, numpy as np; folder = sys.argv[1];"
        "stream = pickle.load(open(folder + '/stream', 'rb'));"
        "np.save(folder + '/y.npy', stream(np.load(folder + '/x.npy')))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), y[1])


# ---- devices


def test_a_step_by_the_functions_of_a_backend_has_the_same_bits() -> None:
    layers = [
        rnnfast.Embedding(20, I, seed=0),
        rnnfast.LSTM(I, H, 2, learn_state=True, seed=0),
        rnnfast.GRU(H, H, seed=0),
        rnnfast.Linear(H, 3, seed=0),
    ]
    plan = rnnfast.Sequential(*layers).eval().stream()._plan
    states = [plan.initial[None].repeat(B, axis=0) for _ in range(2)]
    x = np.random.default_rng(0).integers(0, 20, (T, B))
    rows = np.array([3, 8, 1])
    for step, chosen in ((x[0], None), (x[1, rows], rows), (x[2], None)):
        ours = DeviceStepper(plan).step(step, states[0], chosen)
        np.testing.assert_array_equal(ours, plan.stepper().step(step, states[1], chosen))
        np.testing.assert_array_equal(*states)
    norm = rnnfast.Sequential(rnnfast.LayerNorm(I)).stream()._plan
    with pytest.raises(ValueError, match="any device, got one of kind 'layer_norm', which has a"):
        DeviceStepper(norm).step(np.ones((1, I), "f4"), states[0][:1, :0], None)


# ---- arrays and threads


def test_one_thread_at_a_time_takes_steps() -> None:
    stream, x = rnnfast.LSTM(300, 300, 2).eval().stream(64), reals(64, 300)
    refused: list[RuntimeError] = []

    def step() -> None:
        try:
            stream(x)
        except RuntimeError as error:
            refused.append(error)

    for _ in range(200):
        threads = [threading.Thread(target=step) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if refused:
            break
    assert "stream: expected one thread at a time" in str(refused[0])
    assert stream(x).shape == (64, 300)


def test_results_are_arrays_of_their_own() -> None:
    stream, x = layer_of("gru").stream(B), reals(2, B, I)
    first = stream(x[0])
    kept = first.copy()
    x[0] = 0
    second = stream(x[1])
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    first[:] = 0  # not a view of the state
    assert stream.state.any()
