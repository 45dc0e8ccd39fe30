"""PTX's number formats in Python: every value is an int or a float, every rounding is exact."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

# digits, least and greatest exponent
FORMATS = {
    "f16": (11, -14, 15),
    "bf16": (8, -126, 127),
    "tf32": (11, -126, 127),
    "f32": (24, -126, 127),
    "f64": (53, -1022, 1023),
}
NAN = math.nan
INF = math.inf


def width(type_: str) -> int:
    """Return the bits of a type; predicates are carried in 32."""
    if type_ in ("pred", "tf32"):
        return 32
    digits = type_.lstrip("bufs")
    return int(digits[:-2]) * 2 if digits.endswith("x2") else int(digits)


def whole(value: float | Fraction, mode: str) -> int:
    """Round a number to an integer: rn to nearest even, rna away from zero, rz, rm, rp."""
    exact = Fraction(value)
    low = math.floor(exact)
    rest = exact - low
    if mode == "rm" or rest == 0:
        return low
    if mode == "rp":
        return low + 1
    if mode == "rz":
        return low if exact > 0 else low + 1
    if rest != Fraction(1, 2):
        return low + (rest > Fraction(1, 2))
    return low + ((exact > 0) if mode == "rna" else low % 2)


def rounded(value: float | Fraction, type_: str, mode: str = "rn") -> float:
    """Return the value of a format to which a number is rounded."""
    if isinstance(value, float) and (not math.isfinite(value) or value == 0):
        return value
    digits, least, greatest = FORMATS[type_]
    sign, size = (-1.0 if value < 0 else 1.0), abs(Fraction(value))
    if size == 0:
        return 0.0
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > size
    unit = Fraction(2) ** (max(exponent, least) - digits + 1)
    away = {"rm": "rp", "rp": "rm"}.get(mode, mode) if sign < 0 else mode
    result = whole(size / unit, away) * unit
    limit = (2 - Fraction(2) ** (1 - digits)) * Fraction(2) ** greatest
    if result > limit:
        result_float = float(limit) if away in ("rz", "rm") else INF
    else:
        result_float = float(result)
    return math.copysign(result_float, sign)


def exactly(op: Callable[..., Any], *values: float) -> Fraction | float:
    """Compute without rounding; doubles decide infinities, NaN and the sign of zero."""
    if all(math.isfinite(value) for value in values):
        try:
            result = Fraction(op(*map(Fraction, values)))
        except ZeroDivisionError:
            result = Fraction(0)
        if result:
            return result
    try:
        return float(op(*values))
    except ZeroDivisionError:
        a, b = values
        return math.copysign(INF, a) * math.copysign(1.0, b) if a == a and a != 0 else NAN


def decode(word: int, type_: str) -> Any:
    """Return the value of a word, or a pair of values for packed types."""
    if type_.endswith("x2"):
        part = type_[:-2]
        return decode(word & 0xFFFF, part), decode(word >> 16, part)
    if type_ == "f64":
        return struct.unpack("<d", struct.pack("<Q", word))[0]
    if type_ == "f32":
        return struct.unpack("<f", struct.pack("<I", word))[0]
    if type_ == "f16":
        return struct.unpack("<e", struct.pack("<H", word))[0]
    if type_ == "bf16":
        return decode(word << 16, "f32")
    if type_ == "pred":
        return bool(word)
    bits = width(type_)
    return word - (1 << bits) if type_[0] == "s" and word >> (bits - 1) else word


def encode(value: Any, type_: str) -> int:
    """Return the word of a value; NaNs of 32 bits or less become the hardware's."""
    if type_.endswith("x2"):
        low, high = (encode(half, type_[:-2]) for half in value)
        return low | high << 16
    if type_ == "f64":
        return int(struct.unpack("<Q", struct.pack("<d", value))[0])
    if type_ in ("f32", "tf32"):
        word = struct.unpack("<I", struct.pack("<f", value))[0]
        return 0x7FFFFFFF if math.isnan(value) else int(word)
    if type_ in ("f16", "bf16") and math.isnan(value):
        return 0x7FFF
    if type_ == "f16":
        return int(struct.unpack("<H", struct.pack("<e", value))[0])
    if type_ == "bf16":
        return encode(value, "f32") >> 16
    if type_ == "pred":
        return int(value)
    return int(value) & ((1 << width(type_)) - 1)


def flushed(value: float, type_: str) -> float:
    """Replace a subnormal value by zero."""
    least = FORMATS[type_][1]
    return math.copysign(0.0, value) if abs(value) < 2.0**least else value


def clamped(value: int, type_: str) -> int:
    """Return the nearest value of an integer type."""
    bits = width(type_)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if type_[0] == "s" else (0, (1 << bits) - 1)
    return min(max(value, low), high)


def square_root(value: float) -> Fraction | float:
    """Return the square root to 200 binary digits, with the last one set if it is inexact."""
    if not math.isfinite(value) or value <= 0:
        return value if value == 0 or value == INF else NAN
    scaled = Fraction(value) * 4**1200
    root = math.isqrt(math.floor(scaled))
    exact = root * root == scaled
    return Fraction(2 * root + (not exact), 2 * 2**1200)
