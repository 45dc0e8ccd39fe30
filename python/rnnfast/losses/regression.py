"""Losses of real targets: squared, absolute, Huber, Gaussian, quantile.

Each takes arrays of any shape and returns the loss and its gradient by the first of them, in its
shape. Computed in the dtype of that array if it is float32 or float64, else in one of the two; what
comes with it is converted. With `lengths` arrays are time-major, (T, B, ...), and steps past a
sequence's end count for nothing.
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
from rnnfast.losses.reduction import LossAndGradient, Reduction, quiet, real_array


@takes_tensors
@quiet
def mse(
    y: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return the squared error, (y - target)^2, and its gradient by y.

    Args:
        y: Real numbers of any shape; (T, B, ...) with `lengths`.
        target: Real numbers of the same shape.
        reduction: "mean" over all that counts (NaN if nothing does), "sum", or "none" for an array
            of losses, with the gradient of their sum.
        lengths: (B,) integers in [0, T], the sequences' lengths; None if all steps count.

    Raises:
        ValueError: Shapes do not fit, an array is on a device, or there is no such reduction.
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
    """Return the absolute error, |y - target|, and its gradient by y, which is 0 at the kink.

    Arguments and errors are those of `mse`.
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
    """Return Huber's loss and its gradient by y.

    With d = y - target it is d^2 / 2 where |d| < delta and delta (|d| - delta / 2) beyond (Huber
    1964, "Robust estimation of a location parameter"). Nothing is squared that is larger than
    delta, so that large errors do not overflow.

    Args:
        y: As in `mse`.
        target: As in `mse`.
        delta: Where the parabola ends, a finite number above 0.
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

    With v = max(var, eps) it is (log v + (y - target)^2 / v) / 2 (Nix and Weigend 1994, "Estimating
    the mean and variance of the target probability distribution"). As in PyTorch, the gradient by
    var is that by v even where var is below eps.

    Args:
        y: The means, as in `mse`.
        target: As in `mse`.
        var: The variances, at least 0, in the shape of y, or with a last axis of 1 if one variance
            holds for all of y's last axis.
        full: Whether to add the constant log(2 pi) / 2.
        eps: The least variance, a finite number of at least 0.
        reduction: As in `mse`.
        lengths: As in `mse`.

    Returns:
        The loss and the pair of gradients by y and by var, in their shapes; where one of these is a
        `Tensor`, the loss alone, a `Tensor`.

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
    variance = real_array("var", var, y.dtype)
    if variance.shape not in (y.shape, (*y.shape[:-1], 1)):
        raise ValueError(
            f"var: expected shape y.shape = {y.shape}, or a last axis of 1, got {variance.shape}"
        )
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
    """Return the quantile (pinball) loss and its gradient by y, which is 0 at the kink.

    With d = target - y it is q d where d > 0 and (q - 1) d elsewhere, which is least at the
    q-quantile of the targets (Koenker and Bassett 1978, "Regression quantiles").

    Args:
        y: The quantiles, in the shape of the target, or with one more axis of the size of q at the
            end if q is a sequence.
        target: Real numbers of any shape; (T, B, ...) with `lengths`.
        q: Which quantile, between 0 and 1, or a sequence of such.
        reduction: As in `mse`.
        lengths: As in `mse`.

    Raises:
        ValueError: As in `mse`, or a q is out of range.
        TypeError: As in `mse`, or q does not hold real numbers.
    """
    y = real_array("y", y)
    target = real_array("target", target, y.dtype)
    levels = real_array("q", q, y.dtype)
    if levels.ndim > 1 or not levels.size:
        raise ValueError(f"q: expected a number or a sequence of such, got shape {levels.shape}")
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"q: expected numbers between 0 and 1, got {q}")
    meaning = "(*target.shape, len(q))" if levels.ndim else "target.shape"
    checks.shape("y", y, target.shape + levels.shape, meaning)
    counted = Reduction(reduction, lengths, target.shape)
    targets = counted.of(target)
    difference = counted.of(y) - (targets[..., None] if levels.ndim else targets)
    # What is neither above nor below is 0 or NaN, as the gradient shall be.
    gradient = np.where(difference > 0, 1 - levels, np.where(difference < 0, -levels, difference))
    difference *= gradient
    return counted.finish(difference, gradient)


def _pair(y: ArrayLike, target: ArrayLike) -> tuple[RealArray, RealArray]:
    first = real_array("y", y)
    second = real_array("target", target, first.dtype)
    checks.shape("target", second, first.shape, "y.shape")
    return first, second
