"""Compilation of kernels at their first use with NVRTC, through CuPy, and a cache of them on disk.

The cache is a folder with one file for each source. The environment variable `RNNFAST_CACHE` names
the folder; the default is `rnnfast` in the platform's cache folder. Files may be deleted at any
time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rnnfast import _files
from rnnfast._version import __version__
from rnnfast.cuda._kernels import Kernels

_OPTIONS = ("-std=c++20", "-default-device")
_DIGEST = 64  # length of the digest at the start of a file


class Image(NamedTuple):
    """Compiled kernels.

    Attributes:
        code: The code for devices of one compute capability.
        functions: The mangled names of the kernels, in the order of `Kernels.functions`.
    """

    code: bytes
    functions: list[str]


def image(kernels: Kernels, capability: int) -> Image:
    """Return compiled kernels for a compute capability such as 90, from the cache if possible.

    Raises:
        RuntimeError: NVRTC cannot compile the source; the text contains its messages.
    """
    path = cache_folder() / f"{_key(kernels, capability)}.kernels"
    found = _read(path)
    if found is None:
        found = compiled(kernels, capability)
        _write(path, found)
    return found


def compiled(kernels: Kernels, capability: int) -> Image:
    """Compile kernels with NVRTC, without the cache."""
    nvrtc = _nvrtc()
    program = nvrtc.createProgram(kernels.text, "kernels.cu", (), ())
    try:
        for name in kernels.functions:
            nvrtc.addNameExpression(program, name)
        try:
            nvrtc.compileProgram(program, _options(capability))
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise RuntimeError(f"NVRTC cannot compile {kernels.functions[0]}:\n{log}") from error
        names = [nvrtc.getLoweredName(program, name) for name in kernels.functions]
        return Image(bytes(nvrtc.getCUBIN(program)), names)
    finally:
        nvrtc.destroyProgram(program)


def cache_folder() -> Path:
    """Return the folder of the cache."""
    chosen = os.environ.get("RNNFAST_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rnnfast"


@cache
def include_folders() -> tuple[Path, ...]:
    """Return the folders of the headers: in the package or, without them, in the source tree."""
    package = Path(__file__).with_name("include")
    if package.is_dir():
        return (package,)
    source = Path(__file__).parents[3] / "src"
    return (source, source / "cpp")


def _nvrtc() -> Any:
    from cupy_backends.cuda.libs import nvrtc

    return nvrtc


def _options(capability: int) -> tuple[str, ...]:
    folders = (f"-I{folder}" for folder in include_folders())
    return (f"-arch=sm_{capability}", *_OPTIONS, *folders)


@cache
def _headers_digest() -> str:
    """Return a digest of all headers that a source may include."""
    total = hashlib.sha256()
    for folder in include_folders():
        for part in ("cuda", "cells", "core"):
            for path in sorted((folder / part).glob("*.*h")):
                total.update(f"{part}/{path.name}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()


def _key(kernels: Kernels, capability: int) -> str:
    version = (__version__, *_nvrtc().getVersion())
    parts = [*kernels, capability, _OPTIONS, _headers_digest(), version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _read(path: Path) -> Image | None:
    """Return the image that `_write` wrote; None if the file is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, rest = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    names, _, code = rest.partition(b"\n")
    return Image(code, json.loads(names))


def _write(path: Path, made: Image) -> None:
    """Write an image to the cache. If this fails, the next process compiles it again."""
    data = json.dumps(made.functions).encode() + b"\n" + made.code
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _files.replace(path, hashlib.sha256(data).hexdigest().encode() + data)
    except OSError:
        return
