"""Compare the errors of rnnfast, PyTorch and onnxruntime with exact values.

    python benchmarks/accuracy.py functions [--stride N]
    python benchmarks/accuracy.py cells [--shape T,B,I,H]

`functions` runs exp, sigmoid, tanh, log, softplus and erf over every float32 for which rnnfast
states a bound (src/cpp/cpu/math.h), and prints the worst error of each library in units in the last
place, with its argument. That takes half an hour; a stride tries one number in N. `cells`
prints the largest errors of the outputs and gradients of one layer, against `rnnfast.reference` in
float64 with the same float32 data, as multiples of the machine epsilon of float32 times the
largest value of the array.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy import special

import rnnfast
from rnnfast import _core
from rnnfast.benchmark import Case, Shape, UnavailableError, make_data
from rnnfast.benchmark.case import Data
from rnnfast.benchmark.contestants import contestant
from rnnfast.functional import Weights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Function = Callable[[Floats], Floats]

CHUNK = 1 << 24
EPSILON = float(np.finfo(np.float32).eps)
EXP_LIMIT = 88  # above it, rnnfast's exp is infinite
TINY = float(np.finfo(np.float32).tiny)
CELLS = [rnnfast.RNN(1, 1).cell, rnnfast.LSTM(1, 1).cell, rnnfast.GRU(1, 1).cell]

EXACT: dict[str, Callable[[Doubles], Doubles]] = {
    "exp": np.exp,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "log": np.log,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "erf": special.erf,
}


def of_torch(name: str) -> Function:
    """Return PyTorch's function."""
    function = torch.nn.functional.softplus if name == "softplus" else getattr(torch, name)
    return lambda x: function(torch.from_numpy(x)).numpy()


def of_onnxruntime(name: str) -> Function:
    """Return onnxruntime's operator as a function."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(name.capitalize(), ["x"], ["y"])],
        name,
        [info("x", TensorProto.FLOAT, [None])],
        [info("y", TensorProto.FLOAT, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(["y"], {"x": x})[0]


def every_float(stride: int) -> Iterator[Floats]:
    """Yield all finite float32 numbers, or one in `stride`, in arrays of equal size."""
    for start in range(0, 1 << 32, CHUNK * stride):
        bits = np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, dtype=np.uint32)
        x = bits.view(np.float32)
        yield x[np.isfinite(x)]


def stated(name: str, x: Floats, exact: Doubles) -> NDArray[np.bool_]:
    """Return for which arguments rnnfast states a bound."""
    if name == "log":
        return x >= TINY
    if name in ("tanh", "erf"):
        return x != 0
    return (exact >= TINY) & ((name != "exp") | (x <= EXP_LIMIT))


def worst_errors(name: str, stride: int) -> dict[str, tuple[float, float]]:
    """Return the worst error of each library in units in the last place, and its argument."""
    libraries: dict[str, Function] = {
        "rnnfast": lambda x: _core._math(name, x),
        "torch": of_torch(name),
        "onnxruntime": of_onnxruntime(name),
    }
    worst = dict.fromkeys(libraries, (0.0, 0.0))
    for x in every_float(stride):
        with np.errstate(all="ignore"):
            exact = EXACT[name](x.astype(np.float64))
            kept = stated(name, x, exact)
            x, exact = x[kept], exact[kept]
            unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        if not len(x):
            continue
        for library, function in libraries.items():
            error = np.abs(function(x) - exact) / unit
            at = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
            worst[library] = max(worst[library], (float(error[at]), float(x[at])))
    return worst


def functions(stride: int) -> None:
    """Print a line for each function."""
    for name in EXACT:
        errors = worst_errors(name, stride)
        parts = (f"{lib} {error:.3g} at {x:.9g}" for lib, (error, x) in errors.items())
        print(f"{name:9}", ", ".join(parts), flush=True)


def widened(data: Data) -> Data:
    """Return the same numbers in float64."""
    weights = (w if w is None else w.astype(np.float64) for w in data.weights)
    return Data(data.x.astype(np.float64), Weights(*weights), data.dy.astype(np.float64))


def cells(shape: Shape) -> None:
    """Print a line for each cell, library and array."""
    for cell in CELLS:
        for mode in ("inference", "training"):
            case = Case(cell, shape, mode)
            data = make_data(case)
            make, named = contestant("numpy", replace(case, dtype="float64"), widened(data))
            exact = named(make())
            for library in ("rnnfast", "torch", "onnxruntime"):
                try:
                    call, convert = contestant(library, case, data)
                except UnavailableError:
                    continue
                got = convert(call())
                parts = (
                    f"{name} {np.abs(got[name] - value).max() / np.abs(value).max() / EPSILON:.1f}"
                    for name, value in exact.items()
                    if name in got
                )
                print(f"{cell:9} {mode:9} {library:11}", ", ".join(parts), flush=True)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=["functions", "cells"])
    parser.add_argument("--stride", type=int, default=1, help="try one float32 in so many")
    parser.add_argument("--shape", type=Shape.parse, default=Shape(100, 32, 128, 256))
    options = parser.parse_args()
    if options.table == "functions":
        functions(options.stride)
    else:
        cells(options.shape)


if __name__ == "__main__":
    main()
