"""Memory ends at each allocation of a call in turn: MemoryError, nothing lost, the next call right.

Scripts make the calls, with an allocator whose allocations fail from a given one on.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import scripts

pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="memory is AddressSanitizer's"
)


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripts.build_library("failing_allocations.cpp", tmp_path_factory.mktemp("allocator"))


def allocations(allocator: Path, script: str, argument: object) -> int:
    """Run a script, and return in how many allocations it let memory end."""
    printed = scripts.run(script, allocator, argument, preload=allocator, RNNFAST_CACHE_LIMIT="0")
    return int(printed)


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_ends_at_each_allocation_of_a_call(allocator: Path, threads: int) -> None:
    assert allocations(allocator, "failing_calls.py", threads) > 10_000


@pytest.mark.parametrize("package", ["torch", "jax"])
def test_memory_of_the_engine_ends_in_calls_of_other_packages(
    allocator: Path, package: str
) -> None:
    pytest.importorskip(package)
    assert allocations(allocator, "failing_package_calls.py", package) > 200
