"""Products of rounded values, as networks in bfloat16 make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnfast.reference.tape import Array, Var

Rounding: TypeAlias = "Callable[[Array], Array]"


def round_to_bfloat16(x: Array) -> Array:
    """X rounded to eight bits of mantissa, to nearest even, in x's dtype; NaN and inf stay.

    Exact for finite values within bfloat16's normal range; smaller ones are rounded relatively.
    """
    mantissa, exponent = np.frexp(x)
    rounded: Array = np.ldexp(np.round(mantissa * 256), exponent - 8).astype(x.dtype)
    return rounded


def round_value(v: Var, rounding: Rounding) -> Var:
    """The rounded value; its gradient is v's as it is."""
    return Var(rounding(v.value), (v, lambda g: g))


def round_gradient(v: Var, rounding: Rounding) -> Var:
    """v, whose gradient is rounded on its way back."""
    return Var(v.value, (v, rounding))
