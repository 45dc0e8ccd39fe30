"""Measure the throughput and latency of serving many sessions, beside onnxruntime.

    python benchmarks/serving.py [--model gru:64 lstm:256 ...] [--sessions 1 64 1000] [--json FILE]

All contestants have the same weights. In each round, every session has one step to take. A step's
latency runs from the start of the round to the step's result, so it includes the wait for the steps
before it. The contestants take turns in one process:

    stream         one call of a stream for all sessions
    pool           one thread submits every step to a StreamPool and waits for all results
    pool threads   one thread per session, up to 64, each blocking in its steps (no rounds)
    pool asyncio   one coroutine per session, each awaiting its steps (no rounds)
    ort            onnxruntime, one run per session and step
    ort batched    onnxruntime, one run for all sessions, whose states stay one array

The outputs are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import rnnfast
import rnnfast.onnx
from rnnfast.benchmark import facts

PERCENTILES = (50, 95, 99)
MOST_THREADS = 64
Round = Callable[[NDArray], tuple[NDArray, NDArray]]  # maps x (N, I) to y (N, H) and N latencies


class OnnxRuntime:
    """An onnxruntime session with a layer's weights, whose states the caller carries."""

    def __init__(self, layer: Any, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        model = rnnfast.onnx.to_model(layer).SerializeToString()
        self._run = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        ).run
        self._names = ("h0", "c0")[: layer._states]
        self._outputs = ["y", "hn", "cn"][: 1 + layer._states]
        self._shape = layer.num_layers, layer.hidden_size

    def start(self, batch: int) -> list[NDArray]:
        """Return the initial states of a batch of sequences."""
        layers, hidden = self._shape
        return [np.zeros((layers, batch, hidden), np.float32) for _ in self._names]

    def step(self, x: NDArray, states: list[NDArray]) -> tuple[NDArray, list[NDArray]]:
        """Take a step with x (B, I), and return y (B, H) and the new states."""
        y, *after = self._run(
            self._outputs, {"x": x[None], **dict(zip(self._names, states, strict=True))}
        )
        return y[0], after


def rounds(layer: Any, sessions: int, threads: int, pool: rnnfast.StreamPool) -> dict[str, Round]:
    """Return the contestants by name, each of which takes a step of every session."""
    stream, ort = layer.stream(sessions), OnnxRuntime(layer, threads)
    opened = [pool.open() for _ in range(sessions)]
    each, together = [ort.start(1) for _ in range(sessions)], ort.start(sessions)
    clock = time.perf_counter

    def all_at_once(step: Callable[[NDArray], NDArray]) -> Round:
        def run(x: NDArray) -> tuple[NDArray, NDArray]:
            start = clock()
            y = step(x)
            return y, np.full(sessions, clock() - start)

        return run

    def batched(x: NDArray) -> NDArray:
        y, together[:] = ort.step(x, together)
        return y

    def one_by_one(x: NDArray) -> tuple[NDArray, NDArray]:
        ys, times, start = [], [], clock()
        for i in range(sessions):
            y, each[i] = ort.step(x[i : i + 1], each[i])
            ys.append(y[0])
            times.append(clock() - start)
        return np.stack(ys), np.array(times)

    def submitted(x: NDArray) -> tuple[NDArray, NDArray]:
        times: list[float] = []
        start = clock()
        futures = [pool.submit(s, row) for s, row in zip(opened, x, strict=True)]
        for future in futures:
            future.add_done_callback(lambda _: times.append(clock() - start))
        ys = [future.result() for future in futures]
        while len(times) < sessions:  # result() can return before the callbacks have run
            time.sleep(0)
        return np.stack(ys), np.array(times)

    def stepped(x: NDArray) -> tuple[NDArray, NDArray]:
        start = clock()
        y = opened[0].step(x[0])
        return y[None], np.array([clock() - start])

    return {
        "stream": all_at_once(stream),
        "pool": stepped if sessions == 1 else submitted,
        "ort": one_by_one,
        "ort batched": all_at_once(batched),
    }


