"""Losses and their gradients against PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
from tolerances import TORCH_RELATIVE_FLOAT64

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

T, B, C = 7, 4, 5
LENGTHS = np.array([7, 0, 3, 6])
INSIDE = np.arange(T)[:, None] < LENGTHS
REDUCTIONS = ("mean", "sum", "none")

Loss = Callable[..., Any]


def reals(*shape: int, seed: int = 0) -> NDArray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def with_kinks(*shape: int) -> tuple[NDArray, NDArray]:
    """Return values and targets with some differences of 0 and exactly 1, and some huge ones."""
    y, target = reals(*shape), reals(*shape, seed=1)
    target.flat[4:6] = [2, 3]
    y.flat[3:8] = [target.flat[3], 3, 2, 1e150, -1e150]
    return y, target


def expect(got: Any, wanted: Any) -> None:
    """Check values to the accuracy of a float64 computation, with NaN in the same places."""
    got, wanted = (
        np.asarray(got),
        np.asarray(wanted.detach() if torch.is_tensor(wanted) else wanted),
    )
    assert got.shape == wanted.shape
    finite = np.abs(wanted[np.isfinite(wanted)])
    # Huge values are compared by themselves, all others relative to the largest of the array.
    usual = finite[finite < 1e6].max(initial=0.0)
    np.testing.assert_allclose(
        got, wanted, rtol=TORCH_RELATIVE_FLOAT64, atol=TORCH_RELATIVE_FLOAT64 * usual
    )


def of_torch(loss: Loss, *arrays: NDArray, wanted: int = 1) -> tuple[Any, list[Any]]:
    """Return a loss of PyTorch and its gradients with respect to the first `wanted` arrays."""
    tensors = [torch.tensor(a, requires_grad=i < wanted) for i, a in enumerate(arrays)]
    value = loss(*tensors)
    value.sum().backward()
    return value, [t.grad for t in tensors[:wanted]]


def masked(array: NDArray) -> NDArray:
    """Put NaN past the ends of the sequences, where nothing may read."""
    array = array.copy()
    array[~INSIDE] = np.nan
    return array


def check(
    ours: Loss,
    theirs: Loss,
    arrays: list[NDArray],
    reduction: str,
    *,
    lengths: bool,
    wanted: int = 1,
) -> None:
    """Compare with PyTorch, which gets only the steps inside the sequences."""
    if not lengths:
        loss, gradients = ours(*arrays, reduction=reduction)
        value, expected = of_torch(
            lambda *t: theirs(*t, reduction=reduction), *arrays, wanted=wanted
        )
        expect(loss, value)
        for got, want in zip(gradients if wanted > 1 else [gradients], expected, strict=True):
            expect(got, want)
        return
    loss, gradients = ours(*map(masked, arrays), reduction=reduction, lengths=LENGTHS)
    value, expected = of_torch(
        lambda *t: theirs(*t, reduction=reduction), *(a[INSIDE] for a in arrays), wanted=wanted
    )
    if reduction == "none":
        assert not loss[~INSIDE].any()
        loss = loss[INSIDE]
    expect(loss, value)
    for got, want in zip(gradients if wanted > 1 else [gradients], expected, strict=True):
        assert not got[~INSIDE].any()
        expect(got[INSIDE], want)


every = pytest.mark.parametrize("reduction", REDUCTIONS)
with_lengths = pytest.mark.parametrize("lengths", [False, True])


@every
@with_lengths
@pytest.mark.parametrize("shape", [(T, B), (T, B, C), (T, B, 2, 3)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (rnnfast.mse, F.mse_loss),
        (rnnfast.l1, F.l1_loss),
        (rnnfast.huber, F.huber_loss),
        (
            lambda *a, **o: rnnfast.huber(*a, delta=0.25, **o),
            lambda *a, **o: F.huber_loss(*a, delta=0.25, **o),
        ),
    ],
    ids=["mse", "l1", "huber", "huber_delta"],
)
def test_regression(
    ours: Loss, theirs: Loss, shape: tuple[int, ...], reduction: str, lengths: bool
) -> None:
    check(ours, theirs, list(with_kinks(*shape)), reduction, lengths=lengths)


@every
@with_lengths
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("last", [C, 1])
def test_gaussian_nll(last: int, full: bool, lengths: bool, reduction: str) -> None:
    var = np.abs(reals(T, B, last, seed=2))
    var.flat[2], var.flat[5] = 0, 1e-3  # below eps, where the gradient is the one at eps
    y, target = reals(T, B, C), reals(T, B, C, seed=1)

    def theirs(y: Any, var: Any, target: Any, reduction: str) -> Any:
        return F.gaussian_nll_loss(y, target, var, full=full, eps=1e-2, reduction=reduction)

    def ours(y: NDArray, var: NDArray, target: NDArray, **options: Any) -> Any:
        return rnnfast.gaussian_nll(y, target, var, full=full, eps=1e-2, **options)

    check(ours, theirs, [y, var, target], reduction, lengths=lengths, wanted=2)


@every
@with_lengths
@pytest.mark.parametrize("weight", [None, (), (C,), (B, C)])
def test_bce_with_logits(weight: tuple[int, ...] | None, lengths: bool, reduction: str) -> None:
    logits, target = reals(T, B, C) * 5, np.random.default_rng(1).random((T, B, C))
    logits.flat[:4] = [800, -800, 1e150, -1e150]
    target.flat[:8] = [0, 0, 1, 1, 0, 1, 0, 1]
    pos_weight = None if weight is None else np.asarray(np.abs(reals(*weight)) + 0.1)
    if lengths and weight == (B, C):
        full = np.broadcast_to(pos_weight, (T, B, C))[INSIDE]
    else:
        full = pos_weight
    check(
        lambda *a, **o: rnnfast.bce_with_logits(*a, pos_weight=pos_weight, **o),
        lambda *a, **o: F.binary_cross_entropy_with_logits(
            *a, pos_weight=None if full is None else torch.tensor(full), **o
        ),
        [logits, target],
        reduction,
        lengths=lengths,
    )


def class_data() -> tuple[NDArray, NDArray, NDArray]:
    """Return logits, targets (some ignored, -100, or of the class of weight 0) and weights."""
    targets = np.random.default_rng(2).integers(0, C, (T, B))
    targets[2, 0], targets[0, 2], targets[1, 3] = -100, -100, 1
    weight = np.abs(reals(C)) + 0.1
    weight[1] = 0
    return reals(T, B, C) * 3, targets, weight


def rows(tensor: Any) -> Any:
    """Reshape (..., V) to (N, V), which PyTorch takes."""
    return tensor.reshape(-1, C)


@every
@with_lengths
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [None, 0.0, 0.1, 1.0])
def test_cross_entropy_and_nll(
    smoothing: float | None, weighted: bool, lengths: bool, reduction: str
) -> None:
    """Compare with nll_loss if there is no smoothing at all."""
    logits, targets, weight = class_data()
    options: dict[str, Any] = {"weight": weight if weighted else None}
    theirs = F.nll_loss
    if smoothing is not None:
        options["label_smoothing"], theirs = smoothing, F.cross_entropy
    kept = INSIDE if lengths else np.ones((T, B), bool)
    value, [expected] = of_torch(
        lambda x: theirs(
            x,
            torch.tensor(targets[kept]),
            reduction=reduction,
            **options | {"weight": torch.tensor(weight) if weighted else None},
        ),
        logits[kept],
    )
    given, wild = logits.copy(), targets.copy()
    given[~kept], wild[~kept] = np.nan, 10**9
    ours = rnnfast.nll if smoothing is None else rnnfast.softmax_cross_entropy
    options |= {"reduction": reduction, "lengths": LENGTHS if lengths else None}
    loss, gradient = ours(given, wild, **options)
    assert not gradient[~kept].any()
    expect(gradient[kept], expected)
    if smoothing is not None:
        np.testing.assert_array_equal(rnnfast.cross_entropy(given, wild, **options), loss)
    if reduction == "none":
        assert not loss[~kept].any()
        loss = loss[kept]
    expect(loss, value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 3, 16, 65, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_smoothed_cross_entropy_of_many_classes(weighted: bool, classes: int, dtype: str) -> None:
    """Float32 is within a few roundings of PyTorch's float64 for the same values."""
    logits = (reals(9, classes) * 10).astype("float32")
    weight = (np.abs(reals(classes)) + 0.5).astype("float32")
    targets = np.random.default_rng(0).integers(0, classes, 9)
    loss, gradient = rnnfast.softmax_cross_entropy(
        logits.astype(dtype), targets, weight=weight if weighted else None, label_smoothing=0.2
    )
    value, [expected] = of_torch(
        lambda x: F.cross_entropy(
            x,
            torch.tensor(targets),
            weight=torch.tensor(weight.astype(float)) if weighted else None,
            label_smoothing=0.2,
        ),
        logits.astype("float64"),
    )
    eps = max(float(np.finfo(dtype).eps), TORCH_RELATIVE_FLOAT64)
    assert loss == pytest.approx(value.item(), rel=4 * eps)
    largest = 1 / 9  # the largest element of a row's gradient
    np.testing.assert_allclose(gradient, expected.numpy(), rtol=0, atol=8 * eps * largest)


CTC_CASES = {  # C, input lengths, target lengths, blank
    "usual": (6, [20, 13, 17], [5, 3, 7], 0),
    "last blank": (6, [20, 13, 17], [5, 3, 7], 5),
    "middle blank": (4, [20, 9, 20], [8, 2, 1], 2),
    "empty targets": (5, [6, 4, 1], [0, 2, 0], 0),
    "all targets empty": (5, [6, 0], [0, 0], 1),
    "one step": (4, [1, 1, 1], [1, 0, 1], 0),
    "one label": (2, [9, 5], [3, 2], 0),  # all labels are repeated
    "no room to spare": (7, [8, 8], [8, 4], 0),
    "many states": (5, [90, 60], [37, 16], 4),
    "long": (64, [200, 150], [40, 33], 0),
}


def ctc_data(name: str) -> tuple[NDArray, NDArray, NDArray, NDArray, int]:
    classes, inputs, counts, blank = CTC_CASES[name]
    rng = np.random.default_rng(len(name))
    labels = rng.integers(0, classes - 1, (len(inputs), max(counts)))
    labels += labels >= blank
    if name == "no room to spare":
        labels[0] = 1 + np.arange(8) % 2
        labels[1, :4] = 3  # so that a blank is needed between each pair
    logits = 3 * rng.standard_normal((max(inputs), len(inputs), classes))
    return logits, labels, np.array(inputs), np.array(counts), blank


