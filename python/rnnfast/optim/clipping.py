"""Gradient clipping, with PyTorch's formulas."""

from __future__ import annotations

from typing import Any

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast.optim.groups import Arrays, take_care
from rnnfast.optim.parameters import Parameters, listed


def clip_grad_norm_(
    parameters: Parameters, max_norm: float, *, error_if_nonfinite: bool = False
) -> float:
    """Scale gradients in place so that their joint 2-norm is at most `max_norm`.

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype.
        max_norm: The factor is max_norm / (norm + 1e-6) if that is below 1.
        error_if_nonfinite: Whether to raise an error if the norm is infinite or not a number, which
            waits for the device.

    Returns:
        The norm before clipping; on a device an array of shape (), and `float()` waits for it.

    Raises:
        RuntimeError: The norm is not finite, with `error_if_nonfinite`. In that case
            nothing is changed.
    """
    limit = checks.number("max_norm", max_norm, 0)
    must_be_finite = checks.boolean("error_if_nonfinite", error_if_nonfinite)
    norm: float = _pass_over(parameters, _core.care(clip_norm=limit, only_if_finite=must_be_finite))
    return norm


def clip_grad_value_(parameters: Parameters, clip_value: float) -> None:
    """Clip gradients in place, element by element, into [-clip_value, clip_value].

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype.
        clip_value: The largest absolute value allowed.
    """
    limit = checks.number("clip_value", clip_value, 0)
    _pass_over(parameters, _core.care(clip_value=limit))


def _pass_over(parameters: Parameters, care: _core.Care) -> Any:
    given, backend = listed(parameters)
    return take_care(backend, Arrays(backend, given, [[p.grad for p in given]]), care)
