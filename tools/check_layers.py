"""Checks the directions of dependencies, in C++ and in the Python reference.

    bindings -> rnn -> {cpu, cuda} -> cells -> core

cpu and cuda never include each other; what a kernel file reaches includes no standard header (a
std template compiled for one instruction set could be linked into another's code); CUDA's headers
and the emulator are seen by the files that name them in CUDA_ALONE; the reference imports NumPy
alone. Prints each offence; exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPP = ROOT / "src" / "cpp"
REFERENCE = ROOT / "python" / "rnnfast" / "reference"
RANK = {"core": 0, "cells": 1, "cpu": 2, "cuda": 2, "rnn": 3, "bindings": 4}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
CUDA_ALONE = {"src/cuda/device.cuh"}  # may include CUDA's headers and the emulator
CUDA_HEADER = re.compile(r"^(cuda|cublas|cooperative_groups|emulator)[^/]*$")
INTRINSICS = {"arm_neon.h", "immintrin.h"}  # the compiler's own; they leave no symbols behind


def includes(path: Path) -> list[tuple[str, str]]:
    """(kind, name) of each include line: kind is '<' or '"'."""
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def wrong_directions(path: Path, layer: str) -> Iterator[str]:
    """Includes of `path`, a file of `layer`, that do not point down."""
    for kind, name in includes(path):
        if CUDA_HEADER.match(name):
            if path.relative_to(ROOT).as_posix() not in CUDA_ALONE:
                yield f"{name}: only {', '.join(CUDA_ALONE)} may include it"
            continue
        if kind == "<":
            continue
        target = name.split("/")[0]
        if target not in RANK:
            yield f'"{name}" does not name its layer (one of {", ".join(RANK)})'
        elif target != layer and RANK[target] >= RANK[layer]:
            yield f'"{name}": {layer} may not include {target}'


def standard_headers(kernel: Path) -> Iterator[str]:
    """Standard headers that a kernel file reaches."""
    seen, todo = {kernel}, [kernel]
    while todo:
        path = todo.pop()
        for kind, name in includes(path):
            if name in INTRINSICS:
                continue
            if kind == "<":
                yield f"reaches <{name}> through {path.relative_to(ROOT)}"
            elif (CPP / name) not in seen:
                seen.add(CPP / name)
                todo.append(CPP / name)


def foreign_imports(path: Path) -> Iterator[str]:
    """Imports of a reference file that are neither standard, NumPy, nor of the reference."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        else:
            continue
        for module in modules:
            inside = module.startswith("rnnfast.reference") or re.match(r"\.[^.]*$", module)
            if not inside and module.split(".")[0] not in {"numpy", *sys.stdlib_module_names}:
                yield f"imports {module}: the reference imports NumPy alone"


def offences() -> Iterator[str]:
    """Every offence in the tree, as 'file: what'."""
    files = [path for path in sorted(ROOT.glob("src/**/*")) if path.suffix in SOURCES]
    for path in files:
        layer = path.relative_to(CPP if CPP in path.parents else CPP.parent).parts[0]
        for offence in wrong_directions(path, layer):
            yield f"{path.relative_to(ROOT)}: {offence}"
        if path.name.endswith("_kernels.cpp"):
            for offence in standard_headers(path):
                yield f"{path.relative_to(ROOT)}: {offence}"
    for path in sorted(REFERENCE.glob("**/*.py")):
        for offence in foreign_imports(path):
            yield f"{path.relative_to(ROOT)}: {offence}"


def main() -> int:
    """Runs the check."""
    found = list(offences())
    for offence in found:
        print(offence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
