"""Classification losses: binary cross-entropy of logits, and the negative log-likelihood.

For logits of more than two classes, use `softmax_cross_entropy`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.recording import takes_tensors
from rnnfast.losses.reduction import LossAndGradient, Reduction, on_cpu, quiet


@takes_tensors
@quiet
def bce_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return the binary cross-entropy of sigmoid(logits), and its gradient.

    The loss is -(pos_weight t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))). It is computed from
    softplus(x) and softplus(-x), so that large logits do not overflow and small losses do not
    vanish.

    Args:
        logits: Real numbers of any shape; (T, B, ...) with `lengths`. The computation uses their
            dtype if that is float32 or float64; others are converted to one of the two.
        target: Probabilities in [0, 1], of the same shape.
        pos_weight: Weight of positive targets: real numbers of a shape that can be broadcast to
            that of the logits, such as (C,) for classes on the last axis. None for 1.
        reduction: "mean" over all elements that count (NaN if none does), "sum", or "none" for an
            array of losses, with the gradient of their sum.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None if all steps count.

    Returns:
        The loss and its gradient with respect to the logits.

    Raises:
        ValueError: Shapes do not match, a target is out of range, an array is not on the CPU, or
            the reduction is unknown.
        TypeError: An array does not hold real numbers, or the lengths are not integers.
    """
    given, targets = on_cpu("logits", logits), on_cpu("target", target)
    checks.shape("target", targets, given.shape, "logits.shape")
    array = checks.real_array("logits", given, None)
    targets = checks.real_array("target", targets, array.dtype)
    counted = Reduction(reduction, lengths, array.shape)
    x, positive = counted.of(array), counted.of(targets)
    if not ((positive >= 0) & (positive <= 1)).all():
        raise ValueError(
            f"target: expected values in [0, 1], got {positive.min()} to {positive.max()}"
        )
    negative = 1 - positive
    if pos_weight is not None:
        positive = positive * counted.of(_broadcast(pos_weight, array))
    losses = negative * _map("softplus", x) + positive * _map("softplus", -x)
    gradient = negative * _map("sigmoid", x) - positive * _map("sigmoid", -x)
    return counted.finish(losses, gradient)


def _broadcast(pos_weight: ArrayLike, logits: RealArray) -> RealArray:
    weight = on_cpu("pos_weight", pos_weight)
    try:
        np.broadcast_to(weight, logits.shape)
    except ValueError:
        raise ValueError(
            f"pos_weight: expected a shape that can be broadcast to logits.shape = {logits.shape}, "
            f"got {weight.shape}"
        ) from None
    return np.broadcast_to(checks.real_array("pos_weight", weight, logits.dtype), logits.shape)


def _map(function: str, x: RealArray) -> RealArray:
    return _core._math(function, x).reshape(x.shape)


@takes_tensors
@quiet
def nll(
    log_probs: ArrayLike,
    targets: ArrayLike,
    ignore_index: int = -100,
    *,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return the negative log-likelihood, -weight[target] log_probs[target], and its gradient.

    Args:
        log_probs: (..., V) real numbers, the logarithms of the probabilities of V classes; (T, B,
            ..., V) with `lengths`. The computation uses their dtype if that is float32 or float64;
            others are converted to one of the two.
        targets: (...) integers in [0, V), or `ignore_index`.
        ignore_index: Targets with this value are ignored.
        weight: (V,) real numbers of at least 0, the weights of the classes; None for 1 each.
        reduction: "mean" for the sum divided by the sum of the weights of the targets that count
            (NaN if that is 0), "sum", or "none" for an array of losses, with the gradient of their
            sum.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None if all steps count.

    Returns:
        The loss and its gradient with respect to the log-probabilities.

    Raises:
        ValueError: Shapes do not match, a weight is negative, an array is not on the CPU, or the
            reduction is unknown.
        IndexError: A target is out of range.
        TypeError: An array does not hold real numbers, or the targets, `ignore_index` or the
            lengths are not integers.
    """
    ignore_index = checks.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    scores, index = on_cpu("log_probs", log_probs), backends.given("targets", targets)
    if scores.ndim < 1 or scores.shape[-1] < 1:
        raise ValueError(f"log_probs: expected shape (..., V) with V >= 1, got {scores.shape}")
    classes = scores.shape[-1]
    checks.shape("targets", index, scores.shape[:-1], "log_probs.shape[:-1]")
    array = checks.real_array("log_probs", scores, None)
    index = checks.integer_array("targets", index)
    weights = class_weight(weight, array)
    counted = Reduction(reduction, lengths, index.shape)
    rows, wanted = counted.of(array), counted.of(index)
    kept = wanted != ignore_index
    outside = kept & ((wanted < 0) | (wanted >= classes))
    if outside.any():
        raise IndexError(
            f"targets: expected values in [0, classes) = [0, {classes}) or ignore_index = "
            f"{ignore_index}, got {wanted[outside].flat[0]}"
        )
    place = np.where(kept, wanted, 0)[..., None]
    factor = kept.astype(array.dtype)[..., None]
    if weights is not None:
        factor *= weights[place]
    losses = np.where(kept[..., None], -factor * np.take_along_axis(rows, place, -1), 0)
    gradient = np.zeros_like(rows)
    np.put_along_axis(gradient, place, -factor, -1)
    return counted.finish(losses[..., 0], gradient, float(factor.sum(dtype=np.float64)))


def class_weight(weight: ArrayLike | None, scores: RealArray) -> RealArray | None:
    """Return `weight`, which must have shape (V,), in the dtype of `scores` (..., V).

    Raises:
        ValueError: The shape does not match, a weight is negative, or the array is not on the CPU.
        TypeError: The array does not hold real numbers.
    """
    if weight is None:
        return None
    given, shape = on_cpu("weight", weight), scores.shape[-1:]
    array = checks.shaped_array("weight", given, scores.dtype, shape, "(classes,)")
    if not (array >= 0).all():
        raise ValueError(f"weight: expected values of at least 0, got {array.min()}")
    return array
