"""Streams: steps of whole models and of some of the sequences; saving and restoring states."""

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
from numpy.typing import NDArray

import rnnfast
from rnnfast._engine import backends
from rnnfast.cells import tanh
from rnnfast.layers.stream_plan import DeviceStepper

T, B, I, H = 5, 11, 6, 9
CELLS = ["lstm", "gru", "rnn_tanh", "peephole_lstm"]


def reals(*shape: int, seed: int = 0, dtype: str = "float32") -> NDArray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def layer_of(cell: str, **options: Any) -> Any:
    return rnnfast.Recurrent(cell, I, H, 2, seed=1, **options).eval()


def steps(stream: rnnfast.Stream, x: NDArray) -> NDArray:
    return np.stack([stream(step) for step in x])


# ---- models


def model_with_everything(dtype: str) -> rnnfast.Sequential:
    options: Any = {"dtype": dtype, "seed": 1}
    norm = rnnfast.LayerNorm(H, dtype=dtype)
    norm.weight.value[:] = reals(H, seed=7, dtype=dtype)
    return rnnfast.Sequential(
        rnnfast.Embedding(20, I, **options),
        rnnfast.Dropout(0.5),
        rnnfast.GRU(I, H, **options),
        norm,
        rnnfast.SiLU(),
        rnnfast.Conv1d(H, 2 * H, 3, padding="causal", dilation=2, **options),
        rnnfast.Residual(
            rnnfast.Sequential(rnnfast.Linear(2 * H, 2 * H, **options), rnnfast.GELU())
        ),
        rnnfast.LSTM(2 * H, H, 2, learn_state=True, **options),
        rnnfast.Residual(rnnfast.Dropout(0.1)),
        rnnfast.GELU("tanh"),
        rnnfast.Linear(H, 7, bias=False, **options),
        rnnfast.ReLU(),
        rnnfast.Sequential(rnnfast.Tanh(), rnnfast.Sigmoid()),
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3, B, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_models_step_with_the_bits_of_whole_sequences(dtype: str, batch: int, threads: int) -> None:
    model = model_with_everything(dtype).eval()
    for number, state in enumerate(p for p in model.parameters() if "initial_state" in p.name):
        state.value[...] = reals(*state.shape, seed=number, dtype=dtype)
    x = np.random.default_rng(2).integers(0, 20, (T, batch))
    before = rnnfast.get_num_threads()
    rnnfast.set_num_threads(threads)
    try:
        stream = model.stream(batch)
        np.testing.assert_array_equal(steps(stream, x), model(x))
    finally:
        rnnfast.set_num_threads(before)
    h, window, (h_lstm, c) = stream.state
    assert window.shape == (4, batch, H)
    assert h.shape == (1, batch, H)
    assert h_lstm.shape == c.shape == (2, batch, H)


def test_a_large_model_has_the_bits_of_its_layers_on_several_threads() -> None:
    model = rnnfast.Sequential(
        rnnfast.LSTM(64, 300, seed=1), rnnfast.LayerNorm(300), rnnfast.Linear(300, 1100, seed=1)
    ).eval()
    x = reals(2, 70, 64)
    np.testing.assert_array_equal(steps(model.stream(70), x), model(x))


def test_models_start_with_any_layer_that_has_a_size() -> None:
    for first in (rnnfast.Linear(I, H), rnnfast.LayerNorm(I), rnnfast.Tanh()):
        rest = rnnfast.Linear(H if isinstance(first, rnnfast.Linear) else I, 3, seed=0)
        model = rnnfast.Sequential(first, rest).eval()
        x = reals(T, B, I)
        np.testing.assert_array_equal(steps(model.stream(B), x), model(x))


def test_the_step_of_a_model_follows_the_integers_of_one_hot_rows() -> None:
    model = rnnfast.Sequential(rnnfast.GRU(I, H, seed=0), rnnfast.Linear(H, 2, seed=0)).eval()
    x = np.random.default_rng(0).integers(0, I, (T, B))
    y = model(x)
    np.testing.assert_array_equal(steps(model.stream(B), x), y)
    np.testing.assert_array_equal(steps(model.stream(B), np.eye(I, dtype="f4")[x]), y)


@pytest.mark.parametrize("embedding_size", [0, 5])
def test_language_models_step_with_the_bits_of_whole_texts(embedding_size: int) -> None:
    from rnnfast.training import CharLM, CharLMConfig, Vocabulary

    config = CharLMConfig("gru", 11, 2, embedding_size=embedding_size)
    model = CharLM(Vocabulary("abcdefg"), config, seed=1)
    x = np.random.default_rng(0).integers(0, 7, (T, B))
    stream = model.stream(B)
    y, state = model.eval()(x)
    np.testing.assert_array_equal(steps(stream, x), y)
    np.testing.assert_array_equal(stream.state[0], state)


def test_models_that_cannot_go_step_by_step_say_why() -> None:
    gru, linear = rnnfast.GRU(I, H), rnnfast.Linear(H, 2)
    cases: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        (
            (rnnfast.GRU(I, H, bidirectional=True),),
            ValueError,
            "expected a layer with one direction",
        ),
        ((gru, rnnfast.Last()), ValueError, "can run step by step, got Last"),
        ((rnnfast.MergeDirections(),), ValueError, "can run step by step, got MergeDirections"),
        ((gru, rnnfast.MeanPool()), ValueError, "can run step by step, got MeanPool"),
        ((rnnfast.Conv1d(I, H, 3), gru), ValueError, "padding='causal'"),
        ((rnnfast.Conv1d(I, H, 3, padding="same"),), ValueError, "padding='causal'"),
        ((rnnfast.Conv1d(I, H, 3, 2, padding="causal"),), ValueError, "stride 1"),
        (
            (gru, rnnfast.Linear(H + 1, 2)),
            ValueError,
            f"layer 1 to take the {H} outputs of the previous",
        ),
        ((linear, rnnfast.Embedding(4, 2)), ValueError, "embedding to be the first layer"),
        ((gru, rnnfast.Linear(H, 2, dtype="f8")), TypeError, "one dtype, got float32 and float64"),
        ((rnnfast.Residual(linear),), ValueError, f"as many outputs as inputs, {H}, got 2"),
        ((rnnfast.Tanh(),), ValueError, "a layer that has weights"),
        ((), ValueError, "a layer that has weights"),
    ]
    for layers, error, message in cases:
        with pytest.raises(error, match=message):
            rnnfast.Sequential(*layers).stream()


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


