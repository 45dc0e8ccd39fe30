"""Softmax cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backend, checks
from rnnfast._engine.backend import CPU, Backend
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.recording import recorded, takes_tensors
from rnnfast.autograd.tensor import Tensor
from rnnfast.losses.classification import class_weight
from rnnfast.losses.reduction import REDUCTIONS, LossAndGradient, step_mask


@takes_tensors
def softmax_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    ignore_index: int = -100,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> LossAndGradient:
    """Return -log softmax(logits)[target] in nats, by default the mean, and its gradient.

    It is computed where the logits are. Of logits on a device, where all but `ignore_index` must
    be left at its default, the loss is an array of shape (), which `float()` waits for.

    Args:
        logits: (..., V) real numbers: unnormalised log-probabilities of V classes; (T, B, ..., V)
            with `lengths`. It computes in their dtype if that is float32 or float64; others are
            converted to one of the two.
        targets: (...) integers in [0, V), or `ignore_index`.
        ignore_index: Targets of this value count for nothing.
        weight: (V,) real numbers of at least 0, what the classes count; None for 1 each.
        label_smoothing: The part of a target's probability, in [0, 1], that all classes share
            evenly (Szegedy et al. 2016, "Rethinking the inception architecture for computer
            vision"): with the weights w, `(1 - s) w[target]` and `s / V w` count
            -log softmax(logits).
        reduction: "mean", the sum divided by the number of targets that count, or by the sum of
            their classes' weights (NaN if there is none); "sum"; or "none" for an array of losses,
            with the gradient of their sum.
        lengths: (B,) integers in [0, T], the sequences' lengths; None if all steps count.

    Returns:
        The loss and its gradient by the logits, in their shape and the dtype of the computation; it
        is 0 where targets do not count. Of a `Tensor` the loss alone, a `Tensor`.

    Raises:
        ValueError: The shapes do not fit, a weight is negative, the smoothing is out of range,
            there is no such reduction, or a device does not have what is asked for.
        IndexError: A target is out of range.
        TypeError: The logits are not real numbers, or the targets, `ignore_index` or the lengths
            not integers.
    """
    loss, dlogits = _cross_entropy(
        logits, targets, ignore_index, weight, label_smoothing, reduction, lengths, True
    )
    assert dlogits is not None
    return loss, dlogits


def cross_entropy(
    logits: ArrayLike | Tensor,
    targets: ArrayLike,
    ignore_index: int = -100,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    lengths: ArrayLike | None = None,
) -> Any:
    """Return the loss of `softmax_cross_entropy` without its gradient, for evaluation.

    Of a `Tensor` it is a `Tensor`, through which the gradient goes as by `softmax_cross_entropy`.
    """
    if type(logits) is Tensor and logits.requires_grad:
        return softmax_cross_entropy(
            logits,
            targets,
            ignore_index,
            weight=weight,
            label_smoothing=label_smoothing,
            reduction=reduction,
            lengths=lengths,
        )
    given = logits.value if type(logits) is Tensor else logits
    loss = _cross_entropy(
        given, targets, ignore_index, weight, label_smoothing, reduction, lengths, False
    )[0]
    return recorded(logits, loss, None) if type(logits) is Tensor else loss


def _cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    ignore_index: int,
    weight: ArrayLike | None,
    label_smoothing: float,
    reduction: str,
    lengths: ArrayLike | None,
    need_gradient: bool,
) -> tuple[Any, RealArray | None]:
    ignore_index = checks.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    label_smoothing = checks.number("label_smoothing", label_smoothing, 0, 1)
    kind = checks.choice("reduction", reduction, REDUCTIONS)
    on = backend.of(logits)
    array = checks.real_array("logits", logits, None, on=on)
    if array.ndim < 1 or array.shape[-1] < 1:
        raise ValueError(f"logits: expected shape (..., V) with V >= 1, got {array.shape}")
    expected = "targets: expected values in [0, classes)"
    target = checks.index_array("targets", targets, expected, array.shape[-1], on, ignore_index)
    checks.shape("targets", target, array.shape[:-1], "logits.shape[:-1]")
    call: dict[str, Any] = {
        "logits": array,
        "targets": target,
        "ignore_index": ignore_index,
        "need_gradient": need_gradient,
    }
    if on is not CPU:
        _check_plain(on, weight, label_smoothing, kind, lengths)
        loss, dlogits = on.cross_entropy(**call)
        return loss, dlogits
    if lengths is not None:
        call["targets"] = np.where(step_mask(lengths, target.shape), target, ignore_index)
    losses = np.empty(target.shape) if kind == "none" else None
    loss, dlogits = CPU.cross_entropy(
        **call,
        weight=class_weight(weight, array),
        label_smoothing=label_smoothing,
        mean=kind == "mean",
        losses=losses,
    )
    return loss if losses is None else losses.astype(array.dtype), dlogits


def _check_plain(
    on: Backend, weight: Any, label_smoothing: float, reduction: str, lengths: Any
) -> None:
    """Refuse what the kernels of devices do not have."""
    asked = {
        "weight": weight is not None,
        "label_smoothing": label_smoothing != 0,
        "reduction": reduction != "mean",
        "lengths": lengths is not None,
    }
    for name in (name for name, is_asked in asked.items() if is_asked):
        raise ValueError(
            f"{name}: expected the default on device {on.name!r}, which has the plain mean alone; "
            "the CPU has more"
        )
