"""Compile cells' kernels at first use for the emulator, as NVRTC does on a GPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
from functools import cache
from pathlib import Path

from build import BUILD, build
from engine import OPTIONS, PTX_OPTIONS, translated

from rnnfast.cuda._kernels import Kernels

SANITIZERS = {"libtsan": "thread", "libasan": "address"}
ARCHITECTURE = 90  # the device "emulated_ptx" runs its PTX


def compile_with_gcc(device: str, kernels: Kernels) -> list[int]:
    """Compile the kernels and return the addresses of their functions, which stay loaded."""
    return _addresses(device, kernels.text, tuple(kernels.functions))


@cache
def _addresses(device: str, text: str, functions: tuple[str, ...]) -> list[int]:
    table = ", ".join(f"reinterpret_cast<const void*>(&{name})" for name in functions)
    text += 'extern "C" __attribute__((visibility("default"))) '
    text += f"const void* const functions[] = {{{table}}};\n"
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    sources, options, defines = [_written(f"{name}.cu", text)], OPTIONS, ["EMULATOR_SHARED"]
    if device == "emulated_ptx":
        sources.append(translated(sources[0], ARCHITECTURE))
        options, defines = [*OPTIONS, *PTX_OPTIONS], [*defines, "RNNFAST_EMULATED_PTX"]
    loaded = os.environ.get("LD_PRELOAD", "")
    library = build(
        f"first_use/{name}",
        sources,
        sanitizer=next((s for library, s in SANITIZERS.items() if library in loaded), None),
        defines=defines,
        flags=options,
        libraries=["-ldl"],
        output="kernels.so",
    )
    found = (ctypes.c_void_p * len(functions)).in_dll(ctypes.CDLL(str(library)), "functions")
    return [int(address or 0) for address in found]


def _written(name: str, text: str) -> Path:
    """Write the text to a file and return its path."""
    path = BUILD / "first_use" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(path)
    return path
