"""Regression losses: squared, absolute, Huber, Gaussian and quantile loss.

Each takes arrays of any shape and returns the loss and its gradient with respect to the first
array, in that array's shape. The computation uses the dtype of the first array if that is float32
or float64, and otherwise one of the two; the other arrays are converted to it. With `lengths`,
arrays are time-major, (T, B, ...), and steps past a sequence's end are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.recording import by_loss, takes_tensors
from rnnfast.autograd.tensor import Tensor, computed, tensor
from rnnfast.losses.reduction import LossAndGradient, Reduction, on_cpu, quiet


@takes_tensors
@quiet
def mse(
    y: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return the squared error, (y - target)^2, and its gradient with respect to y.

    Args:
        y: Real numbers of any shape; (T, B, ...) with `lengths`.
        target: Real numbers of the same shape.
        reduction: "mean" over all elements that count (NaN if none does), "sum", or "none" for an
            array of losses, with the gradient of their sum.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None if all steps count.

    Raises:
        ValueError: Shapes do not match, an array is not on the CPU, or the reduction is unknown.
        TypeError: An array does not hold real numbers, or the lengths are not integers.
    """
    y, target = _pair(y, target)
    counted = Reduction(reduction, lengths, y.shape)
    difference = counted.of(y) - counted.of(target)
    losses = difference * difference
    difference *= 2
    return counted.finish(losses, difference)


