"""Compare calls on two threads with the same calls on one, and say what a thread lost its time to.

    python benchmarks/two_threads.py [--cell gru ...] [--shape T,B,I,H ...] [--seconds 2]

Bursts of calls, of 10 ms or one call, take turns: one thread, two threads, one thread, ... The
speed-up is the median ratio of neighbouring bursts. The other columns are of those on two threads,
read from /proc/self/task (Linux) before and after each of them:

- same CPU: bursts after which both threads had run on one CPU, where they only take turns
- queued: the share of the time in which a thread could have run but had no CPU. Together with
  "same CPU", this is the machine's or the scheduler's doing.
- CPU: CPUs used, 2.00 at most. A thread that waits at a barrier for less than 50 us spins, so lower
  values mean threads that slept, or a part of the call that runs on one thread.
- barrier: the shortest mean time in which two threads passed one, before and after the bursts. It
  tells how far apart their CPUs are, which in a virtual machine changes while it runs: a hypervisor
  may move a virtual CPU to a core that shares no cache with the other.
- lost: one barrier a step and pass. So much do threads lose at least to meeting each other where
  they divide hidden units; where they divide sequences (12 or more a thread), they do not meet.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, quantiles

import rnnfast
from rnnfast import _core
from rnnfast.benchmark import MODES, Case, Shape, make_data
from rnnfast.benchmark.contestants import contestant
from rnnfast.benchmark.machine import thread_count
from rnnfast.benchmark.peer import Call

SHAPES = [
    "100,64,512,512",
    "50,64,1024,1024",
    "200,16,256,256",
    "100,32,128,256",
    "50,50,64,128",
    "100,8,128,128",
    "100,1,128,128",
    "25,1,65,100",
]
CELLS = [rnnfast.LSTM(1, 1).cell, rnnfast.GRU(1, 1).cell, rnnfast.RNN(1, 1).cell]
BURST = 0.01  # seconds
TASKS = Path("/proc/self/task")
PROCESSOR = 36  # the field of /proc/self/task/*/stat after the name that tells the last CPU


@dataclass(frozen=True)
class Thread:
    """What the kernel says of a thread: nanoseconds on a CPU and in a queue, and its last CPU."""

    running: int
    queued: int
    cpu: int


def threads() -> dict[str, Thread]:
    """Return the state of every thread of this process, by its number."""
    found = {}
    for task in TASKS.iterdir():
        running, queued, _ = map(int, (task / "schedstat").read_text().split())
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[task.name] = Thread(running, queued, int(fields[PROCESSOR]))
    return found


@dataclass(frozen=True)
class Pair:
    """A burst on one thread and the next one on two: seconds a call, and what the second met."""

    one: float
    two: float
    queued: float
    used: float
    same_cpu: bool


def timed(call: Call, n: int, calls: int = 1) -> float:
    """Return the seconds of so many calls on n threads."""
    rnnfast.set_num_threads(n)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def pair(call: Call, calls: int) -> Pair:
    """Make a burst of calls on one thread and one on two."""
    one = timed(call, 1, calls)
    before = threads()
    two = timed(call, 2, calls)
    after = threads()
    active = {
        number: (state.running - before[number].running, state.queued - before[number].queued)
        for number, state in after.items()
        if number in before
    }
    team = sorted(active, key=lambda number: active[number], reverse=True)[:2]
    return Pair(
        one / calls,
        two / calls,
        sum(active[number][1] for number in team) * 1e-9 / (2 * two),
        sum(active[number][0] for number in team) * 1e-9 / two,
        len({after[number].cpu for number in team}) == 1,
    )


def line(case: Case, seconds: float) -> str:
    """Measure a case for about so many seconds, at least ten pairs, and return its line."""
    call, _ = contestant("rnnfast", case, make_data(case))
    calls = max(1, round(BURST / min(timed(call, n) for n in (1, 2, 1, 2))))
    pairs: list[Pair] = []
    barriers = [_core._barrier_seconds(0.02)]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(pairs) < 10:
        pairs.append(pair(call, calls))
    barriers.append(_core._barrier_seconds(0.02))
    low, middle, high = quantiles((p.one / p.two for p in pairs), n=4)
    two = median(p.two for p in pairs)
    passes = 2 if case.training else 1
    divided = case.shape.batch < 2 * 12
    lost = min(barriers) * case.shape.seq_len * passes / two if divided else 0.0
    return (
        f"{case.cell:9} {case.shape!s:16} {case.mode:10} {1e3 * median(p.one for p in pairs):8.3f} "
        f"{1e3 * two:8.3f} {middle:7.2f} {low:5.2f}-{high:4.2f} "
        f"{mean(p.same_cpu for p in pairs):8.0%} {mean(p.queued for p in pairs):7.1%} "
        f"{mean(p.used for p in pairs):5.2f} "
        f"{'-'.join(f'{1e9 * b:.0f}' for b in barriers):>8} ns {lost:6.1%}"
    )


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="+", default=CELLS)
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--mode", nargs="+", default=["inference", "training"], choices=MODES)
    parser.add_argument("--seconds", type=float, default=2.0, help="a case")
    options = parser.parse_args()
    if rnnfast.cpu_info()["cpus"] < 2:
        parser.error("two threads need two CPUs; this process may use one")
    with thread_count(2):
        print(
            f"{'cell':9} {'T,B,I,H':16} {'mode':10} {'1, ms':>8} {'2, ms':>8} speed-up "
            "quartiles same CPU  queued   CPU     barrier   lost"
        )
        for cell in options.cell:
            for shape in options.shape:
                for mode in options.mode:
                    case = Case(cell, Shape.parse(shape), mode, threads=2)
                    print(line(case, options.seconds), flush=True)


if __name__ == "__main__":
    main()
