"""Turn a .cu file into C++ for the emulator, by way of nvcc's PTX."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .translate import translate

ROOT = Path(__file__).resolve().parents[3]


def available() -> bool:
    """Return whether nvcc is on PATH."""
    return shutil.which("nvcc") is not None


def from_cuda(
    source: Path,
    capability: int,
    folder: Path,
    *,
    defines: Iterable[str] = (),
    source_root: Path = ROOT / "src",
) -> Path:
    """Compile a .cu file to PTX and translate it.

    Args:
        source: The .cu file.
        capability: The device's compute capability, where 90 means sm_90.
        folder: Where to write the .ptx and the .cpp; it is created if necessary.
        defines: `NAME` or `NAME=VALUE`.
        source_root: The library's sources, or a copy of them.

    Returns:
        Path of the .cpp. Compile it with -ffp-contract=off, and the .cu beside it with
        RNNFAST_EMULATED_PTX.

    Raises:
        RuntimeError: If nvcc fails, with its messages.
        PtxError: If an instruction is not known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ptx = folder / f"{source.stem}.sm_{capability}.ptx"
    command = ["nvcc", "-ptx", f"-arch=sm_{capability}", "-std=c++20", "-O3", "-lineinfo"]
    command += ["--expt-relaxed-constexpr", f"-I{source_root}", f"-I{source_root / 'cpp'}"]
    command += ["-D" + define.replace(",", r"\,") for define in defines]  # nvcc splits at commas
    done = subprocess.run(
        [*command, str(source), "-o", str(ptx)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"nvcc failed for {source.name}:\n{done.stderr}")
    output = ptx.with_suffix(".cpp")
    fresh = output.with_suffix(".new")
    fresh.write_text(translate(ptx.read_text(), str(ptx)))
    return fresh.replace(output)
