"""Activations, dropout, layer normalisation, convolution and pooling on their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cases
import philox
import rnnfast
from rnnfast import _core

DTYPES = ("float32", "float64")
ACTIVATIONS = (rnnfast.Tanh, rnnfast.Sigmoid, rnnfast.ReLU, rnnfast.GELU, rnnfast.SiLU)


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def step(layer: Any, x: np.ndarray, *lengths: Any) -> dict[str, np.ndarray]:
    """Return the results of a training step."""
    layer.zero_grad()
    y = layer(x, *lengths)
    dx = layer.backward(reals(*y.shape, seed=9).astype(y.dtype))
    return {"y": y, "dx": dx} | {p.name: p.grad.copy() for p in layer.parameters()}


# Layers with inputs that are large enough for several threads.
SHARED: dict[str, tuple[Any, tuple[int, ...]]] = {
    **{kind.__name__: (lambda _, kind=kind: kind(), (40, 30, 101)) for kind in ACTIVATIONS},
    "Dropout": (lambda _: rnnfast.Dropout(0.3, seed=1), (40, 30, 101)),
    "LayerNorm": (lambda dtype: rnnfast.LayerNorm(701, dtype=dtype), (30, 20, 701)),
    "MeanPool": (lambda _: rnnfast.MeanPool(), (50, 30, 101)),
    "MaxPool": (lambda _: rnnfast.MaxPool(), (50, 30, 101)),
    "Conv1d": (lambda dtype: rnnfast.Conv1d(33, 65, 5, dtype=dtype, seed=1), (60, 30, 33)),
    "Conv1d-strided": (
        lambda dtype: rnnfast.Conv1d(33, 65, 5, 3, 4, 2, dtype=dtype, seed=1),
        (120, 30, 33),
    ),
    "Conv1d-alone": (
        lambda dtype: rnnfast.Conv1d(65, 33, 5, 2, "causal", dtype=dtype, seed=1),
        (900, 1, 65),
    ),
}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", SHARED)
def test_results_are_the_same_for_any_number_of_threads(kind: str, dtype: str) -> None:
    make, shape = SHARED[kind]
    x = reals(*shape).astype(dtype)
    rnnfast.set_num_threads(1)
    expected = step(make(dtype), x)
    for n in (2, 3):
        rnnfast.set_num_threads(n)
        cases.assert_identical(step(make(dtype), x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_take_any_shape_and_keep_the_type(kind: Any, dtype: str) -> None:
    layer = kind()
    for shape in ((), (0,), (3,), (2, 3, 4)):
        x = reals(*shape).astype(dtype)
        y = layer(x)
        assert (y.shape, y.dtype) == (x.shape, dtype)
        assert layer.backward(y).shape == x.shape
    assert layer([1, 2]).dtype == "float64"
    assert np.isnan(layer.eval()(np.array([np.nan], dtype))).all()
    turned = reals(4, 3).astype(dtype).T
    np.testing.assert_array_equal(layer(turned), layer(turned.copy()))


@pytest.mark.parametrize("kind", [rnnfast.Tanh, rnnfast.Sigmoid, rnnfast.ReLU])
def test_an_activation_notices_that_its_y_was_changed(kind: Any) -> None:
    layer = kind()
    y = layer(reals(3, 5))
    before = y.copy()
    y *= 2
    with pytest.raises(RuntimeError, match=r"^y: expected the values of the forward pass"):
        layer.backward(before)
    y[...] = before
    layer.backward(before)


@pytest.mark.parametrize("kind", ["GELU", "SiLU", "LayerNorm", "Conv1d", "MergeDirections"])
def test_a_layer_notices_that_its_x_was_changed(kind: str) -> None:
    layer = getattr(rnnfast, kind)(*{"LayerNorm": (5,), "Conv1d": (5, 2, 3)}.get(kind, ()))
    x = reals(4, 3, 6 if kind == "MergeDirections" else 5)
    y = layer(x)
    x *= 2
    with pytest.raises(RuntimeError, match=r"^x(, weight)?: expected the values of the forward"):
        layer.backward(np.ones_like(y))
    assert not any(p.grad.any() for p in layer.parameters())


def test_a_bad_approximation_is_refused() -> None:
    with pytest.raises(ValueError, match="approximate: expected one of none, tanh, got 'erf'"):
        rnnfast.GELU("erf")
    with pytest.raises(ValueError, match=r"kind: expected tanh, sigmoid, relu, .* got selu"):
        _core.activation_forward(kind="selu", x=reals(3))


# ---- dropout


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_is_the_mask_of_its_seed(dtype: str) -> None:
    layer, x = rnnfast.Dropout(0.3, seed=5), reals(3, 7, 11).astype(dtype)
    generator = np.random.default_rng(5)
    for _ in range(2):
        seed = int(generator.integers(2**63))
        mask = philox.dropout_mask(x.size, 0.3, seed, 0).reshape(x.shape).astype(dtype)
        np.testing.assert_array_equal(layer(x), x * mask)
        np.testing.assert_array_equal(layer.backward(x), x * mask)
    assert 0.2 < (mask == 0).mean() < 0.4


def test_dropout_of_nothing_and_of_all() -> None:
    x = reals(3, 7)
    for layer in (rnnfast.Dropout(0), rnnfast.Dropout(0.9).eval()):
        np.testing.assert_array_equal(layer(x), x)
    layer = rnnfast.Dropout(1)
    assert not layer(x).any()
    assert not layer.backward(x).any()
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"p: expected a number in \[0, 1\], got"):
            rnnfast.Dropout(p)


# ---- layer normalisation


def test_layer_norm_of_a_large_mean_keeps_its_digits() -> None:
    x = (1e4 + reals(5, 64)).astype("float32")
    exact = x.astype("float64")
    centred = exact - exact.mean(-1, keepdims=True)
    expected = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
    # The mean of 64 values near 1e4 is off by a few of their units, 1e-3, of a deviation of 1.
    np.testing.assert_allclose(rnnfast.LayerNorm(64)(x), expected, rtol=0, atol=4e-3)


def test_layer_norm_of_a_constant_row_is_its_bias() -> None:
    layer = rnnfast.LayerNorm(9)
    layer.bias[...] = reals(9)
    np.testing.assert_array_equal(layer(np.full((2, 9), 3.0)), np.tile(reals(9), (2, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rnnfast.LayerNorm(0), "normalized_shape: expected at least 1, got 0"),
        (lambda: rnnfast.LayerNorm(3, eps=-1), "eps: expected at least 0"),
        (lambda: rnnfast.LayerNorm(3)(reals(2, 4)), r"x: expected shape \(\.\.\., normalized_"),
        (lambda: rnnfast.Conv1d(3, 4, 0), "kernel_size: expected at least 1, got 0"),
        (lambda: rnnfast.Conv1d(3, 4, 2, padding="full"), "padding: expected one of same, causal"),
        (lambda: rnnfast.Conv1d(3, 4, 2, 2, "same"), "expected a number or 'causal' with stride 2"),
        (lambda: rnnfast.Conv1d(3, 4, 2, padding=-1), "padding: expected at least 0, got -1"),
        (lambda: rnnfast.Conv1d(3, 4, 2, dilation=0), "dilation: expected at least 1, got 0"),
        (lambda: rnnfast.Conv1d(3, 4, 2)(reals(5, 3)), r"x: expected shape \(T, B, C\), got"),
        (lambda: rnnfast.Conv1d(3, 4, 2)(reals(5, 2, 4)), "in_channels = 3"),
        (
            lambda: rnnfast.Conv1d(3, 4, 5, padding=1, dilation=2)(reals(6, 2, 3)),
            "x: expected at least 7 steps for a kernel of 9 steps and 2 of padding, got 6",
        ),
        (lambda: rnnfast.MergeDirections("concat"), "how: expected one of sum, mean, product, max"),
        (lambda: rnnfast.MergeDirections()(reals(5, 3)), r"x: expected shape \(\.\.\., 2\*hidden"),
        (lambda: rnnfast.MergeDirections()(1.0), r"x: expected shape .* both directions, got \(\)"),
        (lambda: rnnfast.Last(True)(reals(5, 3)), r"x: expected shape \(B, T, C\), got"),
        (lambda: rnnfast.Last()(reals(5, 2, 3), [5, 6]), r"lengths: expected values in \[0, seq_"),
        (lambda: rnnfast.MaxPool()(reals(5, 2, 3), [5]), r"lengths: expected shape \(batch,\)"),
    ],
)
def test_bad_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_arrays_and_layers_of_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    class Device:
        name = "cuda"

    from rnnfast._engine import backends

    monkeypatch.setattr(backends, "get", lambda name: Device if name == "cuda" else backends.CPU)
    for make in (lambda **o: rnnfast.LayerNorm(3, **o), lambda **o: rnnfast.Conv1d(3, 4, 2, **o)):
        with pytest.raises(ValueError, match=r"device: expected 'cpu', as .* runs only on the CPU"):
            make(device="cuda")
        assert make().device == "cpu"
    for layer in (rnnfast.Tanh(), rnnfast.Dropout(), rnnfast.MergeDirections(), rnnfast.Last()):
        with pytest.raises(ValueError, match=r"x: expected an array on the CPU, as .* 'cuda'"):
            layer(OnDevice())


# ---- convolution


def test_a_causal_convolution_reads_nothing_that_comes_later() -> None:
    layer, x = rnnfast.Conv1d(3, 4, 3, padding="causal", dilation=2, seed=1), reals(9, 2, 3)
    y = layer.eval()(x)
    assert len(y) == len(x)
    later = x.copy()
    later[5:] = np.nan
    np.testing.assert_array_equal(layer(later)[:5], y[:5])


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_row_of_a_convolution_does_not_depend_on_the_batch(batch_first: bool) -> None:
    for stride in (1, 2):
        layer = rnnfast.Conv1d(17, 33, 3, stride, 1, batch_first=batch_first, seed=1).eval()
        x = reals(13, 9, 17)
        x = x.swapaxes(0, 1) if batch_first else x
        y = layer(x)
        for b in range(9):
            one = np.s_[b : b + 1] if batch_first else np.s_[:, b : b + 1]
            np.testing.assert_array_equal(layer(x[one]), y[one])


# ---- pooling


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [rnnfast.Last, rnnfast.MeanPool, rnnfast.MaxPool])
def test_pooling_reads_valid_steps_alone(kind: Any, batch_first: bool) -> None:
    layer, lengths = kind(batch_first), np.array([4, 0, 1, 6])
    x = reals(6, 4, 5).astype("float64")
    x[np.arange(6)[:, None] >= lengths] = np.nan
    got = step(layer, x.swapaxes(0, 1) if batch_first else x, lengths)
    dx = got["dx"].swapaxes(0, 1) if batch_first else got["dx"]
    dy = reals(4, 5, seed=9).astype("float64")
    expected = np.zeros_like(x)
    for b, n in enumerate(lengths):
        if n == 0:
            assert not got["y"][b].any()
            continue
        steps = x[:n, b]
        weights = {
            "Last": np.eye(n)[-1][:, None] + np.zeros(5),
            "MeanPool": np.full((n, 5), 1 / n),
            "MaxPool": (steps == steps.max(0)).astype(float),
        }[kind.__name__]
        np.testing.assert_allclose(got["y"][b], (weights * steps).sum(0), rtol=1e-14, atol=1e-15)
        expected[:n, b] = weights * dy[b]
    np.testing.assert_allclose(dx, expected, rtol=1e-15, atol=0)


def test_the_gradient_of_equal_maxima_goes_to_the_first() -> None:
    layer = rnnfast.MaxPool()
    layer(np.array([0.0, 1, 1, 0])[:, None, None])
    np.testing.assert_array_equal(layer.backward([[2.0]])[:, 0, 0], [0, 2, 0, 0])
    assert np.isnan(layer(np.array([0.0, np.nan, 1])[:, None, None]))


def test_lengths_may_change_after_the_call() -> None:
    for kind in (rnnfast.Last, rnnfast.MeanPool, rnnfast.MaxPool):
        expected = step(kind(), reals(6, 2, 3), np.array([3, 6]))
        layer, lengths = kind(), np.array([3, 6])
        y = layer(reals(6, 2, 3), lengths)
        lengths[:] = 1
        np.testing.assert_array_equal(layer.backward(reals(*y.shape, seed=9)), expected["dx"])


# ---- sizes of zero


@pytest.mark.parametrize("lengths", [None, np.zeros(0, "int64")])
def test_an_empty_batch_has_empty_results(lengths: Any) -> None:
    x = np.zeros((4, 0, 3), "float32")
    for layer in (rnnfast.Conv1d(3, 5, 2), rnnfast.Last(), rnnfast.MeanPool(), rnnfast.MaxPool()):
        y = layer(x, lengths)
        assert y.shape == ((3, 0, 5) if isinstance(layer, rnnfast.Conv1d) else (0, 3))
        assert layer.backward(y).shape == x.shape
    for layer in (rnnfast.LayerNorm(3), rnnfast.Tanh(), rnnfast.Dropout()):
        assert layer.backward(layer(x)).shape == x.shape


def test_sequences_of_no_steps_are_pooled_to_zeros() -> None:
    for layer in (rnnfast.Last(), rnnfast.MeanPool(), rnnfast.MaxPool()):
        y = layer(np.zeros((0, 2, 3)))
        np.testing.assert_array_equal(y, np.zeros((2, 3)))
        assert layer.backward(y).shape == (0, 2, 3)
