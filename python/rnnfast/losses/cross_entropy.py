"""The softmax cross-entropy, with its gradient and without."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.backends import CPU, Backend
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

    The loss is computed on the device of the logits. On a device other than the CPU, all options
    except `ignore_index` must keep their defaults, and the loss is an array of shape (); `float()`
    waits until it is computed.

    Args:
        logits: (..., V) real numbers, the unnormalised log-probabilities of V classes; (T, B, ...,
            V) with `lengths`. The computation uses their dtype if that is float32 or float64;
            others are converted to one of the two.
        targets: (...) integers in [0, V), or `ignore_index`.
        ignore_index: Targets with this value are ignored.
        weight: (V,) real numbers of at least 0, the weights of the classes; None for 1 each.
        label_smoothing: Share s in [0, 1] of a target's probability that is spread evenly over all
            classes (Szegedy et al. 2016, "Rethinking the inception architecture for computer
            vision"). With class weights w, the loss is the sum of -log softmax(logits) with the
            factors `s / V w`, plus `(1 - s) w[target]` for the target.
        reduction: "mean" for the sum divided by the number of targets that count, or by the sum of
            their classes' weights (NaN if that is 0); "sum"; or "none" for an array of losses, with
            the gradient of their sum.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None if all steps count.

    Returns:
        The loss and its gradient with respect to the logits, in their shape and in the dtype of the
        computation; the gradient is 0 where targets do not count. For a `Tensor`, only the loss,
        as a `Tensor`.

    Raises:
        ValueError: Shapes do not match, a weight is negative, the smoothing is out of range, the
            reduction is unknown, or the device does not support an option.
        IndexError: A target is out of range.
        TypeError: The logits are not real numbers, or the targets, `ignore_index` or the lengths
            are not integers.
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

    If the logits are a `Tensor`, so is the loss, and gradients can be taken through it as through
    that of `softmax_cross_entropy`.
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
    backend = backends.of(logits)
    array, target = backends.given("logits", logits), backends.given("targets", targets)
    if array.ndim < 1 or array.shape[-1] < 1:
        raise ValueError(f"logits: expected shape (..., V) with V >= 1, got {array.shape}")
    checks.shape("targets", target, array.shape[:-1], "logits.shape[:-1]")
    array = checks.real_array("logits", array, None, backend=backend)
    expected = "targets: expected values in [0, classes)"
    target = checks.index_array("targets", target, expected, array.shape[-1], backend, ignore_index)
    call: dict[str, Any] = {
        "logits": array,
        "targets": target,
        "ignore_index": ignore_index,
        "need_gradient": need_gradient,
    }
    if backend is not CPU:
        _check_plain(backend, weight, label_smoothing, kind, lengths)
        loss, dlogits = backend.cross_entropy(**call)
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
    backend: Backend, weight: Any, label_smoothing: float, reduction: str, lengths: Any
) -> None:
    """Refuse the options that the kernels of devices do not support."""
    asked = {
        "weight": weight is not None,
        "label_smoothing": label_smoothing != 0,
        "reduction": reduction != "mean",
        "lengths": lengths is not None,
    }
    for name in (name for name, is_asked in asked.items() if is_asked):
        raise ValueError(
            f"{name}: expected the default on device {backend.name!r}, which has only the plain "
            "mean; the CPU has more"
        )
