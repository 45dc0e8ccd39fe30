"""Modules that evaluate by products of 8-bit integers: their precision, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnfast.torch import stepwise


class Quantizable(Protocol):
    """A module whose precision `quantize` sets."""

    precision: str
    training: bool


def precision_of(precision: str, dtype: torch.dtype) -> str:
    """Return the precision of a call's products, given the module's and the results' dtype."""
    return "bfloat16" if precision == "full" and dtype == torch.bfloat16 else precision


def check_evaluates(module: Quantizable, *given: Any) -> None:
    """Check that a call of a quantised module needs no gradients; `given` are its arguments.

    Raises:
        RuntimeError: It does.
    """
    name = f"{type(module).__name__}, quantised to 8-bit integers"
    if module.training:
        raise RuntimeError(
            f"{name}: expected evaluation mode, as it cannot train, got training mode; call "
            "eval() on the model, or rnnfast.torch.quantize(model, False)"
        )
    if stepwise.needed():
        raise RuntimeError(f"{name}: expected a call outside of torch.func and forward-mode AD")
    if torch.is_grad_enabled() and any(t.requires_grad for t in _tensors(given)):
        raise RuntimeError(
            f"{name}: expected arguments that require no gradient, as its products have none; "
            "call it under torch.no_grad(), or detach them"
        )


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments: tensors, packed sequences, tuples of these, and None."""
    for value in values:
        if isinstance(value, PackedSequence):
            yield value.data
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value
