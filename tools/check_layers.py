"""Check the directions of dependencies in C++ and in Python.

    bindings -> rnn -> {cpu, cuda} -> cells -> core

cpu and cuda never include each other. src/cuda/bindings belongs to the bindings. A kernel file must
not reach a standard header, even indirectly, because a std template compiled for one instruction
set could be linked into another's code. Only the files listed in CUDA_ALONE may include CUDA's
headers and the emulator.

A Python module may import modules of its own folder and of folders on lower FLOORS, whether the
import is at the top, in a function or for types. Imports must not form a circle, and the reference
imports NumPy alone. The script prints each offence and exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPP = ROOT / "src" / "cpp"
PACKAGE = ROOT / "python" / "rnnfast"
REFERENCE = PACKAGE / "reference"
RANK = {"core": 0, "cells": 1, "cpu": 2, "cuda": 2, "rnn": 3, "bindings": 4}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
CUDA_ALONE = {"src/cuda/device.cuh"}  # may include CUDA's headers and the emulator
CUDA_HEADER = re.compile(r"^(cuda|cublas|cooperative_groups|emulator)[^/]*$")
# Folders and modules of the package, from the bottom up; those of a floor never import each other.
FLOORS = (
    {"_core", "_version", "_files", "reference"},
    {"cells", "traced"},
    {"_engine"},
    {"autograd"},
    {"cuda", "functional"},
    {"layers"},
    {"data", "decoding", "init", "losses", "optim"},
    {"jax", "serving", "torch", "training"},
    {"inspection", "onnx", "sklearn"},
    {"exchange"},
    {"keras"},
    {"__init__"},
    {"benchmark"},
    {"cli"},
    {"__main__"},
)
# Pairs of a module and what it imports for types alone, in a circle that is allowed: the trainer
# imports its observers and the code that saves it, an inspection the code that draws it, and these
# need the type.
CIRCLES_OF_TYPES = {
    (f"training.{name}", "training.trainer")
    for name in ("best", "callbacks", "csv_log", "early_stopping", "run_log", "run_state")
} | {(f"inspection.{name}", "inspection.result") for name in ("notebook", "packing", "report")}
INTRINSICS = {"arm_neon.h", "immintrin.h"}  # the compiler's own headers, which define no symbols


def includes(path: Path) -> list[tuple[str, str]]:
    """Return (kind, name) of each include line, where kind is '<' or '"'."""
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def wrong_directions(path: Path, layer: str) -> Iterator[str]:
    """Yield the includes of `path`, a file of `layer`, that do not point down."""
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
    """Yield the standard headers that a kernel file reaches."""
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
    """Yield a reference file's imports of anything but the standard library, NumPy and itself."""
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
                yield f"imports {module}, but the reference may import only NumPy"


def python_modules() -> dict[str, Path]:
    """Return the files of the package by names such as `layers.dense` and `layers.__init__`."""
    files = [path for path in sorted(PACKAGE.glob("**/*.py*")) if path.suffix in {".py", ".pyi"}]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def imported_modules(module: str, modules: dict[str, Path]) -> set[str]:
    """Return the modules of the package that a module imports anywhere in its code."""
    tree = ast.parse(modules[module].read_text(encoding="utf-8"))
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    for_types = [n for n in blocks if ast.unparse(n.test) == "TYPE_CHECKING"]
    only_types = {inner for block in for_types for n in block.body for inner in ast.walk(n)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            target = module_of(name, modules)
            exempt = node in only_types and (module, target) in CIRCLES_OF_TYPES
            if target is not None and not exempt:
                found.add(target)
    return found


def module_of(name: str, modules: dict[str, Path]) -> str | None:
    """Return the module that provides a name such as `rnnfast.layers.dense.Linear`."""
    package, *parts = name.split(".")
    if package != "rnnfast":
        return None
    while parts:
        for module in (".".join(parts), ".".join([*parts, "__init__"])):
            if module in modules:
                return module
        parts.pop()
    return "__init__"


def upward_imports(imported: dict[str, set[str]]) -> Iterator[str]:
    """Yield the imports that do not point down."""
    floor_of = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders}
    for module, targets in imported.items():
        folder = module.split(".")[0]
        if folder not in floor_of:
            yield f"{module}: {folder} has no place in FLOORS"
            continue
        for target in sorted(targets):
            other = target.split(".")[0]
            if other != folder and floor_of.get(other, 0) >= floor_of[folder]:
                yield f"{module} imports {target}: {folder} may not import {other}"


def circles(imported: dict[str, set[str]]) -> Iterator[str]:
    """Yield a circle of imports, if there is one."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        yield f"a circle of imports: {' -> '.join(reversed(error.args[1]))}"


def offences() -> Iterator[str]:
    """Yield every offence in the tree as 'file: what'."""
    files = [path for path in sorted(ROOT.glob("src/**/*")) if path.suffix in SOURCES]
    for path in files:
        folders = path.relative_to(CPP if CPP in path.parents else CPP.parent).parts[:-1]
        layer = "bindings" if "bindings" in folders else folders[0]
        for offence in wrong_directions(path, layer):
            yield f"{path.relative_to(ROOT)}: {offence}"
        if path.name.endswith("_kernels.cpp"):
            for offence in standard_headers(path):
                yield f"{path.relative_to(ROOT)}: {offence}"
    modules = python_modules()
    imported = {module: imported_modules(module, modules) for module in modules}
    yield from upward_imports(imported)
    yield from circles(imported)
    for path in sorted(REFERENCE.glob("**/*.py")):
        for offence in foreign_imports(path):
            yield f"{path.relative_to(ROOT)}: {offence}"


def main() -> int:
    """Run the check, print each offence, and return 1 if there is one."""
    found = list(offences())
    for offence in found:
        print(offence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
