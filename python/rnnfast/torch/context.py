"""What a context adds to the gates: its products with weights, which PyTorch computes.

Sizes: T seq_len, B batch, C context_size, G row blocks of a cell's weight_ih, H hidden_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F  # noqa: N812


def new_weight(like: Tensor, size: int, hidden_size: int) -> Parameter:
    """Return a new weight_ch (G*H, C) for a weight_ih (G*H, I), with the usual initial values."""
    weight = Parameter(like.new_empty(len(like), size))
    bound = hidden_size**-0.5 if hidden_size else 0.0
    torch.nn.init.uniform_(weight, -bound, bound)
    return weight


def gates(context: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Return what a context adds to the input part of the gates, weight_ch v.

    Args:
        context: (B, C) or (T, B, C).
        weights: (G*H, C) for each layer and direction. Weights of bfloat16 count as float32, in
            which the engine computes.

    Returns:
        (B, G*H) or (T, B, G*H) for each weight.
    """
    if weights[0].dtype == torch.bfloat16 or context.dtype == torch.bfloat16:
        context, weights = context.float(), [w.float() for w in weights]
    if not torch.is_autocast_enabled("cpu"):
        return [F.linear(context, w) for w in weights]
    with torch.autocast("cpu", enabled=False):
        return [F.linear(context, w) for w in weights]


def unexpected() -> ValueError:
    """Return the error for a context of a module that takes none."""
    return ValueError("context: expected None, as the module has context_size = 0")


def check(context: Any, shapes: Sequence[tuple[int, ...]], x: Tensor, size: int) -> None:
    """Check the context of a call of a module that takes one.

    Args:
        context: The argument of the call.
        shapes: The shapes that it may have.
        x: The input of the call, on whose device and in whose dtype it must be.
        size: C.

    Raises:
        ValueError: It is None, or has another shape.
        TypeError: It is not a tensor, or of another dtype or device.
    """
    expected = " or ".join(map(str, shapes))
    if context is None:
        raise ValueError(
            f"context: expected shape {expected}, as the module has context_size = {size}, got None"
        )
    if not isinstance(context, Tensor):
        raise TypeError(f"context: expected a tensor, got {type(context).__name__}")
    casts = torch.is_autocast_enabled("cpu") and context.is_floating_point()
    if (context.dtype != x.dtype and not casts) or context.device != x.device:
        raise TypeError(
            f"context: expected {x.dtype} on {x.device}, like the input, got {context.dtype} on "
            f"{context.device}"
        )
    if tuple(context.shape) not in shapes:
        raise ValueError(f"context: expected shape {expected}, got {tuple(context.shape)}")
