"""The choice of the instruction set: each gives right results, and a wrong name is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
    for precision in ("full", "bfloat16")
]
# So many rows and values that a small cache takes them in several parts.
LARGE = [
    Case(cell, T=60, B=7, I=90, H=75, D=2, lengths=True, precision=precision)
    for cell in CELLS
    for precision in ("full", "bfloat16")
]
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
numpy.savez(sys.argv[2], isa=info["isa"], bfloat16=info["bfloat16"], **results)
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


def ways(isa: str) -> list[str]:
    """Return the ways in which an instruction set makes bfloat16 products on this machine."""
    child = python("import rnnfast", RNNFAST_ISA=isa, RNNFAST_BF16="?")
    return re.findall(r"\w+", child.stderr.split("expected one of ")[1].split("(")[0])


def run_cases(name: str, file: Path, **environment: str) -> None:
    """Store the results of a list of cases in a file."""
    child = python(CHILD, str(Path(__file__).parent), str(file), name, **environment)
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("isa", rnnfast.cpu_info()["isas_compiled"])
def test_each_instruction_set_matches_the_reference(isa: str, tmp_path: Path) -> None:
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU does not support {isa}")
    for way in ways(isa):
        file = tmp_path / f"{way}.npz"
        run_cases("SMALL", file, RNNFAST_ISA=isa, RNNFAST_BF16=way)
        with np.load(file) as stored:
            assert (stored["isa"], stored["bfloat16"]) == (isa, way)
            for case in SMALL:
                expected = cases.run_reference(case)
                got = {name: stored[f"{case} {name}"] for name in expected}
                cases.assert_close(got, expected, cases.plain_errors(case), case)


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
    expected = ["convert", "dot"] if "avx512_bf16" in flags[0].split() else ["convert"]
    assert ways("avx512") == expected


def test_unknown_way_is_refused_at_import() -> None:
    child = python("import rnnfast", RNNFAST_BF16="Dot")
    assert child.returncode != 0
    assert "environment variable RNNFAST_BF16: expected one of convert" in child.stderr
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
