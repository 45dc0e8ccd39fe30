"""Compile the whole CUDA engine for the emulator, with sanitizers or from a changed copy."""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11
from build import BUILD, EMULATOR, ROOT, build
from ptx.nvcc import available, from_cuda

# Two cells whose kernels cover all paths: one has one product per step, the other two.
FEW_CELLS = {"lstm": "Lstm", "mut3": "Mut3"}
# Compiler options for the engine, and for what is compiled at first use.
OPTIONS = ["-g1", "-Wno-unknown-pragmas"]
PTX_OPTIONS = [
    "-ffp-contract=off",  # nvcc has already decided which two operations share a rounding
    "-fvisibility=default",  # launches find translations by the kernels' names
    # Registers are variables of a whole function; tracking their scopes would take g++ minutes.
    "-fno-sanitize-address-use-after-scope",
]


def all_cells() -> list[str]:
    """Return the types of the registry."""
    registry = (ROOT / "src/cpp/cells/registry.h").read_text()
    found = re.search(r"using Cells = TypeList<(.*?)>;", registry, flags=re.DOTALL)
    assert found is not None
    return [name.strip() for name in found[1].split(",")]


def build_engine(
    name: str = "engine",
    *,
    sanitizer: str | None = None,
    source_root: Path = ROOT / "src",
    architecture: int | None = None,
    cells: Iterable[str] | None = None,
    flags: list[str] | None = None,
) -> Path:
    """Build an extension module and return its path, for the variable RNNFAST_EMULATED.

    Args:
        name: Folder below build/emulator.
        sanitizer: None, "thread" or "address".
        source_root: The library's sources, or a copy of them.
        architecture: An architecture such as 90, to run nvcc's PTX for it instead of the kernels'
            source. The variable is then RNNFAST_EMULATED_PTX.
        cells: The types of the cells whose kernels are compiled with it; None for the library's
            choice.
        flags: Further compiler options.
    """
    module = "_emulated" if architecture is None else "_emulated_ptx"
    folder = source_root / "cuda"
    kernels = sorted(folder.glob("*.cu"))
    sources = [*kernels, *sorted(folder.glob("*.cpp")), *sorted(folder.glob("bindings/*.cpp"))]
    sources.append(EMULATOR / "bindings.cpp")
    defines = [f"RNNFAST_CUDA_MODULE={module}", "RNNFAST_EMULATED", "EMULATOR_SHARED"]
    if cells is not None:
        defines.append(f"RNNFAST_CUDA_CELLS={','.join(cells)}")
    options = [*OPTIONS, *(flags or ())]
    if architecture is not None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            sources += pool.map(
                lambda k: translated(k, architecture, source_root, defines), kernels
            )
        defines.append("RNNFAST_EMULATED_PTX")
        options += PTX_OPTIONS
    return build(
        name,
        sources,
        sanitizer=sanitizer,
        defines=defines,
        includes=[Path(pybind11.get_include()), Path(sysconfig.get_path("include"))],
        flags=options,
        libraries=["-ldl"],
        output=f"{module}.so",
        source_root=source_root,
    )


def translated(
    kernel: Path, architecture: int, source_root: Path = ROOT / "src", defines: Iterable[str] = ()
) -> Path:
    """Return the C++ of a kernel's PTX, which is reused as long as the sources are the same."""
    chosen = [define for define in defines if define.startswith("RNNFAST_CUDA_CELLS=")]
    read = sorted([*source_root.rglob("*.*"), *EMULATOR.glob("ptx/*.py"), kernel])
    parts = [*(path.read_bytes() for path in read), *(define.encode() for define in chosen)]
    content = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = BUILD / f"ptx{architecture}-{content}"
    made = folder / f"{kernel.stem}.sm_{architecture}.cpp"
    if made.exists():
        return made
    if not available():
        raise RuntimeError("nvcc is not on PATH")
    return from_cuda(kernel, architecture, folder, defines=chosen, source_root=source_root)
