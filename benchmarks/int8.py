"""Compare layers of 8-bit integers: rnnfast's, onnxruntime's and PyTorch's, and those of float32.

    python benchmarks/int8.py [--cell LSTM GRU] [--hidden 512 1024] [--shape 1,1 100,1 ...] [...]

onnxruntime runs the model that its `quantize_dynamic` makes of the exported layer (it leaves a GRU
in float32), PyTorch what `torch.ao.quantization.quantize_dynamic` makes of its own. Shape 1,1 is a
step that carries its state to the next: a stream of rnnfast, a call of the others. Outputs over 100
steps are compared with those of float32 first. Contestants take turns; times are lower quartiles.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

import rnnfast

MOST_ERROR = 0.02  # of the outputs, in the root of the mean square
STEPS = 100  # of the comparison
Run = Callable[[NDArray], NDArray]


def ours(cell: str, hidden: int, precision: str, stream: bool) -> Run:
    """Return a function that runs a layer of rnnfast over x (T, B, H)."""
    layer = new_layer(cell, hidden)
    layer.precision = precision
    if not stream:
        return lambda x: layer(x)[0]
    step = layer.stream()
    return lambda x: step(x[0])[None]


def new_layer(cell: str, hidden: int) -> Any:
    """Return the layer that all contestants run."""
    return getattr(rnnfast, cell)(hidden, hidden, seed=0).eval()


def of_onnxruntime(cell: str, hidden: int, quantized: bool, threads: int, stream: bool) -> Run:
    """Return the same for onnxruntime."""
    with tempfile.TemporaryDirectory() as folder:
        file, other = Path(folder, "layer.onnx"), Path(folder, "quantized.onnx")
        rnnfast.onnx.export(new_layer(cell, hidden), file)
        if quantized:
            quantize_dynamic(file, other, weight_type=QuantType.QInt8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            other if quantized else file, options, providers=["CPUExecutionProvider"]
        )
    x_name, *names = [value.name for value in session.get_inputs()]
    kept: dict[str, list[NDArray]] = {}

    def run(x: NDArray) -> NDArray:
        zeros = [np.zeros((1, x.shape[1], hidden), np.float32) for _ in names]
        state = kept.get("state", zeros) if stream else zeros
        y, *final = session.run(None, {x_name: x, **dict(zip(names, state, strict=True))})
        kept["state"] = final
        return np.asarray(y)

    return run


def of_torch(cell: str, hidden: int, quantized: bool, stream: bool) -> Run:
    """Return the same for PyTorch."""
    module: Any = getattr(torch.nn, cell)(hidden, hidden)
    module.load_state_dict(rnnfast.to_torch_state_dict(new_layer(cell, hidden)))
    module.eval()
    if quantized:
        model = torch.nn.Sequential(module)
        module = torch.ao.quantization.quantize_dynamic(model, {type(module)}, torch.qint8)[0]
    kept: dict[str, Any] = {}

    @torch.no_grad()
    def run(x: NDArray) -> NDArray:
        y, kept["state"] = module(torch.from_numpy(x), kept.get("state") if stream else None)
        return np.asarray(y.numpy())

    return run


def contestants(cell: str, hidden: int, threads: int, stream: bool) -> dict[str, Run]:
    """Return all contestants by name, those of float32 first."""
    found: dict[str, Run] = {}
    for name, precision in (("float32", "full"), ("int8", "int8")):
        quantized = precision == "int8"
        found[f"rnnfast {name}"] = ours(cell, hidden, precision, stream)
        found[f"onnxruntime {name}"] = of_onnxruntime(cell, hidden, quantized, threads, stream)
        found[f"torch {name}"] = of_torch(cell, hidden, quantized, stream)
    return found


def errors(cell: str, hidden: int, threads: int) -> dict[str, float]:
    """Return the error of each contestant's outputs, relative to those of rnnfast in float32.

    Raises:
        AssertionError: One is too large.
    """
    x = np.random.default_rng(1).standard_normal((STEPS, 1, hidden)).astype(np.float32)
    outputs = {
        name: np.concatenate([run(step[None]) for step in x]).astype(np.float64)
        for name, run in contestants(cell, hidden, threads, True).items()
    }
    exact = outputs["rnnfast float32"]
    found = {
        name: float(np.sqrt(((y - exact) ** 2).mean() / (exact**2).mean()))
        for name, y in outputs.items()
    }
    for name, error in found.items():
        assert error <= (MOST_ERROR if "int8" in name else 1e-4), (name, error)
    return found


def take_turns(runs: dict[str, Run], x: NDArray, seconds: float) -> dict[str, float]:
    """Return the lower quartile of each contestant's seconds per call."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            for k in range(12):
                start = time.perf_counter()
                run(x)
                if k > 1:  # the first calls fetch what the others have displaced from the caches
                    times[name].append(time.perf_counter() - start)
    return {name: float(np.quantile(of_run, 0.25)) for name, of_run in times.items()}


def main() -> None:
    """Print a table for each cell, size, number of threads and shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="+", default=["LSTM", "GRU"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--shape", nargs="+", default=["1,1", "100,1", "100,32"], metavar="T,B")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # advice of onnxruntime
    warnings.simplefilter("ignore")  # of PyTorch, on torch.ao
    for cell in options.cell:
        for hidden in options.hidden:
            for threads in options.threads:
                rnnfast.set_num_threads(threads)
                torch.set_num_threads(threads)
                found = errors(cell, hidden, threads)
                print(f"\n{cell} {hidden}, threads {threads}, error of the outputs:")
                print(*(f"  {name} {error:.2%}" for name, error in found.items() if "int8" in name))
                for shape in options.shape:
                    T, B = map(int, shape.split(","))
                    x = np.random.default_rng(1).standard_normal((T, B, hidden))
                    runs = contestants(cell, hidden, threads, stream=T * B == 1)
                    times = take_turns(runs, x.astype(np.float32), options.seconds)
                    print(f"T,B {shape}", *(f"  {n} {1e6 * t:.1f} us" for n, t in times.items()))


if __name__ == "__main__":
    main()
