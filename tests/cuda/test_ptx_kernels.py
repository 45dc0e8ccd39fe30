"""Kernels give the same results from their source and from nvcc's PTX of it in the emulator."""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from build import BUILD, ROOT, SCHEDULES, build, environment
from ptx.nvcc import available, from_cuda

SOURCE = ROOT / "tests" / "cuda" / "ptx_kernels.cu"
CAPABILITIES = [80, 90, *(pytest.param(other, marks=pytest.mark.slow) for other in (75, 100, 120))]
Array = npt.NDArray[Any]

pytestmark = pytest.mark.skipif(not available(), reason="nvcc is not on PATH")


def compiled(capability: int | None, sanitizer: str | None = None, *defines: str) -> Path:
    """Compile the kernels to a library, from their source (None) or from the PTX for a device."""
    if capability is None:
        return build("ptx_kernels", [SOURCE], sanitizer=sanitizer, defines=defines)
    folder = BUILD / "ptx_kernels" / "_".join(["ptx", *defines])
    translated = from_cuda(SOURCE, capability, folder, defines=defines)
    return build(
        "ptx_kernels",
        [SOURCE, translated],
        sanitizer=sanitizer,
        defines=["RNNFAST_EMULATED_PTX", *defines],
        flags=["-ffp-contract=off"],
        libraries=["-ldl"],
    )


@functools.cache
def library(capability: int | None) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(compiled(capability)))
    loaded.run_kernel.restype = ctypes.c_char_p
    return loaded


def run(
    capability: int | None,
    name: str,
    *arrays: Array,
    size: int,
    schedule: tuple[int, int] = (2, 1),
    device: int = 90,
) -> str:
    """Run a kernel on arrays and return its error."""
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    pointers += [ctypes.c_void_p(None)] * (3 - len(pointers))
    policy, seed = schedule
    error = library(capability).run_kernel(
        name.encode(), device, policy, ctypes.c_uint64(seed), *pointers, size
    )
    return bytes(error).decode()


@pytest.fixture(params=CAPABILITIES, ids=str)
def capability(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_definitions_may_have_commas(tmp_path: Path) -> None:
    source = tmp_path / "last.cu"
    source.write_text("__global__ void last(int* to) { const int all[] = {ALL}; *to = all[2]; }")
    translated = from_cuda(source, 90, tmp_path, defines=["ALL=5,6,731"])
    assert "731" in translated.read_text()


def in_ulps(y: Array, exact: Array) -> Array:
    """Return errors in units of the last place of a float32."""
    return np.abs(y - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)


# The largest errors in ulps, from the CUDA C++ programming guide: 2 for sinf and cosf; division
# and square root are correctly rounded. The sigmoid is a composition: 2 for expf, 1 each for sum
# and quotient.
FUNCTIONS = {
    "expf": (np.exp, 2),
    "tanhf": (np.tanh, 2),
    "logf": (lambda a: np.log(np.abs(a)), 1),
    "sqrtf": (lambda a: np.sqrt(np.abs(a)), 0.5),
    "reciprocal": (lambda a: 1 / a, 0.5),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), 4),
    "sinf": (np.sin, 2),
    "cosf": (np.cos, 2),
    "log1pf": (lambda a: np.log1p(np.abs(a)), 1),
}


