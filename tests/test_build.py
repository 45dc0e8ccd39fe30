"""How the build chooses what to build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DRIVER = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"))


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not on PATH")
def test_without_an_nvidia_driver_nobody_waits_for_the_cuda_engine(tmp_path: Path) -> None:
    pybind11 = pytest.importorskip("pybind11")
    if any(path.exists() for path in DRIVER):
        pytest.skip("there is an NVIDIA driver")
    options = [
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    ]
    command = ["cmake", "-S", ROOT, "-B", tmp_path, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no NVIDIA driver found, so the CUDA engine is left out" in done.stdout
    assert "RNNFAST_CUDA=ON builds it" in done.stdout
    assert not (tmp_path / "src/cuda/CMakeFiles/_cuda.dir").exists()
