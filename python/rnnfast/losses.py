"""Losses."""

from __future__ import annotations

from numpy.typing import ArrayLike

from rnnfast._engine import backend, checks
from rnnfast._engine.backend import Backend
from rnnfast._engine.checks import IntArray, RealArray


def softmax_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100
) -> tuple[float, RealArray]:
    """Mean of -log softmax(logits)[target] over the targets that are not ignored, in nats.

    It is computed where the logits are. Of logits on a device the loss is an array of shape (),
    which `float()` waits for.

    Args:
        logits: (..., V) real numbers: unnormalised log-probabilities of V classes. It computes in
            their dtype if that is float32 or float64; others are converted to one of the two.
        targets: (...) integers in [0, V), or `ignore_index`.
        ignore_index: Targets of this value count for nothing.

    Returns:
        The mean (NaN if every target is ignored) and its gradient by the logits, in their shape
        and the dtype of the computation; it is 0 where targets are ignored.

    Raises:
        ValueError: The shapes do not fit.
        IndexError: A target is out of range.
        TypeError: The logits are not real numbers, or the targets or `ignore_index` not integers.
    """
    on, array, target = _checked(logits, targets, ignore_index)
    loss, dlogits = on.cross_entropy(
        logits=array, targets=target, ignore_index=ignore_index, need_gradient=True
    )
    assert dlogits is not None
    return loss, dlogits


def cross_entropy(logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100) -> float:
    """Give the loss of `softmax_cross_entropy` without its gradient, for evaluation."""
    on, array, target = _checked(logits, targets, ignore_index)
    loss: float = on.cross_entropy(
        logits=array, targets=target, ignore_index=ignore_index, need_gradient=False
    )[0]
    return loss


def _checked(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int
) -> tuple[Backend, RealArray, IntArray]:
    ignore_index = checks.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    on = backend.of(logits)
    array = checks.real_array("logits", logits, None, on=on)
    if array.ndim < 1 or array.shape[-1] < 1:
        raise ValueError(f"logits: expected shape (..., V) with V >= 1, got {array.shape}")
    expected = "targets: expected values in [0, classes)"
    target = checks.index_array("targets", targets, expected, array.shape[-1], on, ignore_index)
    checks.shape("targets", target, array.shape[:-1], "logits.shape[:-1]")
    return on, array, target
