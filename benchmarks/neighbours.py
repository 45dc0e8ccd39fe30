"""Measure calls beside a busy process on the same CPUs, and beside PyTorch in the same process.

    python benchmarks/neighbours.py [--shape T,B,I,H ...] [--seconds 3] [...]

The first table shows training steps of one LSTM layer, rnnfast's and PyTorch's, on a quiet machine
and then beside a process that keeps one CPU busy. rnnfast divides small batches among its threads
by hidden units, with a barrier at each time step; with 12 or more sequences per thread, it divides
the batch by sequences and needs no barrier.

The second table shows an inference call on its own, right after a PyTorch operation on all threads,
and after 20 ms of idling. It also shows the PyTorch operation on its own and right after the call.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median, quantiles

import torch

import rnnfast
from rnnfast.benchmark import Case, Shape, make_data
from rnnfast.benchmark.contestants import contestant
from rnnfast.benchmark.machine import thread_count
from rnnfast.benchmark.peer import Call

SHAPES = ["100,1,128,128", "200,16,256,256", "100,32,128,256", "100,64,512,512"]
CELL = rnnfast.LSTM(1, 1).cell
CONTESTANTS = ("rnnfast", "torch")

Times = list[float]


def nothing() -> None:
    """Do nothing before a call that is measured on its own."""


def one(call: Call, before: Callable[[], object]) -> float:
    """Return how many seconds one call takes right after `before`."""
    before()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(calls: dict[str, Call], seconds: float) -> dict[str, Times]:
    """Time calls that take turns, each at least ten times."""
    times: dict[str, Times] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 10:
        for name, call in calls.items():
            times[name].append(one(call, nothing))
    return times


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Run a process that never waits."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(0.2)  # the process needs time to start
        try:
            yield
        finally:
            process.kill()


def milliseconds(times: Times) -> str:
    """Format the median and the 90th percentile."""
    return f"{1e3 * median(times):9.3f} ({1e3 * quantiles(times, n=10)[-1]:9.3f})"


def beside_a_process(shape: str, threads: int, seconds: float) -> None:
    """Print a line for each contestant."""
    case = Case(CELL, Shape.parse(shape), "training", threads=threads)
    data = make_data(case)
    with thread_count(threads):
        calls = {name: contestant(name, case, data)[0] for name in CONTESTANTS}
        quiet = take_turns(calls, seconds)
        with busy_neighbour():
            contended = take_turns(calls, seconds)
    for name in calls:
        factor = median(contended[name]) / median(quiet[name])
        print(
            f"{shape:16} {name:8} {milliseconds(quiet[name])} -> "
            f"{milliseconds(contended[name])}  {factor:6.2f}x",
            flush=True,
        )


def beside_torch(shape: str, threads: int, repeats: int) -> None:
    """Print a line for each way in which the two libraries' calls can follow each other."""
    case = Case(CELL, Shape.parse(shape), threads=threads)
    call, _ = contestant("rnnfast", case, make_data(case))
    contestant("torch", case, make_data(case))  # called because it sets PyTorch's number of threads
    matrix = torch.randn(400, 400)

    def multiply() -> None:
        torch.mm(matrix, matrix)

    def idle() -> None:
        time.sleep(0.02)

    lines: dict[str, tuple[Call, Callable[[], object]]] = {
        "call": (call, nothing),
        "call after a product of PyTorch": (call, multiply),
        "call after 20 ms of idling": (call, idle),
        "product of PyTorch": (multiply, nothing),
        "product of PyTorch after a call": (multiply, call),
    }
    with thread_count(threads):
        for name, (timed, before) in lines.items():
            times = [one(timed, before) for _ in range(repeats)][repeats // 10 :]
            print(f"{shape:16} {name:32} {milliseconds(times)}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--threads", type=int, default=rnnfast.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0, help="quiet, and as long contended")
    options = parser.parse_args()
    print(f"{options.threads} threads; ms of a call: median (90th percentile)")
    print("quiet -> beside a process that keeps one CPU busy, training")
    for shape in options.shape:
        beside_a_process(shape, options.threads, options.seconds)
    print("beside PyTorch in one process, inference")
    for shape in options.shape[:2]:
        beside_torch(shape, options.threads, 200)


if __name__ == "__main__":
    main()