@takes_tensors
@quiet
def l1(
    y: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return the absolute error, |y - target|, and its gradient, which is 0 where y = target.

    The arguments and errors are those of `mse`.
    """
    y, target = _pair(y, target)
    counted = Reduction(reduction, lengths, y.shape)
    difference = counted.of(y) - counted.of(target)
    return counted.finish(np.abs(difference), np.sign(difference, out=difference))


@takes_tensors
@quiet
def huber(
    y: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return Huber's loss and its gradient with respect to y.

    With d = y - target, the loss is d^2 / 2 where |d| < delta, and delta (|d| - delta / 2)
    elsewhere (Huber 1964, "Robust estimation of a location parameter"). It is computed without
    squaring numbers larger than delta, so that large errors do not overflow.

    Args:
        y: As in `mse`.
        target: As in `mse`.
        delta: Error at which the parabola ends, a finite number above 0.
        reduction: As in `mse`.
        lengths: As in `mse`.

    Raises:
        ValueError: As in `mse`, or delta is out of range.
        TypeError: As in `mse`.
    """
    delta = checks.finite("delta", delta, 0)
    if delta == 0:
        raise ValueError("delta: expected a number above 0, got 0")
    y, target = _pair(y, target)
    counted = Reduction(reduction, lengths, y.shape)
    difference = counted.of(y) - counted.of(target)
    gradient = np.clip(difference, -delta, delta)
    difference -= 0.5 * gradient
    difference *= gradient
    return counted.finish(difference, gradient)


@quiet
def gaussian_nll(
    y: ArrayLike | Tensor,
    target: ArrayLike,
    var: ArrayLike | Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> Any:
    """Return -log of the density of targets under normal distributions, and its two gradients.

    With v = max(var, eps), the loss is (log v + (y - target)^2 / v) / 2 (Nix and Weigend 1994,
    "Estimating the mean and variance of the target probability distribution"). As in PyTorch, the
    gradient with respect to v also serves as that of var where var is below eps.

    Args:
        y: Means of the distributions, as in `mse`.
        target: As in `mse`.
        var: Variances of at least 0, in the shape of y, or with a last axis of 1 if y's last axis
            shares one variance.
        full: Whether to add the constant log(2 pi) / 2.
        eps: Smallest variance, a finite number of at least 0.
        reduction: As in `mse`.
        lengths: As in `mse`.

    Returns:
        The loss and the pair of its gradients with respect to y and var, in their shapes. If one of
        these two is a `Tensor`, only the loss, as a `Tensor`.

    Raises:
        ValueError: As in `mse`, a variance is negative, or eps is out of range.
        TypeError: As in `mse`, or `full` is not a bool.
    """
    if type(y) is Tensor or type(var) is Tensor:
        mean, spread = tensor(y), tensor(var)
        each = np.broadcast_to(spread.value, mean.shape)
        loss, gradients = gaussian_nll(
            mean.value, target, each, full=full, eps=eps, reduction=reduction, lengths=lengths
        )
        backs = map(by_loss, gradients)
        return computed(np.asarray(loss, mean.dtype), *zip((mean, spread), backs, strict=True))
    full, eps = checks.boolean("full", full), checks.finite("eps", eps, 0)
    y, target = _pair(y, target)
    variance = on_cpu("var", var)
    if variance.shape not in (y.shape, (*y.shape[:-1], 1)):
        raise ValueError(
            f"var: expected shape y.shape = {y.shape}, or a last axis of 1, got {variance.shape}"
        )
    variance = checks.real_array("var", variance, y.dtype)
    counted = Reduction(reduction, lengths, y.shape)
    v = counted.of(np.broadcast_to(variance, y.shape))
    if (v < 0).any():
        raise ValueError(f"var: expected values of at least 0, got {v.min()}")
    v = np.maximum(v, eps)
    difference = counted.of(y) - counted.of(target)
    by_y = difference / v
    by_v = (1 / v - by_y * by_y) * 0.5
    losses = np.log(v)
    losses += np.multiply(difference, by_y, out=difference)
    losses *= 0.5
    if full:
        losses += 0.5 * math.log(2 * math.pi)
    loss, dy = counted.finish(losses, by_y)
    _, dvar = counted.finish(losses, by_v)
    return loss, (dy, dvar if variance.shape == y.shape else dvar.sum(-1, keepdims=True))


@takes_tensors
@quiet
def quantile(
    y: ArrayLike,
    target: ArrayLike,
    q: float | Sequence[float] | RealArray,
    *,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return the quantile (pinball) loss and its gradient, which is 0 where y = target.

    With d = target - y, the loss is q d where d > 0 and (q - 1) d elsewhere. Its mean is smallest
    at the q-quantile of the targets (Koenker and Bassett 1978, "Regression quantiles").

    Args:
        y: Predicted quantiles, in the shape of the target; if q is a sequence, with an additional
            last axis of its length.
        target: Real numbers of any shape; (T, B, ...) with `lengths`.
        q: Level of the quantile, between 0 and 1, or a sequence of levels.
        reduction: As in `mse`.
        lengths: As in `mse`.

    Raises:
        ValueError: As in `mse`, or a level is out of range.
        TypeError: As in `mse`, or q does not hold real numbers.
    """
    y, target, levels = on_cpu("y", y), on_cpu("target", target), on_cpu("q", q)
    if levels.ndim > 1 or not levels.size:
        raise ValueError(f"q: expected a number or a sequence of numbers, got shape {levels.shape}")
    meaning = "(*target.shape, len(q))" if levels.ndim else "target.shape"
    checks.shape("y", y, target.shape + levels.shape, meaning)
    y = checks.real_array("y", y, None)
    target = checks.real_array("target", target, y.dtype)
    levels = checks.real_array("q", levels, y.dtype)
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"q: expected numbers between 0 and 1, got {q}")
    counted = Reduction(reduction, lengths, target.shape)
    targets = counted.of(target)
    difference = counted.of(y) - (targets[..., None] if levels.ndim else targets)
    # A difference that is neither above nor below 0 is 0 or NaN, which is also its gradient.
    gradient = np.where(difference > 0, 1 - levels, np.where(difference < 0, -levels, difference))
    difference *= gradient
    return counted.finish(difference, gradient)


def _pair(y: ArrayLike, target: ArrayLike) -> tuple[RealArray, RealArray]:
    first, second = on_cpu("y", y), on_cpu("target", target)
    checks.shape("target", second, first.shape, "y.shape")
    first = checks.real_array("y", first, None)
    return first, checks.real_array("target", second, first.dtype)
