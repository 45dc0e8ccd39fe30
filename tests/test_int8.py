"""Products of 8-bit integers: what is quantised and how, and that every sum is exact."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cases
import rnnfast
from cases import Case
from rnnfast import functional
from rnnfast._engine import checks
from rnnfast.reference import CELLS
from rnnfast.training import CharLMConfig
from sequence_cases import all_of_float32

FULL = Case("lstm", T=3, B=5, I=17, H=19)
QUANTIZED = replace(FULL, precision="int8")
# Depths that fill whole vectors of bytes, all but one value, and one more.
DEPTHS = [Case("gru", T=2, I=depth, H=depth) for depth in (255, 256, 257)]


@pytest.mark.parametrize("case", [*all_of_float32(), *DEPTHS], ids=str)
def test_matches_the_reference(case: Case) -> None:
    case = replace(case, precision="int8")
    expected = cases.run_reference(case)
    cases.assert_close(cases.run_engine(case), expected, cases.plain_errors(case), case)


# ---- every sum is exact


def quantized(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Return the integers of some rows and their scales, a column."""
    largest = np.abs(rows).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), largest, where=largest > 0, out=np.zeros_like(largest))
    return np.rint(rows * inverse).astype(np.int64), largest / np.float32(127)


def product(rows: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
    """Return rows @ weight.T + bias as the engine defines it: integer sums, then float32."""
    (a, scales), (b, of_units) = quantized(rows), quantized(weight)
    sums = (a @ b.T).astype(np.float32)
    result: NDArray = sums * (scales * of_units.T) + bias
    return result


def relu_of(x: NDArray, weights: functional.Weights) -> NDArray:
    """Run a network of ReLUs over (T, B, I) inputs."""
    y, _, _ = functional.forward("rnn_relu", x, [weights], precision="int8")
    return y


@pytest.mark.parametrize("kind", ["normal", "extreme"])
@pytest.mark.parametrize(
    ("B", "I", "H"), [(1, 1, 1), (3, 5, 7), (1, 64, 64), (9, 33, 17), (20, 300, 129), (2, 2049, 40)]
)
def test_the_bits_are_those_of_integer_products(B: int, I: int, H: int, kind: str) -> None:
    """With extreme values, every pair of products is as large as it can be."""
    rng = np.random.default_rng(I)

    def draw(*shape: int) -> NDArray:
        values = rng.standard_normal(shape)
        if kind == "extreme":  # all -1 or 1, so that the integers are -127 or 127
            values = (
                np.sign(values[..., :1])
                * np.ones(shape)
                * np.where(rng.random(shape) < 0.99, 1, -1)
            )
        return values.astype(np.float32)

    weights = functional.Weights(draw(H, I), draw(H, H), draw(H, 1)[:, 0], draw(H, 1)[:, 0])
    x = draw(4, B, I)
    h, gates = np.zeros((B, H), np.float32), weights.bias_hh
    for step, y in zip(x, relu_of(x, weights), strict=True):
        if h.any():
            gates = product(h, weights.weight_hh, weights.bias_hh)
        h = np.maximum(product(step, weights.weight_ih, weights.bias_ih) + gates, 0)
        np.testing.assert_array_equal(y, h)


@pytest.mark.parametrize("indices", [False, True])
def test_indices_are_one_hot_rows(indices: bool) -> None:
    case = replace(QUANTIZED, cell="rnn_relu", T=1, indices=True)
    d = cases.make_data(case)
    one_hot = np.eye(case.I, dtype=np.float32)[d.x]
    weights = functional.Weights(*d.weights[0])
    y = relu_of(d.x if indices else one_hot, weights)
    gates = product(one_hot[0], weights.weight_ih, weights.bias_ih) + weights.bias_hh
    np.testing.assert_array_equal(y[0], np.maximum(gates, 0))


# ---- rows that are not ordinary


def step_of(x: NDArray, weight_ih: NDArray) -> NDArray:
    """Run one step of ReLUs without biases."""
    H = len(weight_ih)
    return relu_of(x[None], functional.Weights(weight_ih, np.zeros((H, H), np.float32)))[0]


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_makes_its_row_nan_and_no_other(value: float) -> None:
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((9, 70), (35, 70)))
    clean = step_of(x, weight)
    spoilt = x.copy()
    spoilt[4, 33] = value
    got, others = step_of(spoilt, weight), np.arange(9) != 4
    assert np.isnan(got[4]).all()
    np.testing.assert_array_equal(got[others], clean[others])
    spoilt = weight.copy()
    spoilt[20, 69] = value
    got, others = step_of(x, spoilt), np.arange(35) != 20
    assert np.isnan(got[:, 20]).all()
    np.testing.assert_array_equal(got[:, others], clean[:, others])


def test_rows_of_zeros_and_of_the_smallest_and_largest_numbers() -> None:
    """The inverse of a scale of 2**-100 is finite, that of a subnormal number is not."""
    weight = np.ones((3, 20), np.float32)
    for scale in (0.0, 1e-45, 1e-38, 2.0**-101, 2.0**-100, 2.0**-99, 1.0, 1e37):
        x = np.full((2, 20), scale, np.float32)
        expected = 0.0 if scale < 2.0**-100 else 20 * scale
        np.testing.assert_allclose(step_of(x, weight), expected, rtol=1e-6)
        np.testing.assert_allclose(step_of(weight[:2], x), expected, rtol=1e-6)


# ---- layers and streams


