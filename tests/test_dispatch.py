"""The choice of the instruction set: each gives right results, and a wrong name is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast.reference import CELLS

SUPPORTED = rnnfast.cpu_info()["isas_supported"]
SMALL = [
    Case(cell, T=3, B=5, I=6, H=19, L=2, D=2, lengths=True, precision=precision)
    for cell in CELLS
    for precision in ("full", "bfloat16", "int8")
]
# So many rows and values that a small cache takes them in several parts.
LARGE = [
    Case(cell, T=60, B=7, I=90, H=75, D=2, lengths=True, precision=precision)
    for cell in CELLS
    for precision in ("full", "bfloat16", "int8")
]
# The functions of a ReLU's step are exact sums and comparisons.
RELUS = [Case("rnn_relu", T=5, B=9, I=300, H=65, L=2, D=2, lengths=True, precision="int8")]
# What portable512 computes by the very operations of avx512: all results in float64, and those of
# a ReLU in every format. In float32, avx512 starts sigmoid and tanh from an approximate reciprocal,
# which other CPUs lack; there test_each_instruction_set_matches_the_reference bounds the errors.
PORTABLE = [
    Case(cell, T=4, B=B, I=21, H=H, L=2, D=2, lengths=True, dtype=dtype, precision=precision)
    for cell, dtype, precision in [
        *((cell, "float64", "full") for cell in CELLS),
        *(("rnn_relu", "float32", precision) for precision in ("full", "bfloat16", "int8")),
    ]
    for B in (1, 9)
    for H in (19, 67)
]
FUNCTIONS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy, rnnfast, test_math
numpy.savez(sys.argv[2], **{
    f"{dtype} {name}": rnnfast._core._math(name, test_math.samples(dtype)[::7].copy())
    for name in test_math.EXACT
    for dtype in ("float32", "float64")
    if dtype == "float64" or name not in ("sigmoid", "tanh")
})
"""
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import cases, numpy, rnnfast, test_dispatch
results = {
    f"{case} {name}": values
    for case in getattr(test_dispatch, sys.argv[3])
    for name, values in cases.run_engine(case).items()
}
info = rnnfast.cpu_info()
names = {name: info[name] for name in ("isa", "bfloat16", "int8")}
numpy.savez(sys.argv[2], **names, **results)
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with additional environment variables."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def ways(isa: str, variable: str) -> list[str]:
    """Return the ways, which a variable names, in which an instruction set computes products."""
    child = python("import rnnfast", RNNFAST_ISA=isa, **{variable: "?"})
    return re.findall(r"\w+", child.stderr.split("expected one of ")[1].split("(")[0])


def run_cases(name: str, file: Path, **environment: str) -> None:
    """Store the results of a list of cases in a file."""
    child = python(CHILD, str(Path(__file__).parent), str(file), name, **environment)
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("isa", rnnfast.cpu_info()["isas_compiled"])
def test_each_instruction_set_matches_the_reference(isa: str, tmp_path: Path) -> None:
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU does not support {isa}")
    of_bfloat16, of_int8 = ways(isa, "RNNFAST_BF16"), ways(isa, "RNNFAST_INT8")
    for ways_of_both in zip_longest(of_bfloat16, of_int8):  # some sets have one way for bfloat16
        way, other = ways_of_both[0] or of_bfloat16[-1], ways_of_both[1] or of_int8[-1]
        file = tmp_path / f"{way}.npz"
        run_cases("SMALL", file, RNNFAST_ISA=isa, RNNFAST_BF16=way, RNNFAST_INT8=other)
        with np.load(file) as stored:
            assert (stored["isa"], stored["bfloat16"], stored["int8"]) == (isa, way, other)
            for case in SMALL:
                expected = cases.run_reference(case)
                got = {name: stored[f"{case} {name}"] for name in expected}
                cases.assert_close(got, expected, cases.plain_errors(case), case)


