"""Run published ONNX models in a session of rnnfast and in onnxruntime, at a batch of 1.

    python benchmarks/onnx_models.py [--threads N] [--rounds N] [FILE]

Needs `pip install onnx onnxruntime`, and `pip install --no-deps silero-vad ddddocr` for the models:
speech detection in a recording of 4 seconds and in one frame of 32 ms, and a line of text in an
image. A FILE is measured instead, with inputs of ones whose open sizes are 16. The script compares
the outputs first, lets both take turns, and prints the lower quartiles of the times.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import rnnfast
import rnnfast.onnx

Feeds = dict[str, np.ndarray]


def published() -> Iterator[tuple[Path, Feeds]]:
    """Yield the models that are installed, with inputs."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    silero, ddddocr = folder("silero_vad"), folder("ddddocr")
    if silero:
        state = {name: normal(1, 1, 128) for name in "hc"}
        yield silero / "data/silero_vad_16k_sequence.onnx", {"input": normal(125, 576), **state}
        for name in ("silero_vad_half", "silero_vad_openvino_16k"):
            frame = {"input": normal(1, 576), "state": normal(2, 1, 128)}
            yield silero / f"data/{name}.onnx", frame
    if ddddocr:
        yield ddddocr / "common.onnx", {"input1": normal(1, 1, 64, 160)}


def folder(package: str) -> Path | None:
    """Return the folder of a package; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def ones(path: Path) -> Feeds:
    """Return inputs of ones for a model."""
    session = rnnfast.onnx.Session(path)
    shapes = {
        i.name: [n if isinstance(n, int) else 16 for n in i.shape or ()] for i in session.inputs
    }
    return {i.name: np.ones(shapes[i.name], i.dtype) for i in session.inputs}


def quartiles(rounds: int, *calls: Callable[[], Any]) -> list[float]:
    """Return the lower quartile of the seconds of each call; the calls take turns in blocks."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, of_call in zip(calls, times, strict=True):
            call()  # brings the weights back into the caches
            for _ in range(5):
                start = time.perf_counter()
                call()
                of_call.append(time.perf_counter() - start)
    return [float(np.percentile(of_call, 25)) for of_call in times]


def row(path: Path, feeds: Feeds, options: onnxruntime.SessionOptions, rounds: int) -> str:
    """Return the row of a model in the table."""
    theirs = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ours = rnnfast.onnx.Session(path)
    results = zip(theirs.run(None, feeds), ours.run(None, feeds), strict=True)
    worst = max(float(np.abs(a - b).max() / max(1, np.abs(a).max())) for a, b in results)
    assert worst < 1e-5, worst
    peer, own = quartiles(rounds, lambda: theirs.run(None, feeds), lambda: ours.run(None, feeds))
    times = f"{1e3 * peer:.3f} ms | {1e3 * own:.3f} ms | {peer / own:.2f}"
    return f"| {path.stem} | {worst:.0e} | {times} |"


def main() -> None:
    """Print a table of times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    rnnfast.set_num_threads(arguments.threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.log_severity_level = 3
    chosen = arguments.file
    print("| model | difference | onnxruntime | rnnfast | factor |\n|---|---|---|---|---|")
    for path, feeds in published() if chosen is None else [(chosen, ones(chosen))]:
        print(row(path, feeds, options, arguments.rounds))


if __name__ == "__main__":
    main()
