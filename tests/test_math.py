"""Functions of the kernels (cpu/math.h) stay within the bounds that the header states."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rnnfast import _core

HEADER = Path(__file__).parents[1] / "src/cpp/cpu/math.h"
STATED = {
    (name, dtype): int(bound)
    for name, *bounds in re.findall(r"// +(\w+) +float (\d+), double (\d+) ", HEADER.read_text())
    for dtype, bound in zip(("float32", "float64"), bounds, strict=True)
}
EXP_LIMIT = dict(
    zip(
        ("float32", "float64"),
        map(float, re.findall(r"kExpLimit = .* T\((\d+)\) : T\((\d+)\)", HEADER.read_text())[0]),
        strict=True,
    )
)


def erf(x: np.ndarray) -> np.ndarray:
    """Sum the series of positive terms 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!."""
    y, places = np.unique(np.clip(x, -7, 7).astype(np.longdouble), return_inverse=True)
    term, total, open_, n = y, y.copy(), np.arange(len(y)), 1
    while len(open_):  # sums that still grow
        term = term * (2 * y[open_] ** 2 / (2 * n + 1))
        total[open_] += term
        grows = np.abs(term) > np.finfo(np.longdouble).eps / 8 * np.abs(total[open_])
        term, open_, n = term[grows], open_[grows], n + 1
    # Start from an exact quarter turn, since a float64 constant would lose the digits beyond it.
    exact = total * np.exp(-y * y) / np.sqrt(np.arctan(np.longdouble(1)))
    return exact[places].astype(x.dtype)


EXACT = {
    "exp": np.exp,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "log": np.log,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "erf": erf,
}

# Where each function of float32 errs most with AVX-512 (`benchmarks/accuracy.py functions`).
WORST = [-59.9218788, -16.6357059, 0.0622096062, 0.640104592, -0.461978763, 0.897962511]


def test_header_states_all_bounds() -> None:
    assert set(STATED) == {(name, dtype) for name in EXACT for dtype in ("float32", "float64")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_is_zero_beyond_the_clamp(dtype: str) -> None:
    """If it were 6e-39, operands of 1e30 that cancel would give 1e22 instead of 0."""
    limit = EXP_LIMIT[dtype]
    x = np.array([-np.inf, -10 * limit, np.nextafter(np.array(-limit, dtype), -np.inf)], dtype)
    np.testing.assert_array_equal(_core._math("sigmoid", x), 0)
    np.testing.assert_array_equal(_core._math("sigmoid", -x), 1)
    assert np.isnan(_core._math("sigmoid", np.array([np.nan], dtype)))


def samples(dtype: str) -> np.ndarray:
    """Return every sign and exponent with dense and random mantissas, and values near limits."""
    rng = np.random.default_rng(0)
    bits = np.dtype(dtype).itemsize * 8
    unsigned = f"uint{bits}"
    mantissa = np.finfo(dtype).nmant
    upper = np.arange(1 << (bits - mantissa), dtype=unsigned) << np.array(mantissa, unsigned)
    lower = rng.integers(0, 1 << mantissa, 400 if bits == 32 else 60, dtype=unsigned)
    lower = np.concatenate([lower, [0, 1, (1 << mantissa) - 1]]).astype(unsigned)
    x = (upper[:, None] | lower).ravel().view(dtype)
    linear = rng.uniform(-30, 30, 200_000).astype(dtype)
    edge = np.log(np.finfo(dtype).max)
    edges = (np.linspace(0.98, 1.02, 4001) * edge).astype(dtype)
    return np.concatenate([x[np.isfinite(x)], linear, edges, -edges, np.array(WORST, dtype)])


def errors(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arguments and, for each, the error in units in the last place of the result."""
    x = samples(dtype)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        exact = EXACT[name](x.astype(np.float64 if dtype == "float32" else np.longdouble))
        stated = {
            "exp": (exact >= np.finfo(dtype).tiny) & (x <= EXP_LIMIT[dtype]),
            "sigmoid": exact >= np.finfo(dtype).tiny,
            "tanh": np.full(x.shape, True),
            "log": x >= np.finfo(dtype).tiny,
            "softplus": exact >= np.finfo(dtype).tiny,
            "erf": np.full(x.shape, True),
        }[name]
        x, exact = x[stated], exact[stated]
        unit = np.spacing(np.abs(exact).astype(dtype)).astype(exact.dtype)
        return x, np.abs(_core._math(name, x).astype(exact.dtype) - exact) / unit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_error_in_units_in_the_last_place(name: str, dtype: str) -> None:
    x, error = errors(name, dtype)
    at = int(np.argmax(error))
    assert error[at] <= STATED[name, dtype], f"{error[at]:.3g} ulp at {x[at]!r}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_special_values(name: str, dtype: str) -> None:
    x = np.array([np.nan, -np.nan, 0.0, -np.inf, np.inf], dtype)
    zero, low, high = {
        "exp": (1, 0, np.inf),
        "sigmoid": (0.5, 0, 1),
        "tanh": (0, -1, 1),
        "log": (-np.inf, np.nan, np.inf),
        "softplus": (np.log(2), 0, np.inf),
        "erf": (0, -1, 1),
    }[name]
    expected = np.array([np.nan, np.nan, zero, low, high])
    tiny, eps = np.finfo(dtype).tiny, np.finfo(dtype).eps
    np.testing.assert_allclose(_core._math(name, x), expected, rtol=eps, atol=tiny)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exp_beyond_its_range(dtype: str) -> None:
    x = samples(dtype)
    y = _core._math("exp", x)
    assert np.isinf(y[x > EXP_LIMIT[dtype]]).all()
    assert not y[x < np.log(np.finfo(dtype).tiny) - 1].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_value_does_not_depend_on_its_place(name: str, dtype: str) -> None:
    """Whole vectors and the tail of an array give the same bits."""
    x = samples(dtype)[:: 4999 if dtype == "float32" else 2999][:67].copy()
    whole = _core._math(name, x)
    for begin in range(len(x)):
        one = _core._math(name, x[begin : begin + 1].copy())
        assert one.tobytes() == whole[begin : begin + 1].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_never_out_of_range(name: str, dtype: str) -> None:
    x = samples(dtype)
    y = _core._math(name, x[x >= 0] if name == "log" else x)
    low, high = {
        "exp": (0, np.inf),
        "sigmoid": (0, 1),
        "tanh": (-1, 1),
        "log": (-np.inf, np.inf),
        "softplus": (0, np.inf),
        "erf": (-1, 1),
    }[name]
    assert ((low <= y) & (y <= high)).all()