def threaded(pool: rnnfast.StreamPool, x: NDArray, seconds: float) -> tuple[float, NDArray]:
    """Return the steps per second and the latencies with a thread for each row of x."""
    end = time.perf_counter() + seconds
    latencies: list[list[float]] = [[] for _ in x]

    def client(number: int) -> None:
        with pool.open() as session:
            now = time.perf_counter()
            while now < end:
                session.step(x[number])
                before, now = now, time.perf_counter()
                latencies[number].append(now - before)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(len(x))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = np.concatenate(latencies)
    return len(times) / (time.perf_counter() - start), times


def awaited(pool: rnnfast.StreamPool, x: NDArray, seconds: float) -> tuple[float, NDArray]:
    """Return the steps per second and the latencies with a coroutine for each row of x."""
    end = time.perf_counter() + seconds
    times: list[float] = []

    async def client(row: NDArray) -> None:
        with pool.open() as session:
            now = time.perf_counter()
            while now < end:
                await session.astep(row)
                before, now = now, time.perf_counter()
                times.append(now - before)

    async def serve() -> None:
        await asyncio.gather(*map(client, x))

    start = time.perf_counter()
    asyncio.run(serve())
    return len(times) / (time.perf_counter() - start), np.array(times)


def measure(name: str, sessions: int, seconds: float, threads: int) -> dict[str, Any]:
    """Return the steps per second and the latency percentiles, in seconds, of each contestant."""
    cell, hidden = name.split(":")
    kind = {"gru": rnnfast.GRU, "lstm": rnnfast.LSTM}[cell]
    layer = kind(int(hidden), int(hidden), seed=1).eval()
    x = np.random.default_rng(0).standard_normal((sessions, int(hidden))).astype("f4")
    found: dict[str, list[tuple[float, NDArray]]] = {}
    with rnnfast.StreamPool(layer, sessions) as pool:
        contestants = rounds(layer, sessions, threads, pool)
        for _ in range(3):
            results = {name: run(x)[0] for name, run in contestants.items()}
            for y in results.values():
                np.testing.assert_allclose(y, results["stream"], rtol=0, atol=1e-5)
        end = time.perf_counter() + seconds * len(contestants)
        while time.perf_counter() < end:
            for contestant, run in contestants.items():
                turn, times = time.perf_counter() + 0.1, []
                start = time.perf_counter()
                while time.perf_counter() < turn:
                    times.append(run(x)[1])
                taken = time.perf_counter() - start
                all_times = np.concatenate(times)
                found.setdefault(contestant, []).append((len(all_times) / taken, all_times))
    for contestant, clients, most in (
        ("pool threads", threaded, MOST_THREADS),
        ("pool asyncio", awaited, sessions),
    ):
        if sessions > 1:
            with rnnfast.StreamPool(layer, sessions) as pool:
                found[contestant] = [clients(pool, x[:most], seconds)]
    return {
        contestant: {
            "steps a second": float(np.median([rate for rate, _ in turns])),
            "latency": np.percentile(
                np.concatenate([times for _, times in turns]), PERCENTILES
            ).tolist(),
        }
        for contestant, turns in found.items()
    }


def main() -> None:
    """Measure what the command line asks for, print a table and write all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["gru:64", "lstm:256"], metavar="CELL:SIZE")
    parser.add_argument("--sessions", nargs="+", type=int, default=[1, 64, 1000])
    parser.add_argument("--seconds", type=float, default=2.0, help="a contestant")
    parser.add_argument("--threads", type=int, default=rnnfast.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rnnfast.set_num_threads(args.threads)
    titles = ["steps/s", *(f"p{p}" for p in PERCENTILES), "to ort"]
    print(f"{'model':10} {'sessions':>8} {'':13}", *(f"{title:>11}" for title in titles))
    results = []
    for name in args.model:
        for sessions in args.sessions:
            found = measure(name, sessions, args.seconds, args.threads)
            results.append({"model": name, "sessions": sessions, "found": found})
            for contestant, figures in found.items():
                rate = figures["steps a second"]
                ratio = rate / found["ort"]["steps a second"]
                times = (f"{t * 1e6:8.1f} us" for t in figures["latency"])
                print(f"{name:10} {sessions:8} {contestant:13} {rate:11.0f}", *times,
                      f"{ratio:11.2f}")  # fmt: skip
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": facts(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
