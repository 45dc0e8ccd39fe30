"""Bad arguments of losses are refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnfast
from argument_cases import zeros
from rnnfast._engine import backends

T, B, C = 5, 3, 4


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
        "lengths: expected None, as losses of shape (2,) have no axes of steps and sequences, got "
        "lengths",
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
        "q: expected a number or a sequence of numbers, got shape (0,)",
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


FAR: dict[str, Callable[[Any], object]] = {
    **{
        loss.__name__: lambda y, loss=loss: loss(y, zeros(2))
        for loss in (rnnfast.mse, rnnfast.l1, rnnfast.huber, rnnfast.bce_with_logits)
    },
    "quantile": lambda y: rnnfast.quantile(y, zeros(2), 0.3),
    "quantiles": lambda y: rnnfast.quantile(y, zeros(2), [0.1, 0.9]),
    "nll": lambda y: rnnfast.nll(y, np.zeros(2, int)),
    "gaussian": lambda y: rnnfast.gaussian_nll(y, zeros(2), zeros(2)),
    "ctc": lambda y: ctc(logits=y),
}


@pytest.mark.parametrize("name", FAR)
def test_arrays_of_a_device_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(name="far", rnnfast_device="far")
    monkeypatch.setattr(backends, "get", lambda _: device)
    with pytest.raises(ValueError, match=r"expected an array on the CPU.*on device 'far'"):
        FAR[name](device)


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
