"""Rounding of operands of products, as in bfloat16 networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnfast.reference.tape import Array, Var

Rounding: TypeAlias = "Callable[[Array], Array]"


def round_to_bfloat16(x: Array) -> Array:
    """Round x to a mantissa of eight bits, to nearest even; keep its dtype, NaN and infinities.

    The result is exactly that of bfloat16 in its normal range. Values below that range keep the
    full relative precision, unlike subnormal bfloat16 numbers.
    """
    mantissa, exponent = np.frexp(x)
    rounded: Array = np.ldexp(np.round(mantissa * 256), exponent - 8).astype(x.dtype)
    return rounded


def round_value(v: Var, rounding: Rounding) -> Var:
    """Round v, but pass its gradient on unrounded."""
    return Var(rounding(v.value), (v, lambda g: g))


def round_gradient(v: Var, rounding: Rounding) -> Var:
    """Return v unrounded, but round its gradient."""
    return Var(v.value, (v, rounding))
