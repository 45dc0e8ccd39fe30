"""Check what the compiler made of the CUDA kernels: registers, stack and instructions.

    python tools/check_kernels.py python/rnnfast/_cuda*.so     # or object files of the build

On every architecture, each kernel must use no stack or local memory and no more registers than the
plan counts on. It must also contain the instructions that its design rests on (tensor cores,
asynchronous copies and stores). The check needs `cuobjdump`, from the CUDA toolkit or from the
packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = (75, 80, 90, 100, 120)
REGISTERS_OF_A_MULTIPROCESSOR = 65536


@dataclass(frozen=True)
class Family:
    """Kernels whose mangled names match a pattern."""

    name: str
    pattern: str
    threads: int
    registers: int  # at most, per thread
    instructions: tuple[str, ...] = ()
    since: int = 0  # the first architecture that must have the instructions


# The first match counts. The limits of the recurrent kernels are those of src/cuda/resources.h.
FAMILIES = (
    Family("grid", r"_grid_kernel", 256, 168, ("LDGSTS",), 80),
    Family("cluster", r"_mma_kernel.*ClusterExchange", 256, 255, ("HMMA", "STAS", "SYNCS"), 90),
    Family("block and flags", r"_mma_kernel", 256, 255, ("HMMA",), 80),
    Family("gemm", r"11gemm_kernel", 64, 208, ("LDGSTS",), 80),
    Family("sort", r"sort_\w+_kernel", 1024, 64),
    Family("others", r"", 256, 80),
)


@dataclass(frozen=True)
class Kernel:
    """One function for one architecture."""

    name: str
    architecture: int
    registers: int
    stack: int
    local: int

    @property
    def family(self) -> Family:
        """The first family that the kernel matches."""
        return next(family for family in FAMILIES if re.search(family.pattern, self.name))


def cuobjdump() -> str | None:
    """Return the path of cuobjdump, or None if it is not installed."""
    found = shutil.which("cuobjdump")
    if found:
        return found
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in Path(folder).glob("*/bin/cuobjdump"):
            return str(path)
    return None


def run(program: str, option: str, file: Path) -> Iterator[tuple[int, str]]:
    """Run the program, and yield each line of its output with the architecture it describes."""
    done = subprocess.run([program, option, str(file)], capture_output=True, text=True, check=True)
    architecture = 0
    for line in done.stdout.splitlines():
        found = re.match(r"arch = sm_(\d+)", line)
        if found:
            architecture = int(found.group(1))
        yield architecture, line


def kernels(program: str, file: Path) -> list[Kernel]:
    """Return all kernels of a file."""
    result, name = [], ""
    for architecture, line in run(program, "--dump-resource-usage", file):
        function = re.match(r" Function (\S+):", line)
        numbers = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", line)
        if function:
            name = function.group(1)
        elif numbers and name:
            result.append(Kernel(name, architecture, *map(int, numbers.groups())))
    return result


def instructions(program: str, file: Path) -> dict[tuple[str, int], set[str]]:
    """Return the instruction names, up to the first dot, of each function and architecture."""
    result: dict[tuple[str, int], set[str]] = defaultdict(set)
    name = ""
    for architecture, line in run(program, "--dump-sass", file):
        function = re.match(r"\s+Function : (\S+)", line)
        opcode = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+ +)?([A-Z]\w*)", line)
        if function:
            name = function.group(1)
        elif opcode:
            result[name, architecture].add(opcode.group(1))
    return result


def problems(kernel: Kernel, found: set[str]) -> Iterator[str]:
    """Yield what is wrong with a kernel that has these instructions."""
    family = kernel.family
    if kernel.stack or kernel.local:
        yield f"{kernel.stack} bytes of stack and {kernel.local} of local memory, expected none"
    if kernel.registers > family.registers:
        yield f"{kernel.registers} registers, expected at most {family.registers}"
    if kernel.registers * family.threads > REGISTERS_OF_A_MULTIPROCESSOR:
        yield f"{kernel.registers} registers for {family.threads} threads: too many"
    if not found:
        yield "no instructions found"
    for name in sorted(found & {"LDL", "STL"}):
        yield f"{name}: local memory"
    if kernel.architecture >= family.since:
        for name in sorted(set(family.instructions) - found):
            yield f"no {name}, expected one"


def check(program: str, files: list[Path]) -> tuple[str, list[str]]:
    """Return a table of the families and a list of what is wrong."""
    wrong: list[str] = []
    groups: dict[tuple[str, int], list[Kernel]] = defaultdict(list)
    for file in files:
        found = instructions(program, file)
        for kernel in kernels(program, file):
            groups[kernel.family.name, kernel.architecture].append(kernel)
            some = found.get((kernel.name, kernel.architecture), set())
            wrong += (
                f"sm_{kernel.architecture} {kernel.name}: {text}" for text in problems(kernel, some)
            )
    missing = set(ARCHITECTURES) - {architecture for _, architecture in groups}
    wrong += (f"sm_{architecture}: no kernels found" for architecture in sorted(missing))
    rows = [f"{'kernels':16} {'sm':>4} {'count':>6} {'registers':>10} {'stack':>6}"]
    for (name, architecture), group in sorted(groups.items()):
        registers, stack = max(k.registers for k in group), max(k.stack for k in group)
        rows.append(f"{name:16} {architecture:4} {len(group):6} {registers:10} {stack:6}")
    return "\n".join(rows), wrong


def main() -> int:
    """Print the table, and return 1 if something is wrong."""
    program = cuobjdump()
    if program is None:
        print("check_kernels: skipped, as there is no cuobjdump")
        return 0
    table, wrong = check(program, [Path(name) for name in sys.argv[1:]])
    print(table, *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
