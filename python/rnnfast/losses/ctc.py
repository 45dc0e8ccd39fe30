"""Connectionist temporal classification, a loss for labels that are not aligned with the input."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import arguments, backends, checks
from rnnfast._engine.backends import CPU
from rnnfast._engine.checks import IntArray
from rnnfast.autograd.recording import takes_tensors
from rnnfast.losses.reduction import REDUCTIONS, LossAndGradient, on_cpu


@takes_tensors
def ctc(
    logits: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> LossAndGradient:
    """Return -log of the probability of label sequences, and its gradient.

    The model draws a class from softmax(logits) at each step; merging runs of the same class and
    then removing the blanks yields the labels of the sequence (Graves et al. 2006, "Connectionist
    temporal classification"). You may pass log-probabilities instead of logits: log_softmax does
    not change them, and the gradient is then that of `torch.nn.functional.ctc_loss`. Sums over
    alignments are computed in float64 for any dtype.

    A sequence that is too short for its labels has an infinite loss and, as in PyTorch, a gradient
    of NaN up to its length; see `zero_infinity`.

    Args:
        logits: (T, B, C) real numbers, or (T, C) for one sequence. The computation uses their dtype
            if that is float32 or float64; others are converted to one of the two.
        targets: Classes other than the blank, integers in [0, C): (B, S), where each row is read up
            to its length, or (sum of target_lengths,), the labels of all sequences in a row.
        input_lengths: (B,) integers in [0, T], or one integer for one sequence.
        target_lengths: (B,) integers in [0, S], or one integer for one sequence.
        blank: Class that means no label.
        reduction: "mean" over the batch of each loss divided by max(target_length, 1) (NaN if the
            batch is empty), "sum", or "none" for losses (B,), with the gradient of their sum.
        zero_infinity: Whether to replace an infinite loss and its gradient by 0.

    Returns:
        The loss and its gradient in the shape of the logits, which is 0 past the sequences' ends.

    Raises:
        ValueError: Shapes do not match, a length or the blank is out of range, a label is the
            blank, the logits are not on the CPU, or the reduction is unknown.
        IndexError: A label is out of range.
        TypeError: The logits are not real numbers, or the targets, lengths or blank are not
            integers.
    """
    kind = checks.choice("reduction", reduction, REDUCTIONS)
    zero_infinity = checks.boolean("zero_infinity", zero_infinity)
    array = on_cpu("logits", logits)
    if array.ndim not in (2, 3) or array.shape[-1] < 1:
        raise ValueError(
            f"logits: expected shape (T, B, C) or (T, C) with C >= 1, got {array.shape}"
        )
    one = array.ndim == 2
    if one:
        array = array[:, None]
        input_lengths, target_lengths = np.atleast_1d(input_lengths), np.atleast_1d(target_lengths)
    steps, batch, classes = array.shape
    blank = checks.integer("blank", blank, 0, classes - 1)
    inputs = arguments.checked_lengths(CPU, input_lengths, steps, batch, "input_lengths")
    counts = backends.given("target_lengths", target_lengths)
    checks.shape("target_lengths", counts, (batch,), "(batch,)")
    counts = checks.integer_array("target_lengths", counts)
    labels = _labels(targets, counts)
    _check_labels(labels, classes, blank)
    array = checks.real_array("logits", array, None)
    scales = 1 / (np.maximum(counts, 1) * batch) if kind == "mean" else np.ones(batch)
    losses, gradient = _core.ctc(
        logits=array,
        targets=labels,
        input_lengths=inputs,
        target_lengths=counts,
        blank=blank,
        scales=scales,
        zero_infinity=zero_infinity,
    )
    if one:
        gradient = gradient[:, 0]
    if kind == "none":
        return losses.astype(array.dtype).reshape(() if one else (batch,)), gradient
    return float((losses * scales).sum()) if batch or kind == "sum" else math.nan, gradient


def _labels(targets: ArrayLike, counts: IntArray) -> IntArray:
    """Return the labels of all sequences as one array, one sequence after the other."""
    array = backends.given("targets", targets)
    if not array.size:
        array = array.astype(np.int64)  # NumPy's choice for an empty list is float64
    if array.ndim == 2:
        checks.shape("targets", array, (len(counts), array.shape[1]), "(batch, S)")
        _check_counts(counts, array.shape[1], "S")
        kept = array[np.arange(array.shape[1]) < counts[:, None]]
        return checks.integer_array("targets", kept)
    if array.ndim != 1:
        raise ValueError(
            f"targets: expected shape (batch, S) or (sum of target_lengths,), got {array.shape}"
        )
    _check_counts(counts, array.size, "len(targets)")
    checks.shape("targets", array, (int(counts.sum()),), "(sum of target_lengths,)")
    return checks.integer_array("targets", array)


def _check_counts(counts: IntArray, most: int, meaning: str) -> None:
    if counts.size and not (counts.min() >= 0 and counts.max() <= most):
        raise ValueError(
            f"target_lengths: expected values in [0, {meaning}] = [0, {most}], got "
            f"{counts.min()} to {counts.max()}"
        )


def _check_labels(labels: IntArray, classes: int, blank: int) -> None:
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise IndexError(
            f"targets: expected values in [0, classes) = [0, {classes}), got {labels[outside][0]}"
        )
    if (labels == blank).any():
        raise ValueError(f"targets: expected classes other than blank = {blank}, got {blank}")
