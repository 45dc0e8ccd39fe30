"""Losses of batches as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rnnfast.layers.module import Module


def rows(batch: Any) -> int:
    """Return the number of rows of the first array of a batch.

    Raises:
        TypeError: The batch does not begin with an array.
    """
    first = batch
    while isinstance(first, (tuple, list, Mapping)) and first:
        first = next(iter(first.values() if isinstance(first, Mapping) else first))
    try:
        return len(first)
    except TypeError:
        raise TypeError(
            "items: expected a function that returns the number of items of a batch, as this "
            f"{type(batch).__name__} does not begin with an array, got None"
        ) from None


def scalar(loss: Any) -> float:
    """Return a loss as a number, waiting for it if it is on a device.

    Raises:
        TypeError: The loss is not a single number.
    """
    try:
        return float(getattr(loss, "value", loss))  # the value of a Tensor
    except (TypeError, ValueError):
        shape = getattr(loss, "shape", None)
        what = type(loss).__name__ if shape is None else f"shape {shape}"
        raise TypeError(f"loss: expected one number per batch, got {what}") from None


def validation_loss(
    model: Module,
    loss: Callable[[Any, Any], Any],
    batches: Iterable[Any],
    items: Callable[[Any], int],
) -> float:
    """Return the mean loss per item, computed in evaluation mode.

    Raises:
        ValueError: The batches have no items.
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
