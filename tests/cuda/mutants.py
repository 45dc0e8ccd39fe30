"""Plant faults: remove each synchronisation from the kernels and check that something notices.

    python tests/cuda/mutants.py            # all faults, with a table
    python tests/cuda/mutants.py --list     # what they are

In a copy of the sources, each call that orders threads is made conditional on a number, so that a
single build contains all faults and a job chooses one. A fault is noticed if, under some schedule,
the results differ from the right kernel's bits or the emulator reports an error, or else if
ThreadSanitizer reports a race. Removals that nothing notices must be listed in UNNOTICED, with the
reason.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cuda_emulator"))

from build import BUILD, EMULATOR, ROOT
from device_kernels import SCHEDULES
from engine import FEW_CELLS, build_engine
from kernel_jobs import Job, run_jobs

COPY = BUILD / "mutants" / "src"

CELL = "mut3"  # two products per step and two operands: it runs every line of the drivers
GRID = [Job("grid", CELL), Job("grid", CELL, wide=True)]
MMA = {
    "block": [Job("block", CELL, "bfloat16"), Job("block", CELL, "bfloat16x3")],
    "cluster": [Job("cluster", CELL, "bfloat16x3"), Job("cluster", CELL, "bfloat16", wide=True)],
    "flags": [
        Job("flags", CELL, "bfloat16x3", strange=True),
        Job("flags", CELL, "bfloat16", wide=True),
    ],
}
DENSE = Job("dense")
ALL_MMA = [job for jobs in MMA.values() for job in jobs]
# The kernels that run a file's code. A struct that belongs to one kernel is named after it.
FILES = {
    "fma_product.cuh": GRID,
    "grid_kernels.cuh": GRID,
    "exchange.cuh": ALL_MMA,
    "mma_product.cuh": ALL_MMA,
    "mma_kernels.cuh": ALL_MMA,
    "mma_flags.cu": MMA["flags"],
    "network.cpp": GRID,
    "gemm.cu": [DENSE],
    "sort.cu": [DENSE],
    "reduce.cuh": [DENSE],
}
EXCHANGES = {"BlockExchange": "block", "ClusterExchange": "cluster", "FlagExchange": "flags"}
# Files in which calls of these names are definitions, or run on the host in one stream.
ELSEWHERE = {"device.cuh", "runtime.cu", "runtime.h"}

# Statements that are removed.
REMOVED = [
    r"__syncthreads\(\)", r"__syncwarp\([^;]*\)", r"copy_wait<\d+>\(\)", r"copy_commit\(\)",
    r"mbarrier_\w+\([^;{}]*\)", r"cluster_sync\(\)", r"add_release\([^;{}]*\)",
    r"barrier\.template wait<\w+>\(\)", r"mark_empty\([^;{}]*\)",
    r"fill_bytes\(scratch\.counters[^;{}]*\)", r"Exchange::begin\(\)",
]  # fmt: skip
# Changes that weaken a statement, by name: a pattern and its replacement for a fault's number.
WEAKENED: dict[str, tuple[str, str]] = {
    "no polling": (r"while \((load_acquire\(\w+\) < \w+)\)", r"while (!PLANTED({n}) && \1)"),
    "relaxed": (
        r"\bload_acquire\((\w+)\)",
        r"(PLANTED({n}) ? load_relaxed(\1) : load_acquire(\1))",
    ),
    "relaxed add": (
        r"\badd_release\((\w+), (\w+)\);",
        r"if (PLANTED({n})) atomicAdd(\1, \2); else add_release(\1, \2);",
    ),
    "no polling of values": (r"waits = (waits \|\| [^;]*);", r"waits = !PLANTED({n}) && (\1);"),
    "one buffer": (r"\b(phase >> 1|phase|turn) & 1\b", r"(PLANTED({n}) ? 0 : (\1 & 1))"),
    "any value": (r"(bits == kEmpty) \?", r"!PLANTED({n}) && \1 ?"),
    "plain store": (
        r"\bstore_relaxed\((reinterpret_cast<unsigned\*>\(\w+\)), ([^;]*)\);",
        r"if (PLANTED({n})) *(\1) = (\2); else store_relaxed(\1, \2);",
    ),
}
# All of its places form a single fault, since readers and writers must agree on the buffer.
SLABS = (r"% 2 \* kFmaRows", r"% (PLANTED({n}) ? 1 : 2) * kFmaRows")

# Faults that nothing notices, by file and description, with the reason why that is correct.
UNNOTICED: dict[tuple[str, str], str] = {
    ("exchange.cuh", "without mbarrier_fence_init()"): "the emulator's mbarriers need no fence",
    ("mma_kernels.cuh", "one buffer"): (
        "other warps have read the splits' sums when a block receives again; in a cluster it is "
        "their data alone that says so, which a device need not take for an order"
    ),
}


@dataclass(frozen=True)
class Fault:
    """A change of the sources."""

    number: int
    file: str
    line: int
    struct: str  # the last one that begins before the change
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"


def plant() -> list[Fault]:
    """Make the copy of the sources, with each fault conditional on its number."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT / "src", COPY)
    faults: list[Fault] = []
    for path in sorted((COPY / "cuda").iterdir()):
        if path.suffix in (".cu", ".cuh", ".cpp", ".h") and path.name not in ELSEWHERE:
            path.write_text(plant_file(path.name, path.read_text(), faults))
    forgotten = {fault.file for fault in faults} - set(FILES)
    assert not forgotten, f"{forgotten}: FILES must say what runs them"
    return faults


