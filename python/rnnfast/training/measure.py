"""Losses of batches as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rnnfast.layers.module import Module


def rows(batch: Any) -> int:
    """How many rows the first array of a batch has.

    Raises:
        TypeError: the batch has no arrays.
    """
    first = batch
    while isinstance(first, (tuple, list, Mapping)) and first:
        first = next(iter(first.values() if isinstance(first, Mapping) else first))
    try:
        return len(first)
    except TypeError:
        raise TypeError(
            f"items: expected a function that counts a batch, as this {type(batch).__name__} does "
            "not begin with an array"
        ) from None


def scalar(loss: Any) -> float:
    """A loss as a number; one on a device is waited for.

    Raises:
        TypeError: it is none.
    """
    try:
        return float(getattr(loss, "value", loss))  # the value of a Tensor
    except (TypeError, ValueError):
        shape = getattr(loss, "shape", None)
        what = type(loss).__name__ if shape is None else f"shape {shape}"
        raise TypeError(f"loss: expected one number for a batch, got {what}") from None


def validation_loss(
    model: Module,
    loss: Callable[[Any, Any], Any],
    batches: Iterable[Any],
    items: Callable[[Any], int],
) -> float:
    """The mean loss an item of a model in evaluation mode.

    Raises:
        ValueError: there are no items.
    """
    was_training = model.training
    model.eval()
    total, counted = 0.0, 0
    try:
        for batch in batches:
            count = items(batch)
            total += scalar(loss(model, batch)) * count
            counted += count
    finally:
        model.train(was_training)
    if not counted:
        raise ValueError("validation: expected at least one item, got none")
    return total / counted
