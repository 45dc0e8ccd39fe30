"""Compare the speed of two revisions of rnnfast on one machine.

    python benchmarks/compare.py REV_A REV_B [--cell gru ...] [--shape T,B,I,H ...] [...]

The script checks both revisions out into a temporary folder, builds them, and lets one process for
each take turns, round by round. It prints the medians and how many times as fast B is as A. It
needs what a build needs: pip, scikit-build-core and pybind11 in this interpreter's environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import rnnfast
from rnnfast.benchmark import MODES, Case, Shape, measure

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("compare_worker.py")
TICKS = os.sysconf("SC_CLK_TCK")


def git(*arguments: str | Path) -> None:
    """Run git in the checkout."""
    subprocess.run(["git", "-C", str(ROOT), *map(str, arguments)], check=True)


def build(revision: str, folder: Path) -> Path:
    """Build a revision and return the folder to import it from."""
    source, site = folder / "source", folder / "site"
    git("worktree", "add", "--quiet", "--detach", source, revision)
    try:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        options = ["--no-build-isolation", f"--target={site}", str(source)]
        subprocess.run([*pip, *options], check=True)
    finally:
        git("worktree", "remove", "--force", source)
    return site


class Worker:
    """A process that imports one build and times calls of one case on demand."""

    def __init__(self, site: Path, case: Case) -> None:
        arguments = [case.cell, str(case.shape), case.mode, case.dtype, str(case.threads)]
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(site)},
        )

    def time(self, calls: int) -> float:
        """Return how many seconds this many calls take."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(calls, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def workers(sites: dict[str, Path], case: Case) -> Iterator[dict[str, Worker]]:
    """Run a worker process for each build, and end them all on exit."""
    made = {name: Worker(site, case) for name, site in sites.items()}
    try:
        yield made
    finally:
        for worker in made.values():
            worker.close()


def compare(case: Case, sites: dict[str, Path], seconds: float) -> str:
    """Time a case and return its line of the table."""
    with workers(sites, case) as made:

        def own_cpu() -> float:
            return time.process_time() + sum(w.cpu_seconds() for w in made.values())

        timers: dict[str, Callable[[int], float]] = {n: w.time for n, w in made.items()}
        found = measure(timers, seconds, own_cpu=own_cpu)
    a, b = found.timings.values()
    spread = max((t.high - t.low) / t.median for t in (a, b))
    return (
        f"{case!s:52} {a.median * 1e3:10.4f} {b.median * 1e3:10.4f} {a.median / b.median:7.3f} "
        f"{spread:6.0%} {'!' if found.busy else ''}"
    )


def main() -> None:
    """Build both revisions, measure each case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revisions", nargs=2, metavar="REV")
    parser.add_argument("--cell", nargs="+", default=list(rnnfast.functional.cells()))
    parser.add_argument("--shape", nargs="+", default=["100,32,128,256", "100,1,128,128"])
    parser.add_argument("--mode", nargs="+", default=["inference", "training"], choices=MODES)
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--threads", nargs="+", type=int, default=[rnnfast.get_num_threads()])
    parser.add_argument("--seconds", type=float, default=2.0, help="a case")
    chosen = parser.parse_args()
    cases = [
        Case(cell, Shape.parse(shape), mode, dtype, threads)
        for dtype, threads, shape, cell, mode in product(
            chosen.dtype, chosen.threads, chosen.shape, chosen.cell, chosen.mode
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        sites = {
            f"{side}: {revision}": build(revision, Path(folder, side))
            for side, revision in zip("AB", chosen.revisions, strict=True)
        }
        print(*sites, sep="\n")
        print(f"{'case':52} {'A ms':>10} {'B ms':>10} {'A/B':>7} spread", flush=True)
        for case in cases:
            print(compare(case, sites, chosen.seconds), flush=True)


if __name__ == "__main__":
    main()
