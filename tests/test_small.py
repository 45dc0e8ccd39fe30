"""Few rows, packed weights and streams give the bits of large calls, and no copy gets stale."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case, of_sequences, select
from layer_cases import bare, listed
from rnnfast import functional
from rnnfast.benchmark import latency
from rnnfast.reference import CELLS

# T, B of calls with fewer than eight rows, inside larger batches, with every kind of tail and sums
# longer than a block of the depth. All rows of the batch (at most 126) are summed at once.
FEW = [(1, 1), (1, 7), (7, 1), (2, 3)]
SIZES = [(1, 1), (5, 3), (17, 33), (600, 70), (65, 130)]
EACH = [
    Case(cell, T=T, B=B, I=I, H=H, D=1 + (H > 100), dtype=dtype, indices=indices)
    for cell in CELLS
    for k, (I, H) in enumerate(SIZES)
    for (T, B), dtype, indices in [
        (FEW[k % 4], "float32", False),
        (FEW[(k + 1) % 4], "float64", False),
        (FEW[(k + 2) % 4], "float32", True),
    ]
]


def among_many(few: Case) -> tuple[Case, np.ndarray]:
    """Return a batch that contains the sequences of `few` among others, and their places in it."""
    return replace(few, B=18), np.arange(3, 3 + few.B)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("few", EACH, ids=str)
def test_few_rows_give_the_bits_of_many(few: Case) -> None:
    case, members = among_many(few)
    d = cases.make_data(case)
    whole = of_sequences(cases.run_engine(case))
    for count in (1, 2, 3):
        rnnfast.set_num_threads(count)
        got = of_sequences(cases.run_engine(few, data=select(d, members, case.T, lengths=False)))
        cases.assert_identical(got, {name: values[members] for name, values in whole.items()})


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("few_rows", EACH, ids=str)
def test_weight_gradients_of_few_rows_have_the_bits_of_many(few_rows: Case, adds: bool) -> None:
    """Sequences whose outputs have no gradient add only zeros to the weights' gradients."""
    case, members = among_many(few_rows)
    d = cases.make_data(case)
    others = np.setdiff1d(np.arange(case.B), members)
    silent = d._replace(dy=d.dy.copy(), dstate=tuple(s.copy() for s in d.dstate))
    for array in (silent.dy, *silent.dstate):
        array[:, others] = 0

    def gradients(data: cases.Data) -> list[np.ndarray]:
        weights = [functional.Weights(*w) for w in data.weights]
        _, _, reserve = functional.forward(
            case.cell, data.x, weights, data.state, training=True, **case.options
        )
        given = [functional.Weights(*(w if w is None else w.copy() for w in layer))
                 for layer in weights] if adds else None  # fmt: skip
        _, _, found = functional.backward(reserve, data.dy, data.dstate, dweights=given)
        return [g for layer in found for g in layer if g is not None]

    few = select(silent, members, case.T, lengths=False)
    for got, expected in zip(gradients(few), gradients(silent), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_large_weight_gradients_go_around_the_caches_whole() -> None:
    """Compare streamed rows and their neighbours with the same gradient computed by hand."""
    rng = np.random.default_rng(0)
    H, x = 1024, rng.standard_normal((1, 1, 1040)).astype("float32")
    weights = functional.Weights(*(rng.standard_normal(s, "f4") for s in ((H, 1040), (H, H))))
    _, _, reserve = functional.forward("rnn_tanh", x, [weights], training=True)
    dy = rng.standard_normal((1, 1, H)).astype("float32")
    _, _, (dw,) = functional.backward(reserve, dy)
    bias = functional.Weights(*weights[:2], np.zeros(H, "f4"), np.zeros(H, "f4"))
    _, _, reserve = functional.forward("rnn_tanh", x, [bias], training=True)
    _, _, (with_bias,) = functional.backward(reserve, dy)
    np.testing.assert_array_equal(dw.weight_ih, np.outer(with_bias.bias_ih, x[0, 0]))
    assert not dw.weight_hh.any()


@pytest.mark.parametrize("batch", [2, 3, 9])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_of_linear_give_the_bits_of_many(dtype: str, bias: bool, batch: int) -> None:
    for inputs, outputs in ((3, 5), (17, 33), (700, 65)):
        layer = rnnfast.Linear(inputs, outputs, bias, dtype=dtype, seed=1)
        x = np.random.default_rng(0).standard_normal((20, inputs)).astype(dtype)
        np.testing.assert_array_equal(layer(x[:batch]), layer(x)[:batch])


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (30, 5)])
@pytest.mark.parametrize("cell", CELLS)
def test_packed_weights_give_the_same_bits(
    cell: str, shape: tuple[int, int], lengths: bool, precision: str
) -> None:
    case = Case(cell, T=shape[0], B=shape[1], I=9, H=70, L=2, D=2, lengths=lengths)
    d = cases.make_data(case)
    weights = [functional.Weights(*w) for w in d.weights]
    options: dict[str, Any] = {**case.options, "precision": precision}
    packed = functional.pack(cell, weights, **options)
    assert packed.nbytes >= sum(w.nbytes for ws in d.weights for w in ws[:2]) / (
        2 if precision == "bfloat16" else 1
    )
    y, state, _ = functional.forward(cell, d.x, weights, d.state, lengths=d.lengths, **options)
    again = functional.forward(cell, d.x, packed, d.state, lengths=d.lengths, **options)
    np.testing.assert_array_equal(again[0], y)
    for a, b in zip(again[1], state, strict=True):
        np.testing.assert_array_equal(a, b)


