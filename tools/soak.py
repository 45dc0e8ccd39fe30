"""Run networks of all cells and many shapes for a long time, and check results and memory.

    python tools/soak.py --minutes 60

Two processes of sixteen threads each train, infer and stream at once. A sample of their results is
compared with the float64 reference, within the tolerances of the tests. After each round all
threads pause, free memory goes back to the system, and the memory that is still resident is
measured: after a warm-up of a fifth of the time it may not grow by more than 1 MiB.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import rnnfast

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]
cases: Any = importlib.import_module("cases")
sequence_cases: Any = importlib.import_module("sequence_cases")

PROCESSES, THREADS = 2, 16
ALLOWED = 1 << 20  # bytes that a process may grow
WARM_UP = 0.2  # of the time
COMPARED = 24  # cases whose results are compared with the reference
ROUND = 12  # networks that each thread runs between two measurements
LIBC = ctypes.CDLL(None)


def resident_bytes() -> int:
    """Return the memory that is resident after all free memory went back to the system."""
    gc.collect()
    rnnfast.empty_cache()
    LIBC.malloc_trim(0)
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) << 10


class Compared:
    """A case with the results of the reference."""

    def __init__(self, case: Any) -> None:
        self.case, self.data = case, cases.make_data(case)
        self.expected = cases.run_reference(case, data=self.data)
        self.plain = cases.plain_errors(case)

    def check(self) -> None:
        """Compare the engine's results."""
        got = cases.run_engine(self.case, data=self.data)
        cases.assert_close(got, self.expected, self.plain, self.case)


def use_network(draw: random.Random) -> None:
    """Train a network of random sizes, and compare its inference with its streams."""
    cell = draw.choice(list(rnnfast.functional.cells()))
    T, B, I, H = (draw.randint(1, most) for most in (40, 20, 50, 70))
    options: dict[str, Any] = {
        "bidirectional": draw.random() < 0.3,
        "recompute": draw.random() < 0.2,
    }
    layers = draw.randint(1, 2)
    layer = rnnfast.Recurrent(cell, I, H, layers, dropout=0.1 * (layers - 1), **options)
    rng = np.random.default_rng(draw.randrange(2**32))
    x = rng.standard_normal((T, B, I), np.float32)
    lengths = rng.integers(0, T + 1, B) if draw.random() < 0.5 else None
    y, _ = layer(x, lengths=lengths)
    layer.backward(np.ones_like(y))
    layer.eval()
    y, _ = layer(x)
    if not options["bidirectional"]:
        stream = layer.stream(B)
        steps = np.stack([stream(step) for step in x])
        np.testing.assert_array_equal(steps, y)


class Worker:
    """The threads of one process."""

    def __init__(self, seed: int, seconds: float) -> None:
        chosen = random.Random(seed).sample(sequence_cases.grid(), COMPARED)
        self.compared = [Compared(case) for case in chosen]
        self.seed, self.begin, self.seconds = seed, time.monotonic(), seconds
        self.barrier = threading.Barrier(THREADS, self.measure)
        self.resident: list[int] = []
        self.warm = 0  # the first measurement after the warm-up
        self.over = False
        self.failure: BaseException | None = None
        self.networks = 0

    def measure(self) -> None:
        """Measure memory between two rounds, and end the work when the time is over."""
        elapsed = time.monotonic() - self.begin
        self.resident.append(resident_bytes())
        self.networks += THREADS * ROUND
        if elapsed < WARM_UP * self.seconds:
            self.warm = len(self.resident)
        self.over = elapsed > self.seconds

    def work(self, thread: int) -> None:
        """Run rounds until the time is over."""
        draw = random.Random(f"{self.seed} {thread}")
        try:
            while not self.over:
                for _ in range(ROUND):
                    use_network(draw)
                    draw.choice(self.compared).check()
                self.barrier.wait()
        except threading.BrokenBarrierError:
            return
        except BaseException as failure:
            self.failure = failure
            self.barrier.abort()

    def run(self) -> int:
        """Run the threads; return 1 if memory grew."""
        threads = [threading.Thread(target=self.work, args=(k,)) for k in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failure:
            raise self.failure
        after = self.resident[self.warm :]
        if len(after) < 2:
            print("too short: fewer than two measurements after the warm-up")
            return 1
        grown = after[-1] - after[0]
        print(
            f"process {self.seed}: {self.networks} networks in {len(self.resident)} rounds, "
            f"as many results compared; resident {after[0]} bytes after the warm-up, "
            f"{after[-1]} at the end, at most {max(after)}: grew by {grown}",
            flush=True,
        )
        return int(grown > ALLOWED)


def main() -> int:
    """Start the processes, or be one of them; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.process is not None:
        return Worker(args.process, 60 * args.minutes).run()
    # One arena of glibc for all threads: memory of several is not all given back by malloc_trim.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, __file__, "--minutes", str(args.minutes), "--process"]
    processes = [subprocess.Popen([*command, str(k)], env=environment) for k in range(PROCESSES)]
    statuses = [process.wait() for process in processes]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
