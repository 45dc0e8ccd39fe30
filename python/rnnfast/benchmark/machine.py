"""The machine: its description, and its measured limits."""

from __future__ import annotations

import os
import platform
import subprocess
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import rnnfast
from rnnfast import _core
from rnnfast.benchmark.case import Case

_PROBE_SECONDS = 0.1
_WORKING_SETS = [4**k for k in range(7, 15)]  # bytes: 16 KiB to 256 MiB
_PACKAGES = ("numpy", "torch", "onnxruntime", "onnx")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

ALLOCATOR_VARIABLES = (
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "LD_PRELOAD",
)


def facts() -> dict[str, Any]:
    """Return the facts that results depend on: the CPU, versions, settings and the date."""
    info = rnnfast.cpu_info()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": info["cpu"],
        "cpus": info["cpus"],
        "isa": info["isa"],
        "system": platform.platform(),
        "python": platform.python_version(),
        "rnnfast": rnnfast.__version__,
        "commit": _commit(),
        **{package: _version(package) for package in _PACKAGES},
        "huge_pages": _HUGE_PAGES.read_text().strip() if _HUGE_PAGES.exists() else None,
        "allocator": {name: os.environ[name] for name in ALLOCATOR_VARIABLES if name in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the package's checkout, with "+" if it has changes; None outside one."""
    folder = Path(__file__).parent
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--error-unmatch", "__init__.py"], cwd=folder, capture_output=True
        )
        if listed.returncode:
            return None  # installed somewhere inside another repository
        command = ["git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@contextmanager
def thread_count(n: int) -> Iterator[None]:
    """Let calls use n threads, and restore the number afterwards."""
    before = rnnfast.get_num_threads()
    rnnfast.set_num_threads(n)
    try:
        yield
    finally:
        rnnfast.set_num_threads(before)


@dataclass(frozen=True)
class Peaks:
    """Measured limits of the machine for one dtype and number of threads.

    Attributes:
        flops: Operations per second of multiply-adds in registers.
        bandwidth: Pairs of the size of a working set in bytes, ascending, and the bytes per second
            of reads from it.
    """

    flops: float
    bandwidth: tuple[tuple[int, float], ...]

    def bandwidth_for(self, size: int) -> float:
        """Return the bandwidth for the smallest probed working set that holds `size` bytes."""
        sizes = [probed for probed, _ in self.bandwidth]
        return self.bandwidth[min(bisect_left(sizes, size), len(sizes) - 1)][1]

    def floor(self, case: Case) -> float:
        """Return the least seconds that the operations and memory traffic of a case can take."""
        moved = case.least_bytes
        return max(case.flops / self.flops, moved / self.bandwidth_for(moved))


def probe(dtype: str, threads: int, sizes: Iterable[int] = _WORKING_SETS) -> Peaks:
    """Measure the limits with the kernels' instruction set, which takes about a second."""
    with thread_count(threads):
        return Peaks(
            _core._peak_flops(dtype, _PROBE_SECONDS),
            tuple((size, _core._bandwidth(size, _PROBE_SECONDS)) for size in sizes),
        )
