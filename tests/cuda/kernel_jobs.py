"""Run kernels one after the other in processes that have an engine of their own.

A child process can have an emulator with sanitizers or planted faults, which pytest's own process
cannot. Before each job, the child writes a line that starts with JOB to stderr, so that a
sanitizer's report can be matched with its job. Afterwards, it writes a line with the outcome to
stdout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("", "cuda", "cuda_emulator"))

from build import environment

from rnnfast.cuda._devices import VIRTUAL

LONGEST = 120  # seconds that a job may take

# The plans have few blocks, because ThreadSanitizer has room for only 4096 threads.
SMALL_DEVICE = VIRTUAL["H100"] | {"multiprocessors": 8}
# Odd sizes, several slices of units, sequences of lengths 0 to T, both directions.
SMALL = {"T": 5, "B": 3, "I": 2, "H": 37, "D": 2}
# More sequences than a slab holds, and enough units that the grid kernel shares them, too, and that
# no two warps of the other kernels share a group.
WIDE_DEVICE = SMALL_DEVICE | {"multiprocessors": 4, "shared_per_block": 48 * 1024}
WIDE = {"T": 4, "B": 11, "I": 2, "H": 85, "D": 1}


@dataclass(frozen=True)
class Job:
    """A kernel of a cell, forward and backward; "dense" stands for the kernels of other layers."""

    kernel: str
    cell: str = "lstm"
    products: str = "full"
    policy: str = "random"
    seed: int = 1
    fault: int = 0  # number of a fault of mutants.py, or 0 for none
    fill: int = 0xFF  # value of each byte of fresh memory
    check: bool = False  # compare with the reference
    wide: bool = False
    strange: bool = False  # the initial state contains the NaN whose bits are all ones


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: the digest of its results or an error, and a sanitizer's report."""

    digest: str = ""
    error: str = ""
    report: str = ""


def run_jobs(jobs: Sequence[Job], engine: Path, sanitizer: str | None = None) -> list[Outcome]:
    """Run the jobs in grandchild processes, so that a job may end its process.

    `engine` is the path of a module that was built with the sanitizer.
    """
    shares = os.cpu_count() or 1
    with ThreadPoolExecutor(shares) as pool:
        parts = pool.map(lambda i: _run_share(jobs[i::shares], engine, sanitizer), range(shares))
    outcomes: list[Outcome] = [Outcome()] * len(jobs)
    for i, part in enumerate(parts):
        outcomes[i::shares] = part
    return outcomes


def _run_share(jobs: Sequence[Job], engine: Path, sanitizer: str | None) -> list[Outcome]:
    """Run jobs in one child process."""
    device = engine.stem[1:]  # the device is named after its module
    done = subprocess.run(
        [sys.executable, __file__, device],
        input=json.dumps([asdict(job) for job in jobs]),
        capture_output=True,
        text=True,
        env=environment(sanitizer) | {f"RNNFAST_{device.upper()}": str(engine)},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    reports = re.split(r"^JOB .*$", done.stderr, flags=re.MULTILINE)[1:]
    return [Outcome(**r, report=text.strip()) for r, text in zip(results, reports, strict=True)]


def network(backend: Any, job: Job) -> dict[str, Any]:
    """Run a recurrent layer; with `check`, compare its results with the float64 reference."""
    from test_recurrent import errors, run

    import cases

    precision = "bfloat16" if job.products == "bfloat16" else "full"
    sizes = WIDE if job.wide else SMALL
    case = cases.Case(job.cell, **sizes, lengths=True, precision=precision)
    cases.make_data.cache_clear()  # another job may have changed the arrays
    if job.strange:
        cases.make_data(case).state[0].view("u4")[0, 0, 0] = 0xFFFFFFFF
    backend.kernel = job.kernel
    backend.matmul_precision = "high" if job.products == "bfloat16x3" else "highest"
    result = run(backend, case)
    if job.check:
        cases.assert_close(result, cases.run_reference(case), errors(case, job.products), case)
    return result


def dense(backend: Any, job: Job) -> dict[str, Any]:
    """Run every kernel of dense.cu, sort.cu, gemm.cu and optim.cu in which threads meet."""
    import numpy as np
    import test_dense_kernels as tests
    from device_kernels import Kernels, reals
    from test_optim_kernels import Pieces

    kernels = Kernels(backend.name, (job.policy, job.seed))
    rows = reals(1, 1500, 5)
    some, index = rows[:60], tests.indices_of(60, 9)  # each row has a warp
    sums, product = kernels.nan(5), kernels.nan(70, 5)
    kernels.call("column_sum", a=kernels.put(rows), rows=1500, columns=5, lda=5, out=sums)
    sizes = {"m": 70, "n": 5, "k": 70, "lda": 70, "ldb": 5, "ldc": 5, "bfloat16": True}
    kernels.call("gemm", a=kernels.put(reals(2, 70, 70)), b=kernels.put(rows), c=product, **sizes)
    table = tests.scatter(kernels, np.zeros((9, 5), np.float32), index, some, False)
    losses = tests.cross_entropy(kernels, some, index % 5)
    pieces = Pieces(kernels, [[rows, rows[:3]], [rows, rows[:3]]])
    pieces.step("gradients", {}, clip_norm=1.0)
    names = ("loss", "losses", "dlogits")
    return {
        "column_sum": kernels.get(sums),
        "gemm": kernels.get(product),
        "scatter": table,
        **dict(zip(names, losses, strict=True)),
        "clipped": pieces.get(0)[0],
    }


def digest(results: dict[str, Any]) -> str:
    """Return a digest of all bits of all results."""
    total = hashlib.sha256()
    for array in results.values():
        total.update(array.tobytes())
    return total.hexdigest()


def run_job(backend: Any, job: Job) -> dict[str, str]:
    """Run a job on the engine, and return a digest or an error."""
    if job.fault:
        backend.extension.set_fault(job.fault)
    backend.fill = job.fill
    backend.extension.set_device(WIDE_DEVICE if job.wide else SMALL_DEVICE)
    backend.extension.set_schedule(job.policy, job.seed)
    try:
        compute = dense if job.kernel == "dense" else network
        return {"digest": digest(compute(backend, job))}
    except (RuntimeError, AssertionError) as error:
        return {"error": str(error)}


def main() -> None:
    """Read jobs from stdin and run them."""
    import emulated  # noqa: F401  (the devices)

    from rnnfast._engine.backends import get

    jobs = [Job(**job) for job in json.load(sys.stdin)]
    backend: Any = get(sys.argv[1])
    import test_dense_kernels  # noqa: F401  (once, before the forks)
    import test_recurrent  # noqa: F401

    log = os.memfd_create("log")
    while (done := os.pread(log, 2 * len(jobs), 0).count(b"E")) < len(jobs):
        child = os.fork()
        if child == 0:
            run_in_turn(backend, jobs[done:], log)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if os.pread(log, 2 * len(jobs), 0).endswith(b"B"):
            print(json.dumps({"error": f"exit status {status}"}), flush=True)
            os.write(log, b"E")


def run_in_turn(backend: Any, jobs: Sequence[Job], log: int) -> None:
    """Run jobs until one leaves the engine in an unknown state, by a fault or an error.

    Each job writes B to the log when it starts and E when it ends.
    """
    for job in jobs:
        os.write(log, b"B")
        print(f"JOB {job}", file=sys.stderr, flush=True)
        signal.alarm(LONGEST)
        outcome = run_job(backend, job)
        print(json.dumps(outcome), flush=True)
        os.write(log, b"E")
        if job.fault or "error" in outcome:
            break


if __name__ == "__main__":
    main()
