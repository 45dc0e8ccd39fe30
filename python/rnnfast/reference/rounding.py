"""Rounding of operands of products, as in networks of bfloat16 and of 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnfast.reference.tape import Array, Var

# Takes operands, or the weights of units, as rows: (..., K) for products that sum K terms.
Rounding: TypeAlias = "Callable[[Array], Array]"


def round_to_bfloat16(x: Array) -> Array:
    """Round x to a mantissa of eight bits, to nearest even; keep its dtype, NaN and infinities.

    The result is exactly that of bfloat16 in its normal range. Values below that range keep the
    full relative precision, unlike subnormal bfloat16 numbers.
    """
    mantissa, exponent = np.frexp(x)
    rounded: Array = np.ldexp(np.round(mantissa * 256), exponent - 8).astype(x.dtype)
    return rounded


def round_to_int8(x: Array) -> Array:
    """Round each row of x to integers in [-127, 127] times a scale; keep the dtype of x.

    The scale is the row's largest absolute value / 127. Integers and scale are those of float32
    code: the row is converted to float32, multiplied by 127 / largest value, and rounded to nearest
    even. Rows without a value of at least 2**-100 become zeros, as the inverse of their scale may
    not be finite.
    """
    row, most = x.astype(np.float32), np.float32(127)
    largest = np.abs(row).max(-1, keepdims=True, initial=0)
    large = largest >= 2.0**-100
    integers = np.rint(row * np.where(large, most / np.where(large, largest, 1), np.float32(0)))
    rounded: Array = integers.astype(x.dtype) * (largest / most)
    return rounded.astype(x.dtype)


def round_value(v: Var, rounding: Rounding) -> Var:
    """Round v, but pass its gradient on unrounded."""
    return Var(rounding(v.value), (v, lambda g: g))


def round_gradient(v: Var, rounding: Rounding) -> Var:
    """Return v unrounded, but round its gradient."""
    return Var(v.value, (v, rounding))
