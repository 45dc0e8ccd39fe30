"""Add compiled cells with the three edits of ARCHITECTURE.md, in a copy of the source tree.

Two cells are added: one with a single stage and parameters, and one with a gate that both stages
use.
"""

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

# Tests of cells that are written in Python, which check more than the equations of each.
OF_PYTHON = (
    "test_zoo.py",
    "test_zoo_engine.py",
    "test_zoo_learns.py",
    "test_printed_cells.py",
    "test_traced.py",
    "test_traced_engine.py",
    "test_torch_cells.py",
    "cuda/test_first_use.py",
)

HEADERS = {
    "Leaky": """
#pragma once
// A vanilla network whose units leak, each at a rate p of its own.
//   n = tanh(x + W h)      h' = h + sigmoid(p) * (n - h)
#include "cells/cell.h"

namespace rnnfast {

struct Leaky {
  static constexpr CellInfo info{
      .name = "leaky",
      .gates = 1,
      .params = 1,
      .stages = {{.gates = {0, 1}, .products = {{state(0), {0, 1}}}, .saved = 1}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    const V n = e.save[0] = tanh(e.a[0]);
    e.next[0] = e.s[0] + sigmoid(e.p[0]) * (n - e.s[0]);
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    const V rate = sigmoid(e.p[0]), n = e.save[0], d = e.dnext[0];
    e.da[0] = d * rate * dtanh(n);
    e.dp[0] = d * (n - e.s[0]) * dsigmoid(rate);
    e.ds[0] = d * (V(1) - rate);
  }
};

}  // namespace rnnfast
""",
    "Mingu": """
#pragma once
// Minimal gated unit (Zhou et al. 2016), whose gate f is used before and after the second product.
//   f = sigmoid(x_f + W_f h)     n = tanh(x_n + W_n (f * h))     h' = h + f * (n - h)
#include "cells/cell.h"

namespace rnnfast {

struct Mingu {
  enum Gate { kF, kN };
  static constexpr CellInfo info{
      .name = "mingu",
      .gates = 2,
      .stages = {
          {.gates = {kF, 1}, .products = {{state(0), {kF, 1}}}, .values = 1, .saved = 1},
          {.gates = {kN, 1}, .products = {{value(0), {kN, 1}}}, .saved = 1, .sees = {kF, 1}}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    if constexpr (kStage == 0) {
      const V f = e.save[0] = sigmoid(e.a[0]);
      e.made[0] = f * e.s[0];
    } else {
      const V n = e.save[0] = tanh(e.a[0]);
      e.next[0] = e.s[0] + e.kept[kF] * (n - e.s[0]);
    }
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    if constexpr (kStage == 0) {
      const V f = e.save[0];
      e.made[0] = f * e.s[0];
      e.da[0] = (e.dmade[0] * e.s[0] + e.dsave[0]) * dsigmoid(f);
      e.ds[0] = e.ds[0] + e.dmade[0] * f;
    } else {
      const V f = e.kept[kF], n = e.save[0], d = e.dnext[0];
      e.da[0] = d * f * dtanh(n);
      e.dkept[kF] = d * (n - e.s[0]);
      e.ds[0] = d * (V(1) - f);
    }
  }
};

}  // namespace rnnfast
""",
}

REFERENCES = {
    "leaky": '''
"""A vanilla network whose units leak, each at a rate of its own."""

from rnnfast.reference.cell import Cell
from rnnfast.reference.tape import sigmoid, tanh


def step(x, recurrent, state, channel):
    """n = tanh(x + W h), h' = h + sigmoid(p) (n - h)."""
    (h,), (p,) = state, channel
    (product,) = recurrent(h)
    return (h + sigmoid(p) * (tanh(x[0] + product) - h),)


LEAKY = Cell("leaky", states=1, gates=1, step=step, params=1)
''',
    "mingu": '''
"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420)."""

from rnnfast.reference.cell import Cell
from rnnfast.reference.tape import sigmoid, tanh


def step(x, recurrent, state, _channel):
    """f = sigmoid(x + W h), n = tanh(x + W (f h)), h' = h + f (n - h)."""
    (h,) = state
    (h_f,) = recurrent(h, 0)
    f = sigmoid(x[0] + h_f)
    (h_n,) = recurrent(f * h, 1)
    return (h + f * (tanh(x[1] + h_n) - h),)


MINGU = Cell("mingu", states=1, gates=2, step=step)
''',
}


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replace the only place in a file that matches."""
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1, f"{path}: nothing matches {pattern}"
    path.write_text(text)


def add_the_cells(root: Path) -> None:
    registry = root / "src/cpp/cells/registry.h"
    reference = root / "python/rnnfast/reference"
    for struct, header in HEADERS.items():
        name = struct.lower()
        (root / f"src/cpp/cells/{name}.h").write_text(header.lstrip())
        edit(registry, r"\n#include", f'\n#include "cells/{name}.h"\n#include')
        edit(registry, r"TypeList<([^<>]*)>;", rf"TypeList<\1, {struct}>;")

        (reference / f"{name}.py").write_text(REFERENCES[name].lstrip())
        edit(reference / "__init__.py", r"reference import ", f"reference import {name}, ")
        edit(reference / "__init__.py", r"( +)\)\n}", rf"\1    {name}.{name.upper()},\n\1)\n}}")


def build(root: Path, pybind11_dir: str) -> Path:
    """Build the copy's extension for this machine's instruction set, and the emulator."""
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
def test_three_edits_make_cells_that_every_test_covers(tmp_path: Path) -> None:
    pybind11 = pytest.importorskip("pybind11")
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    for name in ("src", "python", "tests", "docs", "tools", "examples"):
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("CMakeLists.txt", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    add_the_cells(tmp_path)
    # Only the new cells are tested below, since compiling all others for the emulator would take
    # minutes. The cells named here are used by the tests of the new ones.
    names = ", ".join(HEADERS)
    edit(
        tmp_path / "src/cpp/cells/registry.h",
        rf"TypeList<[^<>]*, {names}>;",
        f"TypeList<RnnTanh, RnnRelu, Lstm, PeepholeLstm, Gru, {names}>;",
    )
    emulator = build(tmp_path, pybind11.get_cmake_dir())

    # Builds made for other tests do not know the new cells.
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
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-k",
            "leaky or mingu",
            "-p",
            "no:cacheprovider",
            *(f"--ignore=tests/{name}" for name in OF_PYTHON),
            "tests",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 100, done.stdout
    on_device = re.findall(r"test_every_kernel\w+\[\S*emulated\S* PASSED", done.stdout)
    assert len(on_device) == 20, on_device
