"""Timing of contestants that take turns, which also watches the load of other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from rnnfast.benchmark.peer import Call

Timer = Callable[[int], float]
"""A function that makes a given number of calls and returns the seconds that they took."""

_ROUNDS = 7
_BUSY = 0.05  # the share of one CPU that other processes may use
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median of the rounds and its quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Measurement:
    """The result of `measure`.

    Attributes:
        timings: The timings by contestant.
        rounds: Number of rounds that were kept.
        busy_rounds: Number of these rounds that other processes disturbed.
        others: CPUs that other processes used in the rounds that were kept; None where the system
            does not tell.
    """

    timings: dict[str, Timing]
    rounds: int
    busy_rounds: int
    others: float | None

    @property
    def busy(self) -> bool:
        """Whether the medians may suffer from other processes."""
        return 2 * self.busy_rounds >= self.rounds


def timer(call: Call) -> Timer:
    """Return a timer of a call in this process."""

    def run(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - start

    return run


def measure(
    timers: Mapping[str, Timer],
    seconds: float,
    *,
    own_cpu: Callable[[], float] = time.process_time,
) -> Measurement:
    """Time every contestant once per round; the order alternates from round to round.

    A round in which other processes used more than 5% of a CPU is repeated. The number of repeats
    is limited to the number of rounds; after that, such rounds are kept and counted as busy.

    Args:
        timers: The contestants.
        seconds: About how long to measure, for all of them together; each makes one call a round
            at least, after two to warm up.
        own_cpu: CPU seconds used so far by all that is measured.
    """
    share = seconds / _ROUNDS / len(timers)
    for run in timers.values():
        run(2)  # starts threads, maps memory
    samples: dict[str, list[float]] = {name: [] for name in timers}
    kept: list[_Round] = []
    repeats = _ROUNDS
    while len(kept) < _ROUNDS:
        order = list(timers)
        if len(kept) % 2:
            order.reverse()
        watch = _Watch(own_cpu)
        times = {}
        for name in order:
            _settle(own_cpu)
            timers[name](1)  # the caches are full of other contestants' data before this call
            times[name] = _mean(timers[name], share)
        done = watch.round()
        if done.busy and repeats > 0:
            repeats -= 1
            continue
        kept.append(done)
        for name, spent in times.items():
            samples[name].append(spent)
    others = [r.others for r in kept if r.others is not None]
    return Measurement(
        {name: _timing(values) for name, values in samples.items()},
        _ROUNDS,
        sum(r.busy for r in kept),
        sum(others) / sum(r.seconds for r in kept) if others else None,
    )


def _settle(own_cpu: Callable[[], float]) -> None:
    """Wait until no thread of an earlier contestant spins, at most for a fifth of a second.

    Libraries let their threads wait for the next call at full speed for a while, and the contestant
    that follows would lose a core to them.
    """
    for _ in range(20):
        before = own_cpu()
        time.sleep(0.01)
        if own_cpu() - before < 0.001:
            return


def _mean(run: Timer, seconds: float) -> float:
    """Return the mean time of the calls that fit into `seconds`, at least one.

    The number of calls grows step by step, so that a disturbance which slows calls down a thousand
    times does not make the measurement a thousand times as long.
    """
    calls, spent = 1, run(1)
    while spent < seconds:
        more = max(1, min(2 * calls, int((seconds - spent) * calls / max(spent, 1e-9))))
        spent += run(more)
        calls += more
    return spent / calls


def _timing(values: list[float]) -> Timing:
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Timing(median(values), low, high)


@dataclass(frozen=True)
class _Round:
    seconds: float
    others: float | None  # CPU seconds of other processes

    @property
    def busy(self) -> bool:
        """Whether other processes used too much CPU time, allowing for the clock's resolution."""
        slack = 2 / _TICKS_PER_SECOND
        return self.others is not None and self.others > _BUSY * self.seconds + slack


class _Watch:
    """Measures the CPU time that other processes use from its creation on."""

    def __init__(self, own_cpu: Callable[[], float]) -> None:
        self._own_cpu = own_cpu
        self._start, self._all, self._own = time.perf_counter(), _all_cpu(), own_cpu()

    def round(self) -> _Round:
        seconds, own, now = time.perf_counter() - self._start, self._own_cpu(), _all_cpu()
        if now is None or self._all is None:
            return _Round(seconds, None)
        return _Round(seconds, max(0.0, now - self._all - (own - self._own)))


def _all_cpu() -> float | None:
    """CPU seconds that the machine was busy, what a hypervisor took included."""
    try:
        fields = _STAT.read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND
