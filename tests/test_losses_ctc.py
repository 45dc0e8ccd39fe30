"""CTC against the sum over all alignments, and properties that hold for any data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
import tolerances

DTYPES = ("float32", "float64")


def reals(*shape: int, scale: float = 1.0) -> NDArray:
    """Return values that float32 holds exactly."""
    values = np.random.default_rng(list(shape)).standard_normal(shape) * scale
    return values.astype("float32").astype("float64")


def softmax(logits: NDArray) -> NDArray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def labels_of(alignment: tuple[int, ...], blank: int) -> list[int]:
    """Merge runs of the same class and remove the blanks."""
    return [c for c, _ in itertools.groupby(alignment) if c != blank]


def by_enumeration(logits: NDArray, labels: list[int], blank: int) -> tuple[float, NDArray]:
    """Return the loss of a sequence (T, C) and its gradient, probability minus posterior."""
    steps, classes = logits.shape
    p, total, posterior = softmax(logits), 0.0, np.zeros_like(logits)
    for alignment in itertools.product(range(classes), repeat=steps):
        if labels_of(alignment, blank) == labels:
            at = (np.arange(steps), np.array(alignment, int))
            total += (probability := p[at].prod())
            posterior[at] += probability
    return -math.log(total), p - posterior / total


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize(
    ("steps", "ranks"),
    [
        (1, []),
        (1, [0]),
        (3, []),
        (3, [0, 0]),
        (4, [0, 1]),
        (5, [1, 1]),
        (6, [0, 1, 0]),
        (6, [0, 1, 1]),
        (6, [1, 1, 0, 1]),
    ],
)
def test_sum_over_all_alignments(steps: int, ranks: list[int], blank: int, dtype: str) -> None:
    labels = [[c for c in range(3) if c != blank][rank] for rank in ranks]
    logits = reals(steps, 3, scale=2)
    expected, gradient = by_enumeration(logits, labels, blank)
    loss, dlogits = rnnfast.ctc(logits.astype(dtype), labels, steps, len(labels), blank, "sum")
    eps = float(np.finfo(dtype).eps)
    # exp has an error of 2 eps, at worst the same way in every step; the sums are in float64.
    assert loss == pytest.approx(expected, rel=4 * eps, abs=3 * eps * steps)
    assert dlogits.dtype == dtype
    np.testing.assert_allclose(dlogits, gradient, rtol=0, atol=4 * eps * steps)


def test_gradient_is_that_of_the_loss() -> None:
    """Central differences confirm the gradient by unnormalised logits, for every reduction."""
    logits = reals(6, 3, 4)
    labels, inputs, counts = np.array([[1, 1, 0], [3, 1, 3], [2, 0, 0]]), [6, 5, 4], [2, 3, 1]

    def loss(x: NDArray, reduction: str) -> float:
        value, _ = rnnfast.ctc(x, labels, inputs, counts, 0, reduction)
        return float(value.sum()) if reduction == "none" else float(value)

    step = tolerances.CENTRAL_DIFFERENCE_STEP
    labels[0, 2] = labels[2, 1:] = -1  # padding may have any value
    for reduction in ("mean", "sum", "none"):
        _, gradient = rnnfast.ctc(logits, labels, inputs, counts, 0, reduction)
        for at in np.ndindex(logits.shape):
            up, down = logits.copy(), logits.copy()
            up[at] += step
            down[at] -= step
            slope = (loss(up, reduction) - loss(down, reduction)) / (2 * step)
            assert gradient[at] == pytest.approx(slope, abs=tolerances.CENTRAL_DIFFERENCE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [50.0, 1e3, 1e5, 1e10, -np.inf])
def test_unlikely_labels(depth: float, dtype: str) -> None:
    """Alignments may have probabilities far below the smallest number.

    The blank is certain but for exp(-|depth|), the probability of every other class, so only the
    alignments with a single step per label count.
    """
    steps = 10
    logits = np.full((steps, 1, 4), -abs(depth), dtype)
    logits[..., 0] = 0
    loss, gradient = rnnfast.ctc(logits, [[1, 2, 3]], [steps], [3], reduction="sum")
    if depth == -np.inf:
        assert loss == np.inf
        assert np.isnan(gradient).all()
        return
    expected = 3 * depth - math.log(math.comb(steps, 3))
    assert loss == pytest.approx(expected, rel=4 * float(np.finfo(dtype).eps))
    for k in range(3):
        share = [math.comb(t, k) * math.comb(steps - 1 - t, 2 - k) for t in range(steps)]
        posterior = np.array(share) / math.comb(steps, 3)
        eps = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(gradient[:, 0, k + 1], -posterior, rtol=0, atol=4 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_impossible_class_has_no_gradient(dtype: str) -> None:
    logits = reals(5, 1, 4).astype(dtype)
    logits[2, 0, 3] = -np.inf
    loss, gradient = rnnfast.ctc(logits, [[1, 2]], [5], [2])
    without = logits.copy()
    without[2, 0, 3] = -200  # its exp changes no sum
    expected = rnnfast.ctc(without, [[1, 2]], [5], [2])
    assert loss == expected[0]
    assert gradient[2, 0, 3] == 0
    assert float(expected[1][2, 0, 3]) < 1e-80
    expected[1][2, 0, 3] = 0
    np.testing.assert_array_equal(gradient, expected[1])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_a_number_stays_in_its_sequence(wrong: float) -> None:
    logits, lengths = reals(6, 3, 4), [6, 4, 6]
    expected = rnnfast.ctc(logits, [[1, 2]] * 3, lengths, [2] * 3, reduction="none")
    logits[2, 1, 3] = wrong
    logits[4:, 1] = np.nan  # after the end of the sequence
    loss, gradient = rnnfast.ctc(logits, [[1, 2]] * 3, lengths, [2] * 3, reduction="none")
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False])
    assert np.isnan(gradient[:4, 1]).all()
    assert not gradient[4:, 1].any()
    others = [0, 2]
    np.testing.assert_array_equal(loss[others], expected[0][others])
    np.testing.assert_array_equal(gradient[:, others], expected[1][:, others])


def test_float32_has_the_sums_of_float64() -> None:
    """Over 1,000 steps, sums of float32 logarithms of this size would be off by 1e-4."""
    logits = reals(1000, 2, 30, scale=3)
    labels = np.random.default_rng(0).integers(1, 30, (2, 120))
    lengths = [1000, 900], [120, 100]
    loss, gradient = rnnfast.ctc(logits, labels, *lengths, reduction="none")
    single, dsingle = rnnfast.ctc(logits.astype("float32"), labels, *lengths, reduction="none")
    eps = float(np.finfo("float32").eps)
    np.testing.assert_allclose(single, loss, rtol=eps)
    np.testing.assert_allclose(dsingle, gradient, rtol=0, atol=8 * eps)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_for_any_number_of_threads_and_in_any_batch(dtype: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((60, 9, 17)).astype(dtype)
    labels = rng.integers(1, 17, (9, 20))
    inputs, counts = rng.integers(40, 61, 9), rng.integers(0, 21, 9)
    results = []
    for threads in (1, 2, 3, 8):
        rnnfast.set_num_threads(threads)
        results.append(rnnfast.ctc(logits, labels, inputs, counts, reduction="none"))
    for loss, gradient in results[1:]:
        assert loss.tobytes() == results[0][0].tobytes()
        assert gradient.tobytes() == results[0][1].tobytes()
    for n in range(9):
        loss, gradient = rnnfast.ctc(
            logits[: inputs[n], n], labels[n, : counts[n]], inputs[n], counts[n], reduction="none"
        )
        assert loss == results[0][0][n]
        np.testing.assert_array_equal(gradient, results[0][1][: inputs[n], n])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_to_sum(reduction: str) -> None:
    none = np.zeros(0, int)
    loss, gradient = rnnfast.ctc(np.zeros((3, 0, 4)), [], none, none, reduction=reduction)
    assert gradient.shape == (3, 0, 4)
    if reduction == "none":
        assert loss.shape == (0,)
    else:
        assert math.isnan(loss) == (reduction == "mean")
    no_steps, _ = rnnfast.ctc(np.zeros((0, 2, 4)), [[], []], [0, 0], [0, 0], reduction="none")
    np.testing.assert_array_equal(no_steps, [0, 0])
