"""Losses that have no counterpart to compare with: quantiles, reductions, conversions, refusals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
from rnnfast._engine import backends
from tolerances import CENTRAL_DIFFERENCE, CENTRAL_DIFFERENCE_STEP

T, B, C = 5, 3, 4
Loss = Callable[..., Any]


def reals(*shape: int, seed: int = 0) -> NDArray:
    """Return values that float32 holds exactly."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return values.astype("float32").astype("float64")


def zeros(*shape: int, dtype: str = "float64") -> NDArray:
    return np.zeros(shape, dtype)


# Every loss on the same shape (T, B, C), with the arguments after y.
Q = 0.3
LOSSES: dict[str, tuple[Loss, list[Any]]] = {
    "mse": (rnnfast.mse, [reals(T, B, C, seed=1)]),
    "l1": (rnnfast.l1, [reals(T, B, C, seed=1)]),
    "huber": (rnnfast.huber, [reals(T, B, C, seed=1)]),
    "quantile": (rnnfast.quantile, [reals(T, B, C, seed=1), Q]),
    "quantiles": (rnnfast.quantile, [reals(T, B, seed=1), [0.1, 0.25, 0.5, 0.9]]),
    "bce": (rnnfast.bce_with_logits, [np.abs(reals(T, B, C, seed=1)) % 1]),
    "nll": (rnnfast.nll, [np.arange(T * B).reshape(T, B) % C]),
    "cross_entropy": (rnnfast.softmax_cross_entropy, [np.arange(T * B).reshape(T, B) % C]),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


@pytest.mark.parametrize("name", [*LOSSES, "gaussian"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradient_is_that_of_the_loss(name: str, reduction: str) -> None:
    """Central differences confirm gradients; the gradient of "none" is that of the sum."""
    lengths = [T, 0, 2]

    def run(y: NDArray) -> tuple[float, Any]:
        if name == "gaussian":
            target = reals(T, B, C, seed=1)
            var = np.abs(reals(T, B, 1, seed=2)) + 0.5
            loss, (gradient, _) = rnnfast.gaussian_nll(
                y, target, var, reduction=reduction, lengths=lengths
            )
        else:
            call, others = LOSSES[name]
            loss, gradient = call(y, *others, reduction=reduction, lengths=lengths)
        return float(np.sum(loss)), gradient

    y = reals(T, B, C)
    _, gradient = run(y)
    for at in np.ndindex(y.shape):
        up, down = y.copy(), y.copy()
        up[at] += CENTRAL_DIFFERENCE_STEP
        down[at] -= CENTRAL_DIFFERENCE_STEP
        slope = (run(up)[0] - run(down)[0]) / (2 * CENTRAL_DIFFERENCE_STEP)
        assert gradient[at] == pytest.approx(slope, abs=CENTRAL_DIFFERENCE)


def test_quantile_is_the_pinball_loss() -> None:
    y, target, levels = reals(6, 2, 3), reals(6, 2, seed=1), np.array([0.1, 0.5, 0.75])
    y[0, 0, 1] = target[0, 0]
    error = target[..., None] - y
    losses, gradient = rnnfast.quantile(y, target, levels, reduction="none")
    np.testing.assert_allclose(losses, np.maximum(levels * error, (levels - 1) * error), rtol=1e-14)
    expected = np.where(error > 0, -levels, 1 - levels)
    expected[0, 0, 1] = 0  # as for l1 at its kink
    np.testing.assert_array_equal(gradient, expected)
    one, done = rnnfast.quantile(y[..., 0], target, 0.1, reduction="none")
    np.testing.assert_array_equal(one, losses[..., 0])
    np.testing.assert_array_equal(done, gradient[..., 0])
    half, dhalf = rnnfast.quantile(y[..., 1], target, 0.5)
    full, dfull = rnnfast.l1(y[..., 1], target)
    assert half == full / 2
    np.testing.assert_array_equal(dhalf, dfull / 2)


def test_quantile_is_least_at_the_quantile() -> None:
    samples = reals(1000)
    for q in (0.1, 0.5, 0.9):
        grid = np.linspace(-2, 2, 801)
        losses = [rnnfast.quantile(np.full(1000, y), samples, q)[0] for y in grid]
        assert grid[np.argmin(losses)] == pytest.approx(np.quantile(samples, q), abs=0.01)


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "list"])
def test_computes_in_the_dtype_of_its_first_array(name: str, dtype: str) -> None:
    call, others = LOSSES[name]
    y = np.round(reals(T, B, C) * 8) / 8  # exact in all types but the integers
    y = np.round(y) if dtype == "int64" else y
    losses, gradient = call(
        y.tolist() if dtype == "list" else y.astype(dtype), *others, reduction="none"
    )
    wanted = "float32" if dtype in ("float16", "float32") else "float64"
    assert losses.dtype == gradient.dtype == wanted
    exact, dexact = call(y, *others, reduction="none")
    eps = float(np.finfo(wanted).eps)
    np.testing.assert_allclose(losses, exact, rtol=0, atol=8 * eps * np.abs(exact).max())
    np.testing.assert_allclose(gradient, dexact, rtol=0, atol=8 * eps * np.abs(dexact).max())


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_float_of_float32_is_summed_in_float64(name: str, reduction: str) -> None:
    call, others = LOSSES[name]
    loss, _ = call(reals(T, B, C).astype("float32"), *others, reduction=reduction)
    exact, _ = call(reals(T, B, C), *others, reduction=reduction)
    assert type(loss) is float
    assert loss == pytest.approx(exact, rel=4 * float(np.finfo("float32").eps))


@every_loss
def test_leaves_the_callers_arrays_alone(name: str) -> None:
    call, others = LOSSES[name]
    y = reals(T, B, C)
    given = [y, *others]
    before = [np.array(a) for a in given]
    for lengths in (None, [T, 1, 0]):
        call(*given, lengths=lengths)
        for array, copy in zip(given, before, strict=True):
            np.testing.assert_array_equal(array, copy)


@every_loss
def test_nothing_counts(name: str) -> None:
    """The mean over nothing is NaN, with a gradient of 0 and without a warning."""
    call, others = LOSSES[name]
    loss, gradient = call(reals(T, B, C), *others, lengths=[0] * B)
    assert math.isnan(loss)
    assert not gradient.any()
    total, _ = call(reals(T, B, C), *others, lengths=[0] * B, reduction="sum")
    assert total == 0


@every_loss
def test_strange_values_warn_of_nothing(name: str) -> None:
    call, others = LOSSES[name]
    y = reals(T, B, C)
    y.flat[:4] = [np.nan, np.inf, -np.inf, 1e300]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, gradient = call(y, *others, reduction="sum")
    assert np.isfinite(gradient[1:]).all()
    if name not in ("nll", "cross_entropy"):
        assert np.isnan(gradient.flat[0])


def test_losses_of_numbers_without_axes() -> None:
    for call in (rnnfast.mse, rnnfast.l1, rnnfast.huber):
        loss, gradient = call(3.0, 1.0, reduction="none")
        assert loss.shape == gradient.shape == ()
        assert call(3.0, 1.0)[0] == float(loss)
    assert rnnfast.mse(3.0, 1.0) == (4.0, 4.0)


def test_the_gradient_by_a_variance_below_eps_is_that_at_eps() -> None:
    _, (_, dvar) = rnnfast.gaussian_nll([1.0], [1.5], [0.0], eps=0.5)
    _, (_, expected) = rnnfast.gaussian_nll([1.0], [1.5], [0.5], eps=0.5)
    np.testing.assert_array_equal(dvar, expected)


def ctc(**changes: Any) -> Any:
    arguments = {
        "logits": zeros(T, B, C),
        "targets": [[1, 2], [1, 2], [3, 3]],
        "input_lengths": [T] * B,
        "target_lengths": [2] * B,
    }
    return rnnfast.ctc(**arguments | changes)


def entropy(logits: Any = None, targets: Any = None, **options: Any) -> Any:
    logits = zeros(T, B, C) if logits is None else logits
    targets = zeros(T, B, dtype="int64") if targets is None else targets
    return rnnfast.softmax_cross_entropy(logits, targets, **options)


REFUSALS: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "shapes": (
        ValueError,
        "target: expected shape y.shape = (5, 3), got (5,)",
        lambda: rnnfast.mse(zeros(5, 3), zeros(5)),
    ),
    "no numbers": (
        TypeError,
        "y: expected real numbers to convert to dtype float64, got <U1",
        lambda: rnnfast.l1(["a"], [1.0]),
    ),
    "complex": (
        TypeError,
        "target: expected real numbers to convert to dtype float32, got complex128",
        lambda: rnnfast.l1(zeros(1, dtype="float32"), [1j]),
    ),
    "masked": (
        TypeError,
        "target: expected an array without a mask",
        lambda: rnnfast.mse(zeros(2), np.ma.masked_array([1.0, 2.0], [True, False])),
    ),
    "reduction": (
        ValueError,
        "reduction: expected one of mean, sum, none, got 'max'",
        lambda: rnnfast.mse(zeros(2), zeros(2), reduction="max"),
    ),
    "lengths without axes": (
        ValueError,
        "lengths: expected None where losses have no axes of steps and sequences, got lengths for "
        "shape (2,)",
        lambda: rnnfast.mse(zeros(2), zeros(2), lengths=[2]),
    ),
    "lengths too long": (
        ValueError,
        "lengths: expected values in [0, seq_len] = [0, 5], got 0 to 6",
        lambda: rnnfast.mse(zeros(5, 2), zeros(5, 2), lengths=[6, 0]),
    ),
    "lengths of floats": (
        TypeError,
        "lengths: expected an array of integers, got dtype float64",
        lambda: rnnfast.mse(zeros(5, 1), zeros(5, 1), lengths=[2.0]),
    ),
    "delta": (
        ValueError,
        "delta: expected a number above 0, got 0",
        lambda: rnnfast.huber(zeros(2), zeros(2), delta=0),
    ),
    "negative delta": (
        ValueError,
        "delta: expected at least 0, got -1",
        lambda: rnnfast.huber(zeros(2), zeros(2), delta=-1),
    ),
    "variance": (
        ValueError,
        "var: expected values of at least 0, got -0.5",
        lambda: rnnfast.gaussian_nll(zeros(2), zeros(2), [1.0, -0.5]),
    ),
    "shape of variances": (
        ValueError,
        "var: expected shape y.shape = (2, 3), or a last axis of 1, got (3,)",
        lambda: rnnfast.gaussian_nll(zeros(2, 3), zeros(2, 3), zeros(3)),
    ),
    "eps": (
        ValueError,
        "eps: expected at least 0, got -1",
        lambda: rnnfast.gaussian_nll(zeros(2), zeros(2), zeros(2), eps=-1),
    ),
    "full": (
        TypeError,
        "full: expected True or False, got 1",
        lambda: rnnfast.gaussian_nll(zeros(2), zeros(2), zeros(2), full=1),  # type: ignore[arg-type]
    ),
    "q": (
        ValueError,
        "q: expected numbers between 0 and 1, got [0.5, 1.0]",
        lambda: rnnfast.quantile(zeros(3, 2), zeros(3), [0.5, 1.0]),
    ),
    "q of NaN": (
        ValueError,
        "q: expected numbers between 0 and 1, got nan",
        lambda: rnnfast.quantile(zeros(3), zeros(3), math.nan),
    ),
    "no q": (
        ValueError,
        "q: expected a number or a sequence of such, got shape (0,)",
        lambda: rnnfast.quantile(zeros(3, 0), zeros(3), []),
    ),
    "axis of q": (
        ValueError,
        "y: expected shape (*target.shape, len(q)) = (3, 2), got (3,)",
        lambda: rnnfast.quantile(zeros(3), zeros(3), [0.1, 0.9]),
    ),
    "no axis of q": (
        ValueError,
        "y: expected shape target.shape = (3,), got (3, 2)",
        lambda: rnnfast.quantile(zeros(3, 2), zeros(3), 0.1),
    ),
    "bce target": (
        ValueError,
        "target: expected values in [0, 1], got 0.0 to 2.0",
        lambda: rnnfast.bce_with_logits(zeros(2), [0.0, 2.0]),
    ),
    "pos_weight": (
        ValueError,
        "pos_weight: expected a shape that can be broadcast to logits.shape = (2, 3), got (2,)",
        lambda: rnnfast.bce_with_logits(zeros(2, 3), zeros(2, 3), pos_weight=zeros(2)),
    ),
    "nll target": (
        IndexError,
        "targets: expected values in [0, classes) = [0, 4) or ignore_index = -100, got 4",
        lambda: rnnfast.nll(zeros(2, 4), [0, 4]),
    ),
    "nll targets of floats": (
        TypeError,
        "targets: expected an array of integers, got dtype float64",
        lambda: rnnfast.nll(zeros(2, 4), [0.0, 1.0]),
    ),
    "nll shapes": (
        ValueError,
        "targets: expected shape log_probs.shape[:-1] = (2,), got (3,)",
        lambda: rnnfast.nll(zeros(2, 4), [0, 1, 1]),
    ),
    "nll without classes": (
        ValueError,
        "log_probs: expected shape (..., V) with V >= 1, got ()",
        lambda: rnnfast.nll(1.0, 0),
    ),
    "nll weight": (
        ValueError,
        "weight: expected shape (classes,) = (4,), got (3,)",
        lambda: rnnfast.nll(zeros(2, 4), [0, 1], weight=zeros(3)),
    ),
    "weight": (
        ValueError,
        "weight: expected values of at least 0, got -1.0",
        lambda: entropy(weight=[1, 1, -1, 1]),
    ),
    "shape of weights": (
        ValueError,
        "weight: expected shape (classes,) = (4,), got (5,)",
        lambda: entropy(weight=zeros(5)),
    ),
    "smoothing": (
        ValueError,
        "label_smoothing: expected a number in [0, 1], got 1.5",
        lambda: entropy(label_smoothing=1.5),
    ),
    "cross entropy reduction": (
        ValueError,
        "reduction: expected one of mean, sum, none, got None",
        lambda: entropy(reduction=None),
    ),
    "cross entropy lengths": (
        ValueError,
        "lengths: expected shape (batch,) = (3,), got (2,)",
        lambda: entropy(lengths=[1, 2]),
    ),
    "ctc rank": (
        ValueError,
        "logits: expected shape (T, B, C) or (T, C) with C >= 1, got (4,)",
        lambda: ctc(logits=zeros(4)),
    ),
    "blank": (ValueError, "blank: expected at most 3, got 4", lambda: ctc(blank=4)),
    "input_lengths": (
        ValueError,
        "input_lengths: expected values in [0, seq_len] = [0, 5], got 5 to 6",
        lambda: ctc(input_lengths=[5, 5, 6]),
    ),
    "input_lengths of a batch": (
        ValueError,
        "input_lengths: expected shape (batch,) = (3,), got ()",
        lambda: ctc(input_lengths=5),
    ),
    "target_lengths": (
        ValueError,
        "target_lengths: expected values in [0, S] = [0, 2], got 2 to 3",
        lambda: ctc(target_lengths=[2, 2, 3]),
    ),
    "negative target_lengths": (
        ValueError,
        "target_lengths: expected values in [0, len(targets)] = [0, 4], got -1 to 3",
        lambda: ctc(targets=[1, 1, 1, 1], target_lengths=[2, -1, 3]),
    ),
    "shape of target_lengths": (
        ValueError,
        "target_lengths: expected shape (batch,) = (3,), got (2,)",
        lambda: ctc(target_lengths=[2, 2]),
    ),
    "target_lengths of floats": (
        TypeError,
        "target_lengths: expected an array of integers, got dtype float64",
        lambda: ctc(target_lengths=[2.0, 2.0, 2.0]),
    ),
    "rows of targets": (
        ValueError,
        "targets: expected shape (batch, S) = (3, 2), got (1, 2)",
        lambda: ctc(targets=[[1, 2]]),
    ),
    "concatenated targets": (
        ValueError,
        "targets: expected shape (sum of target_lengths,) = (6,), got (5,)",
        lambda: ctc(targets=[1, 2, 3, 1, 2]),
    ),
    "rank of targets": (
        ValueError,
        "targets: expected shape (batch, S) or (sum of target_lengths,), got (1, 1, 1)",
        lambda: ctc(targets=[[[1]]]),
    ),
    "targets of floats": (
        TypeError,
        "targets: expected an array of integers, got dtype float64",
        lambda: ctc(targets=[[1.0, 2.0]] * B),
    ),
    "target": (
        IndexError,
        "targets: expected values in [0, classes) = [0, 4), got 4",
        lambda: ctc(targets=[[1, 2], [1, 4], [3, 3]]),
    ),
    "blank as a target": (
        ValueError,
        "targets: expected classes other than blank = 0, got 0",
        lambda: ctc(targets=[[1, 2], [1, 0], [3, 3]]),
    ),
    "zero_infinity": (
        TypeError,
        "zero_infinity: expected True or False, got 1",
        lambda: ctc(zero_infinity=1),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    error, message, call = REFUSALS[name]
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"cross_entropy"} | {"ctc", "gaussian"}))
def test_arrays_of_a_device_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(name="far", rnnfast_device="far")
    monkeypatch.setattr(backends, "get", lambda _: device)
    calls = {"ctc": (ctc, []), "gaussian": (rnnfast.gaussian_nll, [zeros(2), zeros(2)])}
    call, others = (LOSSES | calls)[name]
    with pytest.raises(ValueError, match=r"expected an array of the CPU.*on device 'far'"):
        call(logits=device) if name == "ctc" else call(device, *others)


@pytest.mark.parametrize(
    ("option", "value"),
    [("weight", [1.0] * C), ("label_smoothing", 0.1), ("reduction", "sum"), ("lengths", [1] * B)],
)
def test_what_devices_lack_of_cross_entropy_is_refused(
    option: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every backend but the CPU's refuses them; tests/cuda tests the plain mean on devices."""
    far = type("Far", (backends._Cpu,), {"name": "far"})()
    monkeypatch.setattr(backends, "of", lambda _: far)
    with pytest.raises(ValueError, match=rf"{option}: expected the default on device 'far'"):
        entropy(**{option: value})