def ctc_of_torch(
    logits: NDArray, labels: NDArray, inputs: NDArray, counts: NDArray, **options: Any
) -> tuple[Any, Any]:
    lengths = torch.tensor(inputs), torch.tensor(counts)
    value, [gradient] = of_torch(
        lambda x: F.ctc_loss(x.log_softmax(-1), torch.tensor(labels), *lengths, **options), logits
    )
    return value, gradient.numpy()


@every
@pytest.mark.parametrize("name", CTC_CASES)
def test_ctc(name: str, reduction: str) -> None:
    logits, labels, inputs, counts, blank = ctc_data(name)
    options: dict[str, Any] = {"blank": blank, "reduction": reduction}
    value, expected = ctc_of_torch(logits, labels, inputs, counts, **options)
    loss, gradient = rnnfast.ctc(logits, labels, inputs, counts, **options)
    expect(loss, value)
    # Sums of logarithms near -1000 have errors of 1e-13, and so do the probabilities.
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    flat = labels[np.arange(labels.shape[1]) < counts[:, None]]
    concatenated = rnnfast.ctc(logits, flat, inputs, counts, **options)
    np.testing.assert_array_equal(concatenated[0], loss)
    np.testing.assert_array_equal(concatenated[1], gradient)


def test_ctc_of_log_probabilities_is_that_of_logits_and_its_gradient_pytorchs() -> None:
    logits, labels, inputs, counts, _ = ctc_data("usual")
    log_probs = torch.tensor(logits).log_softmax(-1).numpy()
    lengths = torch.tensor(inputs), torch.tensor(counts)
    value, [expected] = of_torch(lambda x: F.ctc_loss(x, torch.tensor(labels), *lengths), log_probs)
    loss, gradient = rnnfast.ctc(log_probs, labels, inputs, counts)
    expect(loss, value)
    np.testing.assert_allclose(gradient, expected.numpy(), rtol=0, atol=1e-12)


@every
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_of_too_few_steps(zero_infinity: bool, reduction: str) -> None:
    """The loss is infinite; the gradient is NaN inside the sequence and 0 after it, or all 0."""
    logits, labels = reals(5, 3, 4), np.array([[1, 1, 2], [2, 3, 1], [1, 2, 3]])
    inputs, counts = np.array([3, 5, 0]), np.array([3, 3, 1])
    options: dict[str, Any] = {"reduction": reduction, "zero_infinity": zero_infinity}
    value, expected = ctc_of_torch(logits, labels, inputs, counts, **options)
    loss, gradient = rnnfast.ctc(logits, labels, inputs, counts, **options)
    expect(loss, value)
    expect(gradient, expected)
    assert np.isnan(gradient).any() != zero_infinity


@every
@pytest.mark.parametrize("given", [int, np.array, lambda n: np.array([n])])
def test_ctc_of_one_sequence(given: Callable[[int], Any], reduction: str) -> None:
    logits, labels = reals(9, 5), np.array([1, 1, 4])
    value, expected = ctc_of_torch(logits, labels, np.array(8), np.array(3), reduction=reduction)
    loss, gradient = rnnfast.ctc(logits, labels, given(8), given(3), reduction=reduction)
    expect(loss, value)
    expect(gradient, expected)
