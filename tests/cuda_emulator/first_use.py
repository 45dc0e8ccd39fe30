"""Compiles the kernels of cells at their first use, for the emulator: what NVRTC does on a GPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
from functools import cache

from build import BUILD, build
from engine import OPTIONS

from rnnfast.cuda._emulated import EmulatedEngine
from rnnfast.cuda._kernels import Kernels

_SANITIZERS = {"libtsan": "thread", "libasan": "address"}


def compile_with_gcc(_device: str, kernels: Kernels) -> list[int]:
    """The addresses of the kernels' functions."""
    return _addresses(kernels.text, tuple(kernels.functions))


@cache
def _addresses(text: str, functions: tuple[str, ...]) -> list[int]:
    table = ", ".join(f"reinterpret_cast<const void*>(&{name})" for name in functions)
    text += 'extern "C" __attribute__((visibility("default"))) '
    text += f"const void* const functions[] = {{{table}}};\n"
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = BUILD / "first_use"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.cpp"
    if not source.exists():
        fresh = source.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(source)
    loaded = os.environ.get("LD_PRELOAD", "")
    sanitizer = next((s for library, s in _SANITIZERS.items() if library in loaded), None)
    library = ctypes.CDLL(
        str(
            build(
                f"first_use/{name}",
                [source],
                sanitizer=sanitizer,
                flags=OPTIONS,
                output="kernels.so",
            )
        )
    )
    return list((ctypes.c_void_p * len(functions)).in_dll(library, "functions"))


EmulatedEngine.compiler = staticmethod(compile_with_gcc)
