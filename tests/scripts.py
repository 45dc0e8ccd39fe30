"""Scripts of the tests that run in processes of their own, and libraries to preload there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def build_library(source: str, folder: Path) -> Path:
    """Compile a C++ file of the tests to a library in a folder, and return its path."""
    library = (folder / source).with_suffix(".so")
    command = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, HERE / source, "-o", library, "-ldl"], check=True)
    return library


def run(script: str, *arguments: object, preload: Path | None = None, **environment: str) -> str:
    """Run a script of the tests with more variables in its environment; return what it prints."""
    variables = {**os.environ, **environment}
    if preload:  # a sanitizer's library must stay the first
        variables["LD_PRELOAD"] = f"{variables.get('LD_PRELOAD', '')} {preload}".strip()
    done = subprocess.run(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        env=variables, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
