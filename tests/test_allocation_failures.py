"""Memory ends at each allocation of a call in turn: MemoryError, nothing lost, the next call right.

`failing_calls.py` makes the calls, with an allocator whose allocations fail from a given one on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("allocator") / "failing_allocations.so"
    command = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, HERE / "failing_allocations.cpp", "-o", library], check=True)
    return library


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="memory is the sanitizer's")
@pytest.mark.parametrize("threads", [1, 3])
def test_memory_ends_at_each_allocation_of_a_call(allocator: Path, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "failing_calls.py"), str(allocator), str(threads)],
        env={**os.environ, "LD_PRELOAD": str(allocator), "RNNFAST_CACHE_LIMIT": "0"},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 10_000
