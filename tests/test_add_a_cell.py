"""Follows "add a cell in three edits" of ARCHITECTURE.md in a copy of the source tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rnnfast

ROOT = Path(__file__).resolve().parents[1]

HEADER = """
#pragma once
// A vanilla network whose units leak, each at a rate p of its own.
//   n = tanh(x + W h)      h' = h + sigmoid(p) * (n - h)
#include "cells/cell.h"

namespace rnnfast {

struct Leaky {
  static constexpr CellInfo info{.name = "leaky", .states = 1, .gates = 1, .saved = 1, .params = 1};

  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V* p, const V* s, V* s_new,
                                     V* save) {
    save[0] = tanh(x[0] + h[0]);
    s_new[0] = s[0] + sigmoid(p[0]) * (save[0] - s[0]);
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V* save, const V* p, const V* s, const V*,
                                      const V* ds_new, V* dx, V* dh, V* dp, V* ds) {
    const V rate = sigmoid(p[0]);
    dx[0] = dh[0] = ds_new[0] * rate * dtanh(save[0]);
    dp[0] = ds_new[0] * (save[0] - s[0]) * dsigmoid(rate);
    ds[0] = ds_new[0] * (V(1) - rate);
  }
};

}  // namespace rnnfast
"""

REFERENCE = '''
"""A vanilla network whose units leak, each at a rate of its own."""

from rnnfast.reference.cell import ReferenceCell
from rnnfast.reference.tape import sigmoid, tanh


def step(x, recurrent, state, channel):
    """n = tanh(x + W h), h' = h + sigmoid(p) (n - h)."""
    (h,), (p,) = state, channel
    (product,) = recurrent(h)
    return (h + sigmoid(p) * (tanh(x[0] + product) - h),)


LEAKY = ReferenceCell("leaky", states=1, gates=1, step=step, params=1)
'''


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replaces the one place in a file that matches."""
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1, f"{path}: nothing matches {pattern}"
    path.write_text(text)


def add_the_cell(root: Path) -> None:
    (root / "src/cpp/cells/leaky.h").write_text(HEADER.lstrip())

    registry = root / "src/cpp/cells/registry.h"
    edit(registry, r"\n#include", '\n#include "cells/leaky.h"\n#include')
    edit(registry, r"TypeList<([^<>]*)>;", r"TypeList<\1, Leaky>;")

    reference = root / "python/rnnfast/reference"
    (reference / "leaky.py").write_text(REFERENCE.lstrip())
    edit(reference / "__init__.py", "import gru,", "import leaky, gru,")
    edit(reference / "__init__.py", r"( +)nas\.NAS,\n", r"\1nas.NAS,\n\1leaky.LEAKY,\n")


def build(root: Path, pybind11_dir: str) -> Path:
    """Builds the extension of the copy for the instruction set that runs here, and the emulator."""
    folder = root / "build"
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "RNNFAST_CUDA": "OFF",
        "RNNFAST_EMULATOR": "ON",
        "RNNFAST_ISAS": rnnfast.cpu_info()["isa"],
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11_dir,
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    subprocess.run(["cmake", "-S", root, "-B", folder, *defines], check=True, capture_output=True)
    command = ["cmake", "--build", folder, "--parallel", str(len(os.sched_getaffinity(0)))]
    command += ["--target", "_core", "_emulated"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (extension,) = folder.glob("_core*.so")
    shutil.copy(extension, root / "python/rnnfast")
    (emulator,) = folder.rglob("_emulated*.so")
    return emulator


@pytest.mark.slow
def test_three_edits_make_a_cell_that_every_test_covers(tmp_path: Path) -> None:
    pybind11 = pytest.importorskip("pybind11")
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    for name in ("src", "python", "tests", "docs", "tools"):
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("CMakeLists.txt", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    add_the_cell(tmp_path)
    # Only the new cell is tested below: the others would take minutes to compile.
    edit(
        tmp_path / "src/cpp/cells/registry.h", r"TypeList<[^<>]*, Leaky>;", "TypeList<Lstm, Leaky>;"
    )
    emulator = build(tmp_path, pybind11.get_cmake_dir())

    # Builds that the tests may have do not know the cell.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RNNFAST_EMULATED")}
    environment |= {"PYTHONPATH": str(tmp_path / "python"), "RNNFAST_EMULATED": str(emulator)}
    where = subprocess.run(
        [sys.executable, "-c", "import rnnfast; print(rnnfast.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(where.strip()).is_relative_to(tmp_path), "the installed package hides the copy"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-k", "leaky", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 50, done.stdout
    on_device = re.findall(r"test_every_kernel\w+\[\S*emulated\S* PASSED", done.stdout)
    assert len(on_device) == 10, on_device
