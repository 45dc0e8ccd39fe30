"""The C++ printed for a traced cell does what its programs do: each stage, in float64."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnfast import traced
from rnnfast.cells import ZOO
from rnnfast.traced.header import Header, header
from traced_executor import run_program

ROOT = Path(__file__).resolve().parents[1]
CELLS = {name: compiled for name in ZOO if not (compiled := traced.compile(ZOO[name])).norms}

# The arrays of the forward and the backward pass, in the order of StepValues and StepGradients, by
# the names that programs use for them.
FORWARD = ("slot", "h", "param", "state", "next", "made")
BACKWARD = ("slot", "param", "state", "next", "dnext", "dmade")
BACKWARD += ("dslot", "dgate", "dx", "dstate", "dparam", "made")
SIZE = 64  # number of places in each array

NUMBERS = """
#include <cmath>
#include "cells/step.h"
struct Number { double v; Number() = default; explicit Number(double x) : v(x) {} };
using N = Number;
inline N operator+(N a, N b) { return N(a.v + b.v); }
inline N operator-(N a, N b) { return N(a.v - b.v); }
inline N operator*(N a, N b) { return N(a.v * b.v); }
inline N operator/(N a, N b) { return N(a.v / b.v); }
inline N operator-(N a) { return N(-a.v); }
inline N fma(N a, N b, N c) { return N(a.v * b.v + c.v); }
inline N fms(N a, N b, N c) { return N(a.v * b.v - c.v); }
inline N fnma(N a, N b, N c) { return N(c.v - a.v * b.v); }
inline N sigmoid(N a) { return N(0.5 * std::tanh(0.5 * a.v) + 0.5); }
inline N tanh(N a) { return N(std::tanh(a.v)); }
inline N relu(N a) { return N(a.v < 0 ? 0 : a.v); }
inline N exp(N a) { return N(std::exp(a.v)); }
inline N log(N a) { return N(std::log(a.v)); }
inline N sqrt(N a) { return N(std::sqrt(a.v)); }
inline N abs(N a) { return N(std::fabs(a.v)); }
inline N maximum(N a, N b) { return a.v >= b.v ? a : b; }
inline N minimum(N a, N b) { return a.v <= b.v ? a : b; }
inline N softplus(N a) { return relu(a) + N(std::log1p(std::exp(-std::fabs(a.v)))); }
inline N greater(N a, N b) { return N(a.v > b.v); }
inline N select(N c, N a, N b) { return c.v > 0 ? a : b; }
inline N dsigmoid(N y) { return y * (N(1) - y); }
inline N dtanh(N y) { return N(1) - y * y; }
inline N where_positive(N c, N a) { return c.v > 0 ? a : N(0); }

template <class Cell, int k = 0>
void run(int stage, bool backward, N** a) {
  if constexpr (k < Cell::info.size()) {
    if (stage != k) return run<Cell, k + 1>(stage, backward, a);
    if (backward)
      Cell::template backward<k>(rnnfast::StepGradients<N>{
          a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]});
    else
      Cell::template forward<k>(rnnfast::StepValues<N>{a[0], a[1], a[2], a[3], a[4], a[5]});
  }
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Compile all printed cells, with a function named after each."""
    folder = tmp_path_factory.mktemp("printed")
    printed: dict[str, Header] = {name: header(cell) for name, cell in CELLS.items()}
    text = NUMBERS + "".join({h.name: h.text for h in printed.values()}.values())
    for name, (type_name, _) in printed.items():
        text += (
            f'extern "C" void cell_{name}(int stage, bool backward, Number** arrays) '
            f"{{ run<rnnfast::{type_name}>(stage, backward, arrays); }}\n"
        )
    (folder / "printed.cpp").write_text(text)
    options = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command = ["g++", *options, f"-I{ROOT / 'src/cpp'}", "printed.cpp", "-o", "printed.so"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "printed.so"))


def programs(name: str) -> list[tuple[traced.Program, traced.Program]]:
    """Return the forward and backward programs of a cell's stages, starting with the opening."""
    cell = CELLS[name]
    opening = [] if cell.opening is None else [cell.opening]
    return [*opening, *((stage.forward, stage.backward) for stage in cell.stages)]


@pytest.mark.parametrize("name", CELLS)
def test_stages_do_what_programs_do(library: ctypes.CDLL, name: str) -> None:
    rng = np.random.default_rng(len(name))
    compared = 0
    for stage, both in enumerate(programs(name)):
        for backward, (program, kinds) in enumerate(zip(both, (FORWARD, BACKWARD), strict=True)):
            arrays: dict[str, NDArray[np.float64]] = {
                kind: 0.1 + np.abs(rng.standard_normal(SIZE)) for kind in kinds
            }
            places = {(k, i): np.array([v]) for k, a in arrays.items() for i, v in enumerate(a)}
            constants = {("constant", i): np.array(c) for i, c in enumerate(CELLS[name].constants)}
            places |= constants
            written = run_program(program, places, set(kinds))
            pointers = (ctypes.c_void_p * len(kinds))(*(arrays[k].ctypes.data for k in kinds))
            library[f"cell_{name}"](stage, bool(backward), pointers)
            for kind, i in written:
                np.testing.assert_allclose(
                    arrays[kind][i], places[kind, i][0], rtol=1e-12, atol=1e-12
                )
            compared += len(written)
    assert compared > 0


def test_cells_of_the_same_equations_are_one_type() -> None:
    printed = {name: header(cell).name for name, cell in CELLS.items()}
    assert printed["mgu"] != printed["gru"]
    assert header(traced.compile(ZOO["mgu"])) == header(CELLS["mgu"])


def test_norms_are_refused() -> None:
    with pytest.raises(traced.CellError, match="normalises over the units runs only on the CPU"):
        header(traced.compile(ZOO["layer_norm_lstm"]))
