"""Compile sources for the emulator with g++, on demand.

    library = build("selftest", [ROOT / "tests/cuda_emulator/selftest.cu"], sanitizer="thread")
    subprocess.run([sys.executable, ...], env=environment("thread"))

Outputs go to build/emulator, by name and options. Each object records what it was made of (the
digests of all files that the compiler read), so that unchanged sources cost only milliseconds.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import functools
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "emulator"
EMULATOR = ROOT / "tests/cuda_emulator"

# The schedules that tests run kernels with: a Policy of emulator_scheduler.h by number, and a seed.
SCHEDULES = [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3)]

# Paths in reports are relative to the repository. Uninitialised locals get a pattern, as shared
# memory does. Device code puns types freely.
FLAGS = [
    "-std=c++20", "-g", "-fPIC", "-march=x86-64-v3", "-fno-strict-aliasing",
    "-ftrivial-auto-var-init=pattern", f"-ffile-prefix-map={ROOT}/=", "-fvisibility=hidden",
    "-Wall", "-Wextra", "-Werror",
]  # fmt: skip
# "address" also checks alignment and indices inside objects, which the emulator itself reports; see
# emulator_checks.h.
SANITIZERS = {
    None: ["-O2"],
    "thread": ["-O1", "-fno-omit-frame-pointer", "-fsanitize=thread"],
    "address": ["-O1", "-fno-omit-frame-pointer", "-fsanitize=address"],
}
CHECKS = {"address": ["-fsanitize=alignment,bounds", "-DEMULATOR_CHECKS"]}


def build(
    name: str,
    sources: Sequence[Path],
    *,
    sanitizer: str | None = None,
    defines: Iterable[str] = (),
    includes: Iterable[Path] = (),
    flags: Sequence[str] = (),
    libraries: Iterable[str] = (),
    output: str | None = None,
    source_root: Path = ROOT / "src",
) -> Path:
    """Compile and link the sources to a shared object, unless it is up to date.

    Args:
        name: Folder below build/emulator.
        sources: `.cu` and `.cpp` files, all of which g++ compiles as C++.
        sanitizer: None, "thread" or "address".
        defines: `NAME` or `NAME=VALUE`.
        includes: Further include directories.
        flags: Further options of the compiler and linker, after the usual ones.
        libraries: Options to put at the end of the linker's command.
        output: File name, by default `name.so`.
        source_root: The library's sources, or a copy of them.

    Returns:
        Path of the shared object.

    Raises:
        RuntimeError: If the compiler fails, with its messages.
    """
    options = [
        *FLAGS,
        *SANITIZERS[sanitizer],
        *CHECKS.get(sanitizer, ()),
        *(f"-D{define}" for define in defines),
        *(f"-I{path}" for path in [source_root, source_root / "cpp", EMULATOR, *includes]),
        *flags,
    ]
    identity = [_compiler_version(), options, [str(path) for path in sources], list(libraries)]
    folder = BUILD / name / _digest(json.dumps(identity).encode())[:16]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (output or f"{name}.so")
    with _locked(folder / "lock"):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            compile_one = functools.partial(_compile, options=options, folder=folder)
            objects = list(pool.map(compile_one, sources, range(len(sources))))
        made_of = {str(path): _digest_file(path) for path in objects}
        if _remembered(target) != made_of or not target.exists():
            link = ["-shared", *SANITIZERS[sanitizer], *flags, *map(str, objects), *libraries, "-o"]
            _run_compiler(link, target)
            _remember(target, made_of)
    return target


def environment(sanitizer: str | None, options: str = "") -> dict[str, str]:
    """Return the environment for a Python process that loads code built with that sanitizer.

    Python itself is not instrumented, so the sanitizer's runtime has to be loaded first. `options`
    are passed to the sanitizer as well.
    """
    result = dict(os.environ)
    if sanitizer is None:
        return result
    runtime = {"thread": "libtsan.so", "address": "libasan.so"}[sanitizer]
    result["LD_PRELOAD"] = f"{_library(runtime)} {_library('libstdc++.so')}"
    result["OPENBLAS_NUM_THREADS"] = "1"
    result["TSAN_OPTIONS"] = f"history_size=1 {options}"
    result["ASAN_OPTIONS"] = f"detect_leaks=0 {options}"
    return result


def _compile(source: Path, number: int, *, options: list[str], folder: Path) -> Path:
    target = folder / f"{number}-{source.stem}.o"
    read = _remembered(target)
    if read and target.exists() and all(_digest_file(Path(p)) == d for p, d in read.items()):
        return target
    dependencies = target.with_suffix(".d")
    command = [*options, "-c", "-x", "c++", str(source), "-MMD", "-MF", str(dependencies), "-o"]
    _run_compiler(command, target)
    text = dependencies.read_text().split(":", 1)[1].replace("\\\n", " ")
    _remember(target, {path: _digest_file(Path(path)) for path in text.split()})
    return target


def _run_compiler(command: list[str], target: Path) -> None:
    """Compile to a temporary name, because another process may be using the old file."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.new")
    done = subprocess.run(
        ["g++", *command, str(temporary)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"g++ failed for {target.name}:\n{done.stderr}")
    temporary.replace(target)


def _remember(target: Path, made_of: dict[str, str]) -> None:
    target.with_name(f"{target.name}.json").write_text(json.dumps(made_of))


def _remembered(target: Path) -> dict[str, str] | None:
    path = target.with_name(f"{target.name}.json")
    return json.loads(path.read_text()) if path.exists() else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_file(path: Path) -> str:
    return _digest(path.read_bytes()) if path.exists() else ""


@functools.cache
def _compiler_version() -> str:
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout


@functools.cache
def _library(name: str) -> str:
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, so that test workers that need the same build wait for the first to make it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
