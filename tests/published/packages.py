"""Installation of a published package into a folder of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package with trained weights.

    Attributes:
        name: Its name in the registry.
        version: The version that is compared.
        license: Its licence, and that of the weights if they have another one.
        needs: Pinned requirements that its own code needs for inference. They are installed without
            their dependencies, so that a package that is trained with a large framework runs
            without it. NumPy, SciPy, Pillow, PyTorch and onnxruntime are those of the environment
            of the tests.
        shared: Pinned requirements, installed in the same way, that are large and that several
            packages need. They have a folder of their own.
        debian: Names of Debian packages, which are unpacked into the folder instead of the package
            of pip.
    """

    name: str
    version: str
    license: str
    needs: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()


def install(package: Package, cache: Path) -> list[Path]:
    """Return the folders with a package and what it shares with others.

    They are installed unless `cache` has them already.

    Raises:
        RuntimeError: Something cannot be installed; the message is that of pip or apt.
    """
    wanted = () if package.debian else (f"{package.name}=={package.version}",)
    own = _installed(
        f"{package.name}-{package.version}", (*wanted, *package.needs), package.debian, cache
    )
    return [own, *([_installed("shared", package.shared, (), cache)] if package.shared else [])]


def _installed(name: str, pinned: tuple[str, ...], debian: tuple[str, ...], cache: Path) -> Path:
    digest = hashlib.sha256("\n".join((*debian, *pinned)).encode()).hexdigest()[:8]
    folder = cache / f"{name}-{digest}"
    if folder.exists():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if debian:
        _run(["apt-get", "update", "--quiet"], unfinished)
        _run(["apt-get", "download", *debian], unfinished)
        for archive in unfinished.glob("*.deb"):
            _run(["dpkg-deb", "-x", archive.name, "."], unfinished)
    if pinned:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        _run([*pip, "--no-build-isolation", "--target", ".", *pinned], unfinished)
    unfinished.rename(folder)
    return folder


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
