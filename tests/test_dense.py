"""Linear layer, embedding, softmax cross-entropy and clipping against plain NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import cases
import rnnfast

DTYPES = ("float32", "float64")
# Rows, inputs and outputs near the limits of vectors, panels (64), strips (96) and depth (512).
PRODUCT_SIZES = [
    (1, 1, 1),
    (2, 3, 5),
    (97, 16, 65),
    (13, 513, 17),
    (600, 33, 129),
    (3, 40, 1100),
]

Results = dict[str, NDArray]
Compute = Callable[[str], Results]


def compare(got: Results, plain: Compute, dtype: str) -> None:
    """Check results against plain NumPy in float64, within the error that it makes in float32."""
    expected = plain("float64")
    single = plain("float32")
    errors = {name: cases.worst(single[name], expected[name]) for name in expected}
    longest = max(size for values in expected.values() for size in values.shape)
    cases.assert_close(got, expected, errors, cases.Task(dtype, longest))


def reals(*shape: int, seed: int = 0) -> NDArray:
    """Return values that float32 holds exactly, so that both types see the same data."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def run_linear(rows: int, inputs: int, outputs: int, dtype: str, bias: bool = True) -> Results:
    layer = rnnfast.Linear(inputs, outputs, bias, dtype=dtype)
    state = {"weight": reals(outputs, inputs)} | ({"bias": reals(outputs)} if bias else {})
    layer.load_state_dict(state)
    for p in layer.parameters():
        p.grad[...] = 1  # gradients are added to what is there
    y = layer(reals(rows, inputs, seed=1).astype(dtype))
    dx = layer.backward(reals(rows, outputs, seed=2).astype(dtype))
    assert dx is not None
    return {"y": y, "dx": dx} | {f"d{p.name}": p.grad for p in layer.parameters()}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", PRODUCT_SIZES)
def test_linear(sizes: tuple[int, int, int], dtype: str, bias: bool) -> None:
    rows, inputs, outputs = sizes

    def plain(dtype: str) -> Results:
        x, w = reals(rows, inputs, seed=1).astype(dtype), reals(outputs, inputs).astype(dtype)
        b, dy = reals(outputs).astype(dtype), reals(rows, outputs, seed=2).astype(dtype)
        results = {"y": x @ w.T + (b if bias else 0), "dx": dy @ w, "dweight": 1 + dy.T @ x}
        return results | ({"dbias": 1 + dy.sum(0)} if bias else {})

    compare(run_linear(*sizes, dtype, bias), plain, dtype)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(2000, 64, 65), (40, 700, 600), (3, 600, 1100)])
def test_linear_is_the_same_for_any_number_of_threads(
    sizes: tuple[int, int, int], dtype: str
) -> None:
    rnnfast.set_num_threads(1)
    expected = run_linear(*sizes, dtype)
    for n in (2, 3):
        rnnfast.set_num_threads(n)
        cases.assert_identical(run_linear(*sizes, dtype), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_a_linear_layer_does_not_depend_on_its_batch(dtype: str) -> None:
    layer = rnnfast.Linear(70, 65, dtype=dtype, seed=1)
    x = reals(200, 70).astype(dtype)
    y = layer(x)
    for row in (0, 7, 199):
        np.testing.assert_array_equal(layer(x[row]), y[row])


def run_embedding(dtype: str, dim: int) -> Results:
    layer = rnnfast.Embedding(11, dim, dtype=dtype)
    layer.load_state_dict({"weight": reals(11, dim)})
    indices = np.random.default_rng(3).integers(0, 11, (40, 25))
    y = layer(indices)
    layer.backward(reals(40, 25, dim, seed=1).astype(dtype))
    return {"y": y, "dweight": next(layer.parameters()).grad}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 7, 64, 130])
def test_embedding(dim: int, dtype: str) -> None:
    indices = np.random.default_rng(3).integers(0, 11, (40, 25))

    def plain(dtype: str) -> Results:
        dweight = np.zeros((11, dim), dtype)
        np.add.at(dweight, indices, reals(40, 25, dim, seed=1).astype(dtype))
        return {"y": reals(11, dim)[indices].astype(dtype), "dweight": dweight}

    got = run_embedding(dtype, dim)
    compare(got, plain, dtype)
    cases.assert_identical(got, plain(dtype))  # the sums have a single order, that of the indices


@pytest.mark.usefixtures("threads")
def test_embedding_is_the_same_for_any_number_of_threads() -> None:
    rnnfast.set_num_threads(1)
    expected = run_embedding("float32", 130)
    rnnfast.set_num_threads(3)
    cases.assert_identical(run_embedding("float32", 130), expected)


