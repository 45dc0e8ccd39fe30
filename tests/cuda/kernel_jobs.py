"""A process's work: kernels run one after the other on an engine of one's own choice.

A child process has an emulator with sanitizers, or with planted faults, which pytest's own cannot
have. Before each job its number goes to stderr as `JOB n`, so that a report of a sanitizer tells
its job; afterwards a line of stdout has what came out.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("", "cuda", "cuda_emulator"))

from build import environment

# Odd sizes, several tiles of units, sequences of lengths 0 to T, both directions.
SIZES = {"T": 3, "B": 3, "I": 2, "H": 37, "D": 2}


@dataclass(frozen=True)
class Job:
    """One kernel of one cell, forward and backward, or `kernel` "dense": those of other layers."""

    kernel: str
    cell: str = "lstm"
    products: str = "full"
    policy: str = "random"
    seed: int = 1
    fault: int = 0  # of mutants.py; 0: none
    fill: int = 0xFF  # what each byte of fresh memory is
    check: bool = False  # against the reference
    cells: tuple[str, ...] = ()  # those that the engine has, if not all


@dataclass(frozen=True)
class Outcome:
    """What a job did: the digest of its results, or an error, and a sanitizer's report."""

    digest: str = ""
    error: str = ""
    report: str = ""


def run_jobs(
    jobs: Sequence[Job],
    engine: Path,
    sanitizer: str | None = None,
    options: str = "",
    timeout: float = 600,
) -> list[Outcome]:
    """Runs the jobs in child processes: a new one after each job that ends its process.

    `engine` is a module that was built with the sanitizer, for which the options are.
    """
    device = engine.stem[1:]  # the name of the device is that of the module
    variables = environment(sanitizer, options) | {f"RNNFAST_{device.upper()}": str(engine)}
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        rest = [asdict(job) for job in jobs[len(outcomes) :]]
        try:
            done = subprocess.run(
                [sys.executable, __file__, device],
                input=json.dumps(rest),
                capture_output=True,
                text=True,
                env=variables,
                timeout=timeout,
                check=False,
            )
            stdout, stderr, end = done.stdout, done.stderr, f"exit status {done.returncode}"
        except subprocess.TimeoutExpired as late:
            stdout, stderr = (
                (text or b"").decode() if isinstance(text, bytes) else text or ""
                for text in (late.stdout, late.stderr)
            )
            end = "takes too long"
        results = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
        reports = re.split(r"^JOB \d+$", stderr, flags=re.MULTILINE)
        if len(reports) == 1:
            raise RuntimeError(f"{end}: {stderr}")
        reports = [text.strip() for text in reports[1:]]
        outcomes += [Outcome(**r, report=text) for r, text in zip(results, reports, strict=False)]
        if len(results) < len(reports):
            outcomes.append(Outcome(error=end, report=reports[len(results)]))
    return outcomes


def network(on: Any, job: Job) -> dict[str, Any]:
    """The results of a recurrent layer; with `check`, compared with the float64 reference."""
    from test_recurrent import errors, run

    import cases

    precision = "bfloat16" if job.products == "bfloat16" else "full"
    case = cases.Case(job.cell, **SIZES, lengths=True, precision=precision)
    if job.kernel == "block":
        case = replace(case, H=21)  # more, and the weights of some cells do not fit
    on.kernel = job.kernel
    on.matmul_precision = "high" if job.products == "bfloat16x3" else "highest"
    result = run(on, case)
    if job.check:
        cases.assert_close(result, cases.run_reference(case), errors(case, job.products), case)
    return result


def dense(on: Any, job: Job) -> dict[str, Any]:
    """Every kernel of dense.cu, sort.cu, gemm.cu and optim.cu that has threads meet."""
    import numpy as np
    import test_dense_kernels as tests
    from device_kernels import Kernels, reals
    from test_optim_kernels import Pieces

    kernels = Kernels(on.name, (job.policy, job.seed))
    index = tests.indices_of(1500, 9)
    rows = reals(1, 1500, 5)
    sums, product = kernels.nan(5), kernels.nan(70, 5)
    kernels.call("column_sum", a=kernels.put(rows), rows=1500, columns=5, lda=5, out=sums)
    sizes = {"m": 70, "n": 5, "k": 70, "lda": 70, "ldb": 5, "ldc": 5, "bfloat16": True}
    kernels.call("gemm", a=kernels.put(reals(2, 70, 70)), b=kernels.put(rows), c=product, **sizes)
    table = tests.scatter(kernels, np.zeros((9, 5), np.float32), index, rows, False)
    losses = tests.cross_entropy(kernels, rows, index % 5)
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
    """All bits of all results."""
    total = hashlib.sha256()
    for array in results.values():
        total.update(array.tobytes())
    return total.hexdigest()


def main() -> None:
    """Reads jobs from stdin."""
    from rnnfast._backend import get

    jobs = [Job(**job) for job in json.load(sys.stdin)]
    on: Any = get(sys.argv[1])
    for number, job in enumerate(jobs):
        print(f"JOB {number}", file=sys.stderr, flush=True)
        if job.cells:
            on.cell_ids = {name: i for i, name in enumerate(job.cells)}
        if hasattr(on.extension, "set_fault"):
            on.extension.set_fault(job.fault)
        on.fill = job.fill
        on.extension.set_schedule(job.policy, job.seed)
        result = {"digest": "", "error": ""}
        try:
            result["digest"] = digest(dense(on, job) if job.kernel == "dense" else network(on, job))
        except (RuntimeError, AssertionError) as error:
            result["error"] = str(error)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