def test_integer_products_have_the_same_bits_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "results.npz"
    everywhere = []
    for isa in SUPPORTED:
        for way in ways(isa, "RNNFAST_INT8"):
            run_cases("RELUS", file, RNNFAST_ISA=isa, RNNFAST_INT8=way)
            everywhere.append({k: v for k, v in np.load(file).items() if v.dtype.kind == "f"})
    assert any(values.any() for values in everywhere[0].values())
    for others in everywhere[1:]:
        cases.assert_identical(others, everywhere[0])


def test_portable512_has_the_bits_of_avx512(tmp_path: Path) -> None:
    """So that tests with portable512 test the code for AVX-512, on any CPU."""
    if "avx512" not in SUPPORTED:
        pytest.skip("this CPU does not support avx512")
    if "portable512" not in SUPPORTED:
        pytest.skip("portable512 is not built: the CMake option RNNFAST_PORTABLE512 is off")
    stored = []
    for isa in ("avx512", "portable512"):
        cells, functions = tmp_path / f"{isa}.npz", tmp_path / f"{isa}_functions.npz"
        run_cases("PORTABLE", cells, RNNFAST_ISA=isa, RNNFAST_BF16="convert")
        child = python(FUNCTIONS, str(Path(__file__).parent), str(functions), RNNFAST_ISA=isa)
        assert child.returncode == 0, child.stderr
        stored.append({**np.load(cells), **np.load(functions)})
    for results in stored:
        del results["isa"], results["int8"]
    assert len(stored[0]) > 10 * len(PORTABLE)
    cases.assert_identical(stored[1], stored[0])


def test_same_bits_for_any_cache(tmp_path: Path) -> None:
    files = [tmp_path / f"{size}.npz" for size in (1 << 18, 1 << 19, 1 << 21)]
    for file in files:
        run_cases("LARGE", file, RNNFAST_L2_BYTES=file.stem)
    stored = [dict(np.load(file)) for file in files]
    for others in stored[1:]:
        cases.assert_identical(others, stored[0])


def test_dot_products_are_found_where_the_cpu_has_them() -> None:
    cpu = Path("/proc/cpuinfo")
    flags = re.findall(r"^flags\s*: (.*)$", cpu.read_text() if cpu.exists() else "", re.MULTILINE)
    if "avx512" not in SUPPORTED or not flags:
        pytest.skip("only AVX-512 has two ways")
    for variable, other, flag in (
        ("RNNFAST_BF16", "convert", "avx512_bf16"),
        ("RNNFAST_INT8", "multiply", "avx512_vnni"),
    ):
        expected = [other, "dot"] if flag in flags[0].split() else [other]
        assert ways("avx512", variable) == expected


@pytest.mark.parametrize(
    ("variable", "other"), [("RNNFAST_BF16", "convert"), ("RNNFAST_INT8", "multiply")]
)
def test_unknown_way_is_refused_at_import(variable: str, other: str) -> None:
    child = python("import rnnfast", **{variable: "Dot"})
    assert child.returncode != 0
    assert f"environment variable {variable}: expected one of {other}" in child.stderr
    assert "got 'Dot'" in child.stderr


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 "])
def test_unknown_instruction_set_is_refused_at_import(name: str) -> None:
    child = python("import rnnfast", RNNFAST_ISA=name)
    assert child.returncode != 0
    assert f"RNNFAST_ISA: expected one of {', '.join(SUPPORTED)}" in child.stderr
    assert f"got '{name}'" in child.stderr


def test_empty_variable_means_the_best() -> None:
    child = python("import rnnfast; print(rnnfast.cpu_info()['isa'])", RNNFAST_ISA="")
    assert child.stdout.strip() == SUPPORTED[0], child.stderr


def test_cpu_info() -> None:
    info = rnnfast.cpu_info()
    assert info["isa"] in SUPPORTED
    assert set(SUPPORTED) <= set(info["isas_compiled"])
    assert info["vector_bits"] in (128, 256, 512)
    assert info["threads"] == rnnfast.get_num_threads()
    assert info["cpus"] >= 1
    file = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\t: (.*)$", file.read_text() if file.exists() else "", re.M)
    assert info["cpu"] == (names[0] if names else "unknown")
