"""Memory ends at each allocation of a call in turn: MemoryError, nothing lost, the next call right.

Scripts make the calls, with an allocator whose allocations fail from a given one on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="memory is AddressSanitizer's"
)


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("allocator") / "failing_allocations.so"
    command = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, HERE / "failing_allocations.cpp", "-o", library], check=True)
    return library


def allocations(allocator: Path, script: str, argument: str) -> int:
    """Run a script, and return in how many allocations it let memory end."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), str(allocator), argument],
        env={**os.environ, "LD_PRELOAD": str(allocator), "RNNFAST_CACHE_LIMIT": "0"},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_ends_at_each_allocation_of_a_call(allocator: Path, threads: int) -> None:
    assert allocations(allocator, "failing_calls.py", str(threads)) > 10_000


@pytest.mark.parametrize("package", ["torch", "jax"])
def test_memory_of_the_engine_ends_in_calls_of_other_packages(
    allocator: Path, package: str
) -> None:
    pytest.importorskip(package)
    assert allocations(allocator, "failing_package_calls.py", package) > 200