def plain_cross_entropy(logits: NDArray, targets: NDArray, ignored: int) -> tuple[float, NDArray]:
    """Return the mean loss, and its gradient times the number of targets that count."""
    shifted = logits - logits.max(-1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(-1, keepdims=True)
    kept = targets != ignored
    rows, wanted = np.nonzero(kept)[0], targets[kept]
    gradient = e / total
    gradient[rows, wanted] -= 1
    gradient[~kept] = 0
    return float((np.log(total[rows, 0]) - shifted[rows, wanted]).mean()), gradient


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(
    ("classes", "ignored"), [(1, -100), *((n, i) for n in (2, 17, 65, 600) for i in (-100, 0))]
)
def test_cross_entropy(classes: int, scale: float, ignored: int, dtype: str) -> None:
    logits = reals(23, classes) * np.float32(scale)
    targets = np.random.default_rng(classes).integers(0, classes, 23)
    targets[5] = ignored
    targets[6] = classes - 1
    count = int((targets != ignored).sum())

    def plain(dtype: str) -> Results:
        loss, gradient = plain_cross_entropy(logits.astype(dtype), targets, ignored)
        return {"loss": np.array([loss]), "dlogits": gradient}

    loss, dlogits = rnnfast.softmax_cross_entropy(logits.astype(dtype), targets, ignored)
    got = {"loss": np.array([loss], dtype), "dlogits": dlogits * count}
    compare(got, plain, dtype)
    assert rnnfast.cross_entropy(logits.astype(dtype), targets, ignored) == loss


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_extreme_logits(dtype: str) -> None:
    huge = 1e30
    logits = np.array([[huge, 0, -huge], [-np.inf, 0, -np.inf], [-huge, -huge, -huge]], dtype)
    targets = np.array([0, 1, 2])
    loss, dlogits = rnnfast.softmax_cross_entropy(logits, targets)
    assert loss == pytest.approx(np.log(3) / 3, rel=float(np.finfo(dtype).eps))
    third = 1 / 3
    expected = [[0, 0, 0], [0, 0, 0], [third / 3, third / 3, third / 3 - third]]
    np.testing.assert_allclose(dlogits, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_cross_entropy_of_nan_is_nan_in_its_row_alone() -> None:
    logits = reals(3, 20)
    logits[1, 19] = np.nan
    loss, dlogits = rnnfast.softmax_cross_entropy(logits, np.array([1, 2, 3]))
    assert np.isnan(loss)
    np.testing.assert_array_equal(np.isnan(dlogits).all(1), [False, True, False])
    np.testing.assert_array_equal(np.isnan(dlogits).any(1), [False, True, False])


def test_cross_entropy_takes_any_leading_shape() -> None:
    logits, targets = reals(4, 5, 7), np.random.default_rng(0).integers(0, 7, (4, 5))
    loss, dlogits = rnnfast.softmax_cross_entropy(logits, targets)
    flat_loss, flat = rnnfast.softmax_cross_entropy(logits.reshape(20, 7), targets.reshape(20))
    assert loss == flat_loss
    np.testing.assert_array_equal(dlogits, flat.reshape(4, 5, 7))


@pytest.mark.parametrize("rows", [0, 3])
def test_cross_entropy_without_targets_is_nan_with_a_zero_gradient(rows: int) -> None:
    loss, dlogits = rnnfast.softmax_cross_entropy(reals(rows, 5), np.full(rows, -100))
    assert np.isnan(loss)
    np.testing.assert_array_equal(dlogits, np.zeros((rows, 5), "float32"))


@pytest.mark.usefixtures("threads")
def test_cross_entropy_is_the_same_for_any_number_of_threads() -> None:
    logits, targets = reals(1001, 65), np.random.default_rng(1).integers(0, 65, 1001)
    results = []
    for n in (1, 2, 3):
        rnnfast.set_num_threads(n)
        results.append(rnnfast.softmax_cross_entropy(logits, targets))
    for loss, dlogits in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(dlogits, results[0][1])


def parameters_with_gradients(dtype: str, scale: float = 1.0) -> list[rnnfast.Parameter]:
    """Return three parameters whose sizes are near the limits of blocks (8192)."""
    shapes = [(3, 5), (8192,), (130, 257)]
    gradients = [(scale * reals(*shape).astype("float64")).astype(dtype) for shape in shapes]
    return [rnnfast.Parameter(f"p{i}", np.zeros_like(g), g) for i, g in enumerate(gradients)]


def joint_norm(parameters: list[rnnfast.Parameter]) -> float:
    squares = np.concatenate([p.grad.ravel() for p in parameters]).astype("longdouble") ** 2
    return float(np.sqrt(squares.sum()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-3])
def test_clip_grad_norm(dtype: str, scale: float) -> None:
    parameters = parameters_with_gradients(dtype, scale)
    before, norm = [p.grad.copy() for p in parameters], joint_norm(parameters)
    # Float64 sums of a few thousand squares make at most as many roundings of half an eps.
    assert rnnfast.clip_grad_norm_(parameters, norm * 2) == pytest.approx(norm, rel=1e-12)
    for p, gradient in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)  # below the limit: unchanged
    rnnfast.clip_grad_norm_(parameters, norm / 4)
    factor = norm / 4 / (norm + 1e-6)
    for p, gradient in zip(parameters, before, strict=True):
        eps = np.finfo(dtype).eps  # the factor and the product are rounded
        tiny = np.finfo(dtype).tiny
        np.testing.assert_allclose(p.grad, gradient * factor, rtol=4 * eps, atol=tiny)


@pytest.mark.usefixtures("threads")
def test_clip_grad_norm_is_the_same_for_any_number_of_threads() -> None:
    norms = []
    for n in (1, 2, 3):
        rnnfast.set_num_threads(n)
        norms.append(rnnfast.clip_grad_norm_(parameters_with_gradients("float32"), 1e9))
    assert norms[0] == norms[1] == norms[2]


def test_clip_grad_norm_shows_nan() -> None:
    parameters = parameters_with_gradients("float32")
    parameters[1].grad[17] = np.nan
    assert np.isnan(rnnfast.clip_grad_norm_(parameters, 1.0))
    assert np.isnan(parameters[0].grad).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_grad_value(dtype: str) -> None:
    parameters = parameters_with_gradients(dtype)
    parameters[1].grad[:3] = np.nan, np.inf, -np.inf
    expected = [np.clip(p.grad, -0.5, 0.5) for p in parameters]
    rnnfast.clip_grad_value_(parameters, 0.5)
    for p, gradient in zip(parameters, expected, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)
