"""Runs of cases against peers: compare their results, then time them and keep a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rnnfast.benchmark.case import AGREEMENT, Case, make_data
from rnnfast.benchmark.contestants import contestant, difference
from rnnfast.benchmark.machine import Peaks, facts, probe, thread_count
from rnnfast.benchmark.peer import UnavailableError
from rnnfast.benchmark.timing import Measurement, measure, timer

OWN = "rnnfast"


@dataclass(frozen=True)
class Result:
    """One case, measured.

    Attributes:
        case: The case.
        peaks: The limits of the machine for its dtype and threads.
        measurement: Times of rnnfast and of the peers that agree with it.
        differences: Largest relative difference from rnnfast's arrays, by peer.
        absent: Why a peer has no time, by peer.
    """

    case: Case
    peaks: Peaks
    measurement: Measurement
    differences: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Median of rnnfast's time."""
        return self.measurement.timings[OWN].median

    @property
    def share(self) -> float:
        """Rate of operations as a share of the peak rate of multiply-adds."""
        return self.case.flops / self.seconds / self.peaks.flops

    @property
    def over_floor(self) -> float:
        """Time relative to the least that the limits of the machine allow."""
        return self.seconds / self.peaks.floor(self.case)

    def ratio(self, peer: str) -> float | None:
        """Return the time of a peer over that of rnnfast; None if the peer was not timed."""
        timing = self.measurement.timings.get(peer)
        return None if timing is None else timing.median / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Return everything but the peaks as data for JSON."""
        case, found = self.case, self.measurement
        return {
            "cell": case.cell,
            **case.shape._asdict(),
            "mode": case.mode,
            "dtype": case.dtype,
            "threads": case.threads,
            "flops": case.flops,
            "least_bytes": case.least_bytes,
            "seconds": {name: asdict(timing) for name, timing in found.timings.items()},
            "share_of_peak": self.share,
            "times_floor": self.over_floor,
            "ratios": {name: self.ratio(name) for name in found.timings if name != OWN},
            "differences": self.differences,
            "absent": self.absent,
            "rounds": found.rounds,
            "busy_rounds": found.busy_rounds,
            "busy": found.busy,
            "cpus_of_others": found.others,
        }


def run_case(case: Case, peers: Sequence[str], peaks: Peaks, seconds: float) -> Result:
    """Compare and time one case.

    Args:
        case: The case.
        peers: Names from `PEERS`. A peer that is not installed, lacks the cell, or whose arrays
            differ from rnnfast's is not timed; `Result.absent` says why.
        peaks: The machine's limits for the case's type and threads.
        seconds: About how long to measure.
    """
    data = make_data(case)
    differences, absent = {}, {}
    with thread_count(case.threads):
        call, results = contestant(OWN, case, data)
        expected, timers = results(call()), {OWN: timer(call)}
        limit = AGREEMENT[case.dtype]
        for peer in peers:
            try:
                call, results = contestant(peer, case, data)
            except UnavailableError as reason:
                absent[peer] = str(reason)
                continue
            differences[peer] = difference(results(call()), expected)
            if differences[peer] <= limit:
                timers[peer] = timer(call)
            else:
                absent[peer] = f"differs from rnnfast by {differences[peer]:.2g} > {limit:.2g}"
        measurement = measure(timers, seconds)
    return Result(case, peaks, measurement, differences, absent)


class Run:
    """A run over many cases, which also probes the limits of the machine.

    Args:
        cases: The cases.
        peers: Names from `PEERS`.
        seconds: About how long each case takes.
    """

    def __init__(self, cases: Iterable[Case], peers: Sequence[str], seconds: float) -> None:
        self._cases, self._peers, self._seconds = list(cases), peers, seconds
        self._peaks: dict[tuple[str, int], Peaks] = {}
        self.results: list[Result] = []

    def __iter__(self) -> Iterator[Result]:
        """Measure the cases and yield their results one by one."""
        for case in self._cases:
            key = case.dtype, case.threads
            if key not in self._peaks:
                self._peaks[key] = probe(*key)
            result = run_case(case, self._peers, self._peaks[key], self._seconds)
            self.results.append(result)
            yield result

    def as_json(self) -> dict[str, Any]:
        """Return the machine, its limits and the results so far."""
        return {
            "machine": facts(),
            "seconds_a_case": self._seconds,
            "peaks": [
                {"dtype": dtype, "threads": threads, **asdict(peaks)}
                for (dtype, threads), peaks in self._peaks.items()
            ],
            "results": [result.as_json() for result in self.results],
        }