def test_functions_are_as_exact_as_cuda_says(capability: int) -> None:
    generator = np.random.default_rng(1)
    x = np.concatenate(
        [
            generator.normal(size=2000),
            generator.uniform(-80, 80, 1000),
            10.0 ** generator.uniform(-30, 1, 500),
        ]
    ).astype(np.float32)
    y = np.full((x.size, len(FUNCTIONS)), np.nan, np.float32)
    assert run(capability, "functions", x, y, size=x.size) == ""
    exact_x = x.astype(np.float64)
    for column, (name, (function, bound)) in enumerate(FUNCTIONS.items()):
        error = in_ulps(y[:, column].astype(np.float64), function(exact_x))
        assert error.max() <= bound + 0.01, (name, error.max(), x[error.argmax()])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_transpose(capability: int, schedule: tuple[int, int]) -> None:
    n = 71
    x = np.random.default_rng(2).integers(0, 1000, (n, n)).astype(np.float32)
    for tier in (None, capability):
        y, total = np.full((n, n), np.nan, np.float32), np.zeros(1, np.uint32)
        assert run(tier, "transpose", x, y, total, size=n, schedule=schedule) == ""
        assert (y == x.T).all()
        assert total[0] == x.sum()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_product(capability: int, schedule: tuple[int, int]) -> None:
    if capability < 80:
        pytest.skip("tensor cores multiply bfloat16 from sm_80 on")
    k = 3
    generator = np.random.default_rng(3)
    a, b = (generator.normal(size=(rows, 16 * k)).astype(np.float32) for rows in (16, 8))
    results = []
    for tier in (None, capability):
        c = np.full((16, 8), np.nan, np.float32)
        assert run(tier, "product", a, b, c, size=k, schedule=schedule, device=80) == ""
        results.append(c)
    bits = [array.view(np.uint32) for array in (a, b)]
    a, b = (
        ((word + 0x7FFF + (word >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
        for word in bits
    )
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    bound = 16 * k * 2.0**-23 * (np.abs(a) @ np.abs(b.T))
    for c in results:
        assert (np.abs(c - exact) <= bound).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_chain(capability: int, schedule: tuple[int, int]) -> None:
    rounds = 5
    increments = np.array([5, 7, 11, 13], np.uint32)
    expected = [0, 0, 0, 0]
    for _ in range(rounds):
        for block in range(4):
            expected[block] = expected[block - 1] * 3 + int(increments[block]) & 0xFFFFFFFF
    for tier in (None, capability):
        values, flags = np.zeros(4, np.uint32), np.zeros(4, np.uint32)
        assert run(tier, "chain", increments, values, flags, size=rounds, schedule=schedule) == ""
        assert list(values) == expected


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_exchange(capability: int, schedule: tuple[int, int]) -> None:
    if capability < 90:
        pytest.skip("clusters are from sm_90 on")
    cluster = 4
    x = np.random.default_rng(4).integers(0, 2**32, 2 * cluster, np.uint32)
    weights = np.arange(1, cluster + 1, dtype=np.uint32)
    expected = (x.reshape(2, cluster) * weights).sum(axis=1, dtype=np.uint32).repeat(cluster)
    for tier in (None, capability):
        y = np.zeros(2 * cluster, np.uint32)
        assert run(tier, "exchange", x, y, size=cluster, schedule=schedule) == ""
        assert (y == expected).all()


def test_what_the_hardware_lacks_is_a_trap() -> None:
    x, y = np.zeros(8, np.uint32), np.zeros(8, np.uint32)
    error = run(80, "exchange", x, y, size=1)
    assert re.search(r"trap at .*device\.cuh:\d+ \[block", error), error


def test_launch_bounds() -> None:
    x = y = np.zeros((32, 32), np.float32)
    error = run(90, "too many threads", x, y, np.zeros(1, np.uint32), size=32)
    assert "512 threads a block, but __launch_bounds__ is 256" in error


SANITIZED = """
import ctypes, sys
import numpy as np
library = ctypes.CDLL(sys.argv[1])
library.run_kernel.restype = ctypes.c_char_p
name, size = sys.argv[2].encode(), int(sys.argv[3])
arrays = [np.zeros(64 * 64, np.float32) for _ in range(3)]
pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
print(library.run_kernel(name, 90, 2, ctypes.c_uint64(1), *pointers, size).decode())
"""


def sanitized(
    sanitizer: str, name: str, size: int, *defines: str
) -> subprocess.CompletedProcess[str]:
    """Run a kernel on arrays of 64 x 64 zeros under the sanitizer."""
    path = compiled(90, sanitizer, *defines)
    return subprocess.run(
        [sys.executable, "-c", SANITIZED, str(path), name, str(size)],
        env=environment(sanitizer),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
@pytest.mark.parametrize(
    ("name", "size"),
    [("transpose", 64), ("chain", 5), ("product", 3), ("exchange", 4), ("functions", 64)],
)
def test_sanitizers_are_silent_on_what_is_right(sanitizer: str, name: str, size: int) -> None:
    done = sanitized(sanitizer, name, size)
    assert done.returncode == 0, done.stderr
    assert "Sanitizer" not in done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("define", "name", "size", "mark"),
    [("NO_BARRIER", "transpose", 64, "barrier"), ("RELAXED", "chain", 5, "relaxed")],
)
def test_a_race_is_found_at_its_line_of_the_source(
    define: str, name: str, size: int, mark: str
) -> None:
    lines = enumerate(SOURCE.read_text().splitlines(), 1)
    line = next(number for number, text in lines if f"// RACE {mark}" in text)
    done = sanitized("thread", name, size, define)
    assert "data race" in done.stderr, done.stderr
    assert f"ptx_kernels.cu:{line} " in done.stderr, done.stderr


@pytest.mark.slow
def test_a_wrong_address_is_found() -> None:
    done = sanitized("address", "transpose", 65)
    assert "heap-buffer-overflow" in done.stderr, done.stderr
    assert "ptx_kernels.cu:" in done.stderr
