"""Compiles the whole CUDA engine for the emulator: with sanitizers, or from a changed copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
from build import BUILD, EMULATOR, ROOT, build


def build_engine(
    name: str = "engine",
    *,
    sanitizer: str | None = None,
    source_root: Path = ROOT / "src",
    architecture: int | None = None,
    flags: list[str] | None = None,
) -> Path:
    """The path of an extension module, for the environment variable RNNFAST_EMULATED.

    Args:
        name: Folder below build/emulator.
        sanitizer: None, "thread" or "address".
        source_root: The library's sources, or a copy of them.
        architecture: Run what nvcc makes of the kernels for it, as 90, in place of their source;
            the variable then is RNNFAST_EMULATED_PTX.
        flags: Further options of the compiler.
    """
    module = "_emulated" if architecture is None else "_emulated_ptx"
    folder = source_root / "cuda"
    kernels = sorted(folder.glob("*.cu"))
    sources = [*kernels, *sorted(folder.glob("*.cpp")), *sorted(folder.glob("bindings/*.cpp"))]
    sources.append(EMULATOR / "bindings.cpp")
    defines = [f"RNNFAST_CUDA_MODULE={module}", "RNNFAST_EMULATED"]
    options = ["-g1", "-Wno-unknown-pragmas", *(flags or ())]
    if architecture is not None:
        sources += [translated(kernel, architecture, source_root) for kernel in kernels]
        defines.append("RNNFAST_EMULATED_PTX")
        options.append("-fvisibility=default")  # launches find translations by the kernels' names
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


def translated(kernel: Path, architecture: int, source_root: Path) -> Path:
    """The C++ of a kernel's PTX, made anew where that is older than any source."""
    if shutil.which("nvcc") is None:
        raise RuntimeError("nvcc is not on PATH")
    folder = BUILD / f"ptx{architecture}"
    folder.mkdir(parents=True, exist_ok=True)
    ptx, target = folder / f"{kernel.stem}.ptx", folder / f"{kernel.stem}_ptx.cpp"
    read = [*source_root.rglob("*.*"), *EMULATOR.rglob("*.py")]
    newest = max(path.stat().st_mtime for path in read)
    if target.exists() and target.stat().st_mtime > newest:
        return target
    nvcc = ["nvcc", "-ptx", f"-arch=sm_{architecture}", "-std=c++20", "-lineinfo"]
    nvcc += ["--expt-relaxed-constexpr", f"-I{source_root}", f"-I{source_root / 'cpp'}"]
    subprocess.run([*nvcc, str(kernel), "-o", str(ptx)], check=True)
    translate = [sys.executable, "-m", "ptx", str(ptx), str(target)]
    subprocess.run(translate, check=True, cwd=EMULATOR)
    return target
