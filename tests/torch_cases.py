"""Helpers that the tests of `rnnfast.torch` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnnfast.torch as fast  # noqa: E402
from rnnfast._engine.known import COMPILED  # noqa: E402

TWINS = {"LSTM": {}, "GRU": {}, "RNN": {"nonlinearity": "tanh"}, "ReLU": {"nonlinearity": "relu"}}
CELLS = list(COMPILED)


def twins(name: str, *sizes: int, dtype: Any = torch.float64, **options: Any) -> tuple[Any, Any]:
    """Return a layer of PyTorch and ours with the same weights; "ReLU" means an RNN with it."""
    kind, own = name if name != "ReLU" else "RNN", TWINS[name]
    theirs = getattr(torch.nn, kind)(*sizes, **own, **options).to(dtype)
    ours = getattr(fast, kind)(*sizes, **own, **options).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def flat(values: Any) -> list[Any]:
    """Return all tensors of nested tuples, lists and packed sequences, in order."""
    if isinstance(values, torch.Tensor):
        return [values]
    if values is None or isinstance(values, (int, str)):
        return []
    return [tensor for value in values for tensor in flat(value)]


def assert_near(got: Any, expected: Any) -> None:
    """Check that two nested results are equal up to the rounding of their type."""
    got, expected = flat(got), flat(expected)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        tolerance = 1e-11 if one.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def gradients(results: Any, inputs: Sequence[Any], **options: Any) -> tuple[Any, ...]:
    """Return the gradients of a sum in which every value of every result has its own weight."""
    torch.manual_seed(7)
    total = sum((r * torch.randn_like(r)).sum() for r in flat(results) if r.is_floating_point())
    found: tuple[Any, ...] = torch.autograd.grad(total, inputs, **options)
    return found
