"""Matrix products and sums of columns against float64 NumPy."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from device_kernels import EPS, SCHEDULES, Kernels, reals
from numpy.typing import NDArray

from rnnfast.reference import round_to_bfloat16

SIZES = [(1, 1, 1), (3, 70, 5), (64, 64, 16), (65, 63, 17), (2, 130, 33), (131, 3, 40), (9, 5, 0)]


def padded(array: NDArray, gap: int) -> NDArray:
    """Return the array with `gap` extra columns of NaN."""
    return np.pad(array, ((0, 0), (0, gap)), constant_values=np.nan)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("transposes", list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_gemm(
    device: str,
    m: int,
    n: int,
    k: int,
    transposes: tuple[bool, bool],
    bfloat16: bool,
    schedule: tuple[str, int],
) -> None:
    kernels = Kernels(device, schedule)
    draw = random.Random(str((m, n, k, transposes, bfloat16, schedule)))
    beta, gap = draw.choice((0.0, 1.0, -0.5)), draw.choice((0, 3))
    a, b, bias, c = reals(1, m, k), reals(2, k, n), reals(3, n), reals(4, m, n)
    bias *= draw.choice((0, 1))
    exact = [round_to_bfloat16(x).astype(float) if bfloat16 else x.astype(float) for x in (a, b)]
    expected, size = exact[0] @ exact[1] + bias, abs(exact[0]) @ abs(exact[1]) + abs(bias)
    if beta:
        expected, size = expected + beta * c, size + abs(beta * c)
    arrays = [padded(x.T if t else x, gap) for x, t in zip((a, b), transposes, strict=True)]
    out = kernels.put(padded(c if beta else np.full_like(c, np.nan), gap))
    kernels.call(
        "gemm",
        a=kernels.put(arrays[0]),
        b=kernels.put(arrays[1]),
        c=out,
        m=m,
        n=n,
        k=k,
        lda=arrays[0].shape[1],
        ldb=arrays[1].shape[1],
        ldc=n + gap,
        transpose_a=transposes[0],
        transpose_b=transposes[1],
        beta=beta,
        bias=kernels.put(bias) if bias.any() else 0,
        bfloat16=bfloat16,
    )
    got = kernels.get(out)
    assert np.isnan(got[:, n:]).all(), "what is between the rows is not C's"
    error = abs(got[:, :n] - expected)
    assert (error <= (k + 3) / 2 * EPS * size).all(), error.max()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.5])
@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 1), (33, 8), (131, 13), (1000, 65)])
def test_column_sum(
    device: str, rows: int, columns: int, beta: float, schedule: tuple[str, int]
) -> None:
    kernels = Kernels(device, schedule)
    a, out = reals(1, rows, columns), reals(2, columns)
    expected = a.astype(float).sum(0) + beta * out
    got = kernels.put(out) if beta else kernels.nan(columns)
    kernels.call(
        "column_sum",
        a=kernels.put(padded(a, 2)),
        rows=rows,
        columns=columns,
        lda=columns + 2,
        out=got,
        beta=beta,
    )
    error = abs(kernels.get(got) - expected)
    assert (error <= (rows / 32 + 20) * EPS * (abs(a).sum(0) + abs(out))).all(), error.max()


def test_gemm_says_who_makes_it(device: str) -> None:
    library = Kernels(device).engine.extension.gemm_library()
    assert library == "rnnfast" or (device == "cuda" and library.startswith("cuBLAS "))


def test_wrong_strides_are_refused(device: str) -> None:
    kernels = Kernels(device)
    a = kernels.nan(4, 4)
    sizes = {"a": a, "b": a, "c": a, "m": 4, "n": 3, "k": 2, "lda": 4, "ldb": 4, "ldc": 4}
    for name, transpose, least in [
        ("lda", False, 2),
        ("lda", True, 4),
        ("ldb", False, 3),
        ("ldb", True, 2),
        ("ldc", False, 3),
    ]:
        options = {f"transpose_{name[-1]}": transpose} if name != "ldc" else {}
        with pytest.raises(
            RuntimeError, match=f"gemm: expected {name} >= {least}, got {least - 1}"
        ):
            kernels.call("gemm", **{**sizes, name: least - 1}, **options)
    with pytest.raises(RuntimeError, match="column_sum: expected lda >= 4, got 3"):
        kernels.call("column_sum", a=a, rows=4, columns=4, lda=3, out=a)