def test_the_input_of_a_model_is_checked() -> None:
    model = rnnfast.Sequential(rnnfast.Embedding(4, I), rnnfast.GRU(I, H))
    stream = model.stream(2)
    for x, error, message in [
        (np.zeros((2, I), "f4"), ValueError, r"expected shape \(2,\) for indices, got \(2, 6\)"),
        (np.zeros(2, "f4"), TypeError, "x: expected an array of integers"),
        (np.array([0, 4]), IndexError, r"x: expected indices in .*\[0, 4\), got 4"),
        (np.array([0, 2**64 - 1], np.uint64), IndexError, "x: expected indices in"),
    ]:
        with pytest.raises(error, match=message):
            stream(x)
    np.testing.assert_array_equal(stream([1, 2]), model.stream(2)(np.array([1, 2], np.uint8)))
    of_values = rnnfast.Sequential(rnnfast.Linear(I, 2)).stream(2)
    with pytest.raises(ValueError, match=r"expected shape \(batch, input_size\) = \(2, 6\), got"):
        of_values(np.zeros(2, int))
    residual = rnnfast.Sequential(rnnfast.Residual(rnnfast.GRU(I, I))).stream(2)
    with pytest.raises(ValueError, match="x: expected real numbers, as a residual layer adds them"):
        residual(np.zeros(2, int))


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