def test_packed_weights_must_fit() -> None:
    case = Case("lstm")
    d = cases.make_data(case)
    weights = [functional.Weights(*w) for w in d.weights]
    packed = functional.pack("lstm", weights)
    with pytest.raises(
        ValueError, match=r"expected weights packed for .* \('peephole_lstm', 1, False"
    ):
        functional.forward("peephole_lstm", d.x, packed)
    with pytest.raises(
        ValueError, match="weights: expected arrays, as packed weights cannot be trained"
    ):
        functional.forward("lstm", d.x, packed, training=True)
    with pytest.raises(ValueError, match="expected weights packed for"):
        functional.forward("lstm", d.x, packed, precision="bfloat16")
    with pytest.raises(TypeError, match="x: expected real numbers to convert to dtype float32"):
        functional.forward("lstm", d.x.astype("complex64"), packed)
    with pytest.raises(ValueError, match="num_directions = 2 entries, got 1"):
        functional.pack("lstm", weights, bidirectional=True)
    with pytest.raises(ValueError, match="cell: expected a name"):
        functional.pack("nothing", weights)


def test_what_is_no_exact_array_is_converted() -> None:
    """Lists, other strides and NumPy's integers give what arrays give."""
    case = Case("gru", lengths=True)
    d = cases.make_data(case)
    weights = [functional.Weights(*w) for w in d.weights]
    y, state, _ = functional.forward("gru", d.x, weights, d.state, lengths=d.lengths)
    assert d.lengths is not None
    turned = [weights[0]._replace(weight_hh=np.asfortranarray(weights[0].weight_hh))]
    again = functional.forward(
        "gru",
        np.asfortranarray(d.x),
        turned,
        [s[::1] for s in d.state],
        lengths=d.lengths.tolist(),
        num_layers=np.int64(1),  # type: ignore[arg-type]
        dropout=0,
        seed=np.uint32(3),  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(again[0], y)
    np.testing.assert_array_equal(again[1][0], state[0])


def test_evaluation_follows_every_change_of_the_weights() -> None:
    layer, other = rnnfast.GRU(3, 5, seed=1), rnnfast.GRU(3, 5, seed=2)
    x = np.ones((9, 2, 3), np.float32)
    weight = next(layer.parameters()).value
    view, y = weight[:], layer(x)[0].copy()
    np.testing.assert_array_equal(layer.eval()(x)[0], y)
    for array in (weight, *(p.value for p in layer.parameters())):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    optimizer = rnnfast.SGD(layer.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"^weight_ih_l0: .* read-only .* `layer.train\(\)`"):
        optimizer.step()
    view[0] += 1  # a view from training mode: its change is seen after train()
    np.testing.assert_array_equal(layer(x)[0], y)
    changed = layer.train()(x)[0].copy()
    assert (changed != y).any()
    np.testing.assert_array_equal(layer.eval()(x)[0], changed)
    layer.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(layer(x)[0], other(x)[0])
    layer.train()
    weight[0] = 0
    np.testing.assert_array_equal(layer(x)[0], layer.eval()(x)[0])


def test_evaluation_follows_the_precision() -> None:
    layer = rnnfast.GRU(30, 50, seed=1).eval()
    x = np.random.default_rng(0).standard_normal((9, 2, 30)).astype("float32")
    full = layer(x)[0]
    layer.precision = "bfloat16"
    rounded = layer(x)[0]
    assert (rounded != full).any()
    np.testing.assert_array_equal(layer.train()(x)[0], rounded)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_layers_are_their_own(make: Any) -> None:
    layer = rnnfast.LSTM(3, 5, seed=1)
    x = np.ones((4, 2, 3), np.float32)
    y = layer.eval()(x)[0]
    twin = make(layer)
    np.testing.assert_array_equal(twin(x)[0], y)
    for p in twin.train().parameters():
        p.value[:] = 0
    assert not twin.eval()(x)[0].any()
    np.testing.assert_array_equal(layer(x)[0], y)
    twin.train()(x)
    assert make(twin).training  # even with a reserve that waits for backward


@pytest.mark.parametrize("kind", ["reals", "indices"])
@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("batch", [1, 5, 9])
@pytest.mark.parametrize("cell", CELLS)
def test_streams_give_the_bits_of_whole_sequences(
    cell: str, batch: int, mode: bool, kind: str
) -> None:
    case = Case(cell, T=6, B=batch, I=9, H=35, L=2, indices=kind == "indices")
    d = cases.make_data(case)
    layer = cases.make_layer(case).eval()
    y, state = layer(d.x, bare(d.state))
    stream = layer.train(mode).stream(batch, bare(d.state))
    for x, expected in zip(d.x, y, strict=True):
        np.testing.assert_array_equal(stream(x), expected)
    for a, b in zip(listed(stream.state), listed(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_streams_begin_with_zeros_and_keep_their_weights_and_state() -> None:
    layer = rnnfast.LSTM(3, 5, seed=1)
    stream, x = layer.stream(2), np.ones((2, 3), np.float32)
    assert not any(s.any() for s in stream.state)
    assert [s.shape for s in stream.state] == [(1, 2, 5)] * 2
    expected = layer.eval()(np.ones((2, 2, 3), np.float32))[0]
    h, c = layer.train()(x[None])[1]
    begun = layer.stream(2, (h, c))
    h[:] = 0  # the stream has its own copy
    for p in layer.parameters():
        p.value[:] = 0
    np.testing.assert_array_equal(begun(x), expected[1])
    np.testing.assert_array_equal(stream(x), expected[0])
    np.testing.assert_array_equal(stream(x), expected[1])


def test_streams_refuse() -> None:
    layer = rnnfast.GRU(3, 5)
    with pytest.raises(ValueError, match="expected a layer with one direction"):
        rnnfast.GRU(3, 5, bidirectional=True).stream()
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        layer.stream(0)
    with pytest.raises(
        ValueError, match=r"state: expected shape .* = \(1, 2, 5\), got \(1, 1, 5\)"
    ):
        layer.stream(2, np.zeros((1, 1, 5), "f4"))
    stream = layer.stream(2)
    with pytest.raises(ValueError, match=r"= \(2, 3\), or \(2,\) for indices, got \(1, 3\)"):
        stream(np.zeros((1, 3), "f4"))
    with pytest.raises(IndexError, match="got 3"):
        stream(np.array([0, 3]))
    with pytest.raises(TypeError, match="x: expected real numbers to convert to dtype float32"):
        stream(np.zeros((2, 3), complex))


def test_latency_measures_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls themselves advance the clock, so that their times are known."""
    network = latency.Network("lstm", 2, 8, characters=11)
    assert network.bytes == 4 * (32 * (1 + 8) + 32 * (8 + 8))
    now = 0

    def lasting(*seconds: int) -> Callable[[], None]:
        rest = iter(seconds)

        def call() -> None:
            nonlocal now
            now += next(rest)

        return call

    # In each of two turns, ten calls warm the caches before those that count.
    turns = [[1000] * 10, range(100), range(100, 200), [1000] * 10, range(200, 400)]
    calls = {"ramp": lasting(*itertools.chain(*turns)), "constant": lasting(*[7] * 420)}
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now)
    found = latency.measure_latency(calls, seconds=40_000)
    # The percentiles of 0, ..., 399 are at these fractions of 399.
    assert found["ramp"].calls == found["constant"].calls == 400
    np.testing.assert_allclose(found["ramp"].percentiles, [199.5, 359.1, 395.01, 398.601])
    assert found["constant"].percentiles == (7, 7, 7, 7)


def test_latency_command(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "benchmarks" / "latency.py"
    options = ["--cell", "gru", "--network", "1x8", "--threads", "1", "--seconds", "0.01"]
    command = [sys.executable, str(script), *options, "--json", str(tmp_path / "latency.json")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[2] for line in lines[1:3]] == ["stream", "text"]
    assert '"floor"' in (tmp_path / "latency.json").read_text()
