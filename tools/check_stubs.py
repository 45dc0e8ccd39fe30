"""Compares python/rnnfast/_core.pyi with the stubs of the installed extension.

    python tools/check_stubs.py [--write]

Prints the difference and exits with 1 if there is one; --write puts the new stubs in place.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

STUBS = Path(__file__).resolve().parents[1] / "python" / "rnnfast" / "_core.pyi"


def generate() -> str:
    """The stubs that pybind11-stubgen makes of the installed rnnfast._core, formatted."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "pybind11_stubgen", "rnnfast._core", "--output-dir", folder, "--exit-code"]
        subprocess.run([sys.executable, *command], check=True)
        stubs = Path(folder, "rnnfast", "_core.pyi")
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(stubs)], check=True)
        return stubs.read_text(encoding="utf-8")


def main(*, write: bool) -> int:
    """Runs the check, or writes the stubs."""
    new = generate()
    if write:
        STUBS.write_text(new, encoding="utf-8")
        return 0
    old = STUBS.read_text(encoding="utf-8") if STUBS.exists() else ""
    difference = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), str(STUBS), "generated"
    )
    sys.stdout.writelines(difference)
    return 0 if old == new else 1


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--write"]):
        sys.exit("usage: check_stubs.py [--write]")
    sys.exit(main(write=bool(sys.argv[1:])))