def plant_file(name: str, text: str, faults: list[Fault]) -> str:
    """Plant the faults of a text, and add them to the list."""

    def add(match: re.Match[str], what: str) -> int:
        before = source[: match.start()]
        struct = (re.findall(r"^(?:struct|class) (\w+)", before, re.MULTILINE) or [""])[-1]
        line = before.count("\n") + 1
        faults.append(Fault(len(faults) + 1, name, line, struct, what))
        return faults[-1].number

    def weaken(what: str, form: str) -> Callable[[re.Match[str]], str]:
        return lambda m: m.expand(form.replace("{n}", str(add(m, what))))

    def remove(m: re.Match[str]) -> str:
        call = re.sub(r"\(PLANTED\(\d+\) \? 0 : \((.*?)\)\)", r"\1", " ".join(m.group(1).split()))
        return f"if (!PLANTED({add(m, 'without ' + call)})) {m.group(1)};"

    # Replacements keep all line breaks, so that line numbers stay the same.
    source = text
    for what, (pattern, form) in WEAKENED.items():
        source = text
        text = re.sub(pattern, weaken(what, form), text)
    if re.search(SLABS[0], text):
        source = text
        first = re.search(SLABS[0], text)
        assert first is not None
        text = re.sub(SLABS[0], SLABS[1].replace("{n}", str(add(first, "one buffer"))), text)
    source = text
    pattern = rf"(?<![\w.:])((?:{'|'.join(REMOVED)}));"
    return re.sub(pattern, remove, text)


def engine(sanitizer: str | None) -> Path:
    """Build the module with all faults."""
    flags = ["-include", str(EMULATOR / "planted.h"), "-w", "-O1"]
    cells = [FEW_CELLS[CELL]]
    return build_engine("mutants", sanitizer=sanitizer, source_root=COPY, cells=cells, flags=flags)


def jobs_of(fault: Fault, policy: str, seed: int, fill: int) -> list[Job]:
    """Return a fault's jobs in one schedule; `fill` is the value of each byte of fresh memory."""
    exchange = EXCHANGES.get(fault.struct)
    return [
        replace(job, policy=policy, seed=seed, fault=fault.number, fill=fill)
        for job in (MMA[exchange] if exchange else FILES[fault.file])
    ]


def right_digests() -> dict[Job, str]:
    """Return what the jobs give without a fault."""
    jobs = [*GRID, *ALL_MMA, DENSE]
    results = run_jobs(jobs, engine(None))
    for job, result in zip(jobs, results, strict=True):
        assert result.digest, f"without a fault: {job}: {result.error}"
    return {job: result.digest for job, result in zip(jobs, results, strict=True)}


def noticed(faults: list[Fault]) -> dict[Fault, str]:
    """Return how faults are noticed: by the first schedule that does so, or by a race."""
    expected = right_digests()
    found: dict[Fault, str] = {}

    def try_all(sanitizer: str | None, policy: str, seed: int, fill: int) -> None:
        left = [fault for fault in faults if fault not in found]
        plan = [(fault, job) for fault in left for job in jobs_of(fault, policy, seed, fill)]
        jobs, path = [job for _, job in plan], engine(sanitizer)
        for (fault, job), result in zip(plan, run_jobs(jobs, path, sanitizer), strict=True):
            if sanitizer:
                text = "a race" if "data race" in result.report else ""
            elif result.digest == expected[unchanged(job)]:
                text = ""
            else:
                text = result.error or "other bits"
            if text:
                found.setdefault(fault, f"{policy} {seed}: {text}")

    for i, schedule in enumerate(SCHEDULES):
        try_all(None, *schedule, 0x3F if i % 2 else 0xFF)  # fresh memory is a number, or NaN
    try_all("thread", *SCHEDULES[0], 0xFF)
    return found


def unchanged(job: Job) -> Job:
    """Return the job without its fault, as in `right_digests`."""
    return replace(job, policy="random", seed=1, fault=0, fill=0xFF)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="what the faults are, and no more")
    arguments = parser.parse_args()
    faults = plant()
    if arguments.list:
        print(*faults, sep="\n")
        return 0
    start = time.monotonic()
    found = noticed(faults)
    bad = 0
    for fault in faults:
        reason = UNNOTICED.get((fault.file, fault.what))
        bad += (fault in found) == (reason is not None)
        text = found.get(fault) or (f"unnoticed: {reason}" if reason else "NOT NOTICED")
        if fault in found and reason:
            text = f"LISTED AS UNNOTICED, {text}"
        print(f"{fault!s:64.64} {' '.join(text.split()):.64}")
    print(f"{len(faults)} faults, {bad} not as expected, {time.monotonic() - start:.0f} s")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