@pytest.mark.parametrize("cell", [*CELLS, "mgu", "janet", "layer_norm_lstm"])
@pytest.mark.parametrize("size", [{"H": 9, "B": 11}, {"H": 130, "B": 1}], ids=str)
def test_steps_of_a_stream_have_the_bits_of_the_layer(cell: str, size: dict[str, int]) -> None:
    case = Case(cell, T=5, I=6, L=2, precision="int8", **size)
    layer = cases.new_layer(case, seed=1).eval()
    x = np.random.default_rng(0).standard_normal((case.T, case.B, case.I)).astype(np.float32)
    y, _ = layer(x)
    stream = layer.stream(case.B)
    np.testing.assert_array_equal(np.stack([stream(step) for step in x]), y)
    np.testing.assert_array_equal(y, functional_y(layer, x))


def functional_y(layer: rnnfast.Recurrent, x: NDArray) -> NDArray:
    """Return the outputs of a layer without packed weights, from a call in two parts."""
    y, state, _ = functional.forward(
        layer.cell, x[:2], layer._weights, num_layers=layer.num_layers, precision="int8"
    )
    rest, _, _ = functional.forward(
        layer.cell, x[2:], layer._weights, state, num_layers=layer.num_layers, precision="int8"
    )
    return np.concatenate([y, rest])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_resets_contexts_projections_and_zoneout(cell: str) -> None:
    """Each has the bits of the same call without it, on states and gates that are given."""
    options = {"proj_size": 7} if cell == "lstm" else {"zoneout": 0.25}
    layer = rnnfast.Recurrent(cell, 6, 33, 2, context_size=4, precision="int8", seed=1, **options)
    layer.eval()
    rng = np.random.default_rng(0)
    x, v = (rng.standard_normal(s).astype(np.float32) for s in ((7, 3, 6), (3, 4)))
    reset = np.zeros((7, 3), bool)
    reset[4] = True
    y, _ = layer(x, reset=reset, context=v)
    parts = [layer(part, context=v)[0] for part in (x[:4], x[4:])]
    np.testing.assert_array_equal(y, np.concatenate(parts))
    full = rnnfast.Recurrent(cell, 6, 33, 2, context_size=4, seed=1, **options).eval()
    expected, _ = full(x, reset=reset, context=v)
    assert 0 < cases.worst(y, expected.astype(np.float64)) < 0.03


# ---- accuracy


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_error_is_at_most_two_percent(cell: str) -> None:
    """In the root of the mean square, with random weights, over 100 steps."""
    layer = rnnfast.Recurrent(cell, 256, 256, seed=0).eval()
    x = np.random.default_rng(0).standard_normal((100, 8, 256)).astype(np.float32)
    exact = layer(x)[0].astype(np.float64)
    layer.precision = "int8"
    error = np.sqrt(((layer(x)[0] - exact) ** 2).mean() / (exact**2).mean())
    assert 1e-4 < error < 0.02


# ---- what is refused


def test_training_is_refused() -> None:
    layer = rnnfast.LSTM(4, 8, precision="int8")
    x = np.zeros((2, 3, 4), np.float32)
    why = "precision: expected one of full, bfloat16 in training, as .* got 'int8'; eval"
    with pytest.raises(ValueError, match=why):
        layer(x)
    with pytest.raises(ValueError, match=why):
        functional.forward("lstm", x, layer._weights, training=True, precision="int8")
    assert layer.eval()(x)[0].shape == (2, 3, 8)
    with pytest.raises(ValueError, match="precision: expected one of full, bfloat16, got 'int8'"):
        CharLMConfig(precision="int8")


def test_float64_is_refused() -> None:
    with pytest.raises(TypeError, match="precision: expected float32 arrays for int8 products"):
        rnnfast.LSTM(4, 8, dtype="float64", precision="int8")
    d = cases.make_data(replace(FULL, dtype="float64"))
    weights = [functional.Weights(*w) for w in d.weights]
    with pytest.raises(TypeError, match=r"precision: expected float32 arrays .* got float64"):
        functional.forward("lstm", d.x, weights, precision="int8")


def test_a_layer_trains_in_one_precision_and_evaluates_in_another() -> None:
    layer = rnnfast.GRU(4, 8, seed=0)
    x = np.ones((2, 3, 4), np.float32)
    y, _ = layer(x)
    layer.backward(np.ones_like(y))
    layer.eval().precision = "int8"
    quantized, _ = layer(x)
    assert 0 < cases.worst(quantized, y.astype(np.float64)) < 0.01
    layer.train().precision = "full"
    np.testing.assert_array_equal(layer(x)[0], y)


def test_a_sum_that_may_need_more_bits_is_refused() -> None:
    depth = 2**17
    x, weight = np.ones((1, depth), np.float32), np.ones((1, depth), np.float32)
    np.testing.assert_allclose(step_of(x, weight), depth, rtol=1e-6)
    with pytest.raises(ValueError, match=r"input_size: expected at most 131072 .* got 131073"):
        step_of(np.ones((1, depth + 1), np.float32), np.ones((1, depth + 1), np.float32))


def test_traces_are_refused() -> None:
    layer, x = rnnfast.LSTM(4, 8, precision="int8").eval(), np.zeros((2, 3, 4), np.float32)
    with pytest.raises(
        ValueError, match=r"precision: expected one of full, bfloat16, as .* 'int8'"
    ):
        rnnfast.trace(layer, x)


def test_devices_without_these_products_refuse_them() -> None:
    device: Any = SimpleNamespace(name="cuda", quantizes=False)
    message = "precision: expected 'full' or 'bfloat16' on device 'cuda', got 'int8'"
    with pytest.raises(ValueError, match=message):
        checks.precision("precision", "int8", np.dtype("float32"), device)
