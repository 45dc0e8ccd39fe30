"""Rows of numbers with exponents of their own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnnfast.inspection.scaled import Scaled


@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=4, max_size=4),
    st.integers(-5000, 5000),
    st.integers(-60, 60),
)
def test_scaled_numbers_add_like_numbers(values: list[float], exponent: int, apart: int) -> None:
    one, other = np.array(values[:2]), np.array(values[2:])
    total = Scaled.of(one, exponent).plus(Scaled.of(other, exponent + apart))
    expected = one + np.ldexp(other, apart)
    largest = np.abs([one, np.ldexp(other, apart)]).max()
    got = np.ldexp(total.mantissa, total.exponent - exponent)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2 * largest * np.finfo(np.float64).eps)
    assert not total.mantissa.any() or 0.5 <= np.abs(total.mantissa).max() < 1
