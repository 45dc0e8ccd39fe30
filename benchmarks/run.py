"""Run the full benchmark, with every shape of the project's targets and all peers.

    python benchmarks/run.py [--output FOLDER] [--isa avx2 ...] [--cell gru ...] [...]

Each combination of peer, instruction set and allocator settings runs in its own `rnnfast bench`
process, because the threads of several libraries in one process disturb each other, and the
settings are fixed when a process starts. Each process times rnnfast as well: ratios are of one
process, and the other columns of the first. PyTorch is quoted twice: as installed, and with an
allocator that keeps freed memory (glibc's MALLOC_* variables). The script writes results.json,
table.txt and, if matplotlib is installed, bars.svg and roofline.svg to the folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import rnnfast
from rnnfast.benchmark import MODES, PEERS, report

SHAPES = [
    "100,64,512,512",
    "50,64,1024,1024",
    "200,16,256,256",
    "100,32,128,256",
    "50,50,64,128",
    "100,1,128,128",
    "25,1,65,100",
    "1,1,1024,1024",
    "1,1,256,256",
    "1,4,256,256",
]
# In bytes. Freed blocks stay with the process, and large blocks do not get mappings of their own.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
ALLOCATORS: dict[str, dict[str, str]] = {"default": {}, "tuned": KEEP_MEMORY}
KEY = ("cell", "seq_len", "batch", "input_size", "hidden_size", "mode", "dtype", "threads")

Json = dict[str, Any]


def options(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several: Json = {"nargs": "+"}
    parser.add_argument("--cell", **several, default=[rnnfast.LSTM(1, 1).cell,
                        rnnfast.GRU(1, 1).cell, rnnfast.RNN(1, 1).cell])  # fmt: skip
    parser.add_argument("--shape", **several, default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--mode", **several, default=list(MODES), choices=MODES)
    parser.add_argument("--dtype", **several, default=["float32"])
    parser.add_argument("--threads", **several, type=int, default=[rnnfast.get_num_threads()])
    parser.add_argument("--peers", **several, default=list(PEERS), choices=[*PEERS, "none"])
    parser.add_argument("--isa", **several, default=[rnnfast.cpu_info()["isa"]],
                        choices=rnnfast.cpu_info()["isas_supported"])  # fmt: skip
    parser.add_argument("--allocator", **several, default=list(ALLOCATORS), choices=ALLOCATORS)
    parser.add_argument("--seconds", type=float, default=3.0, help="a case and process")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results"), metavar="FOLDER")
    return parser.parse_args(argv)


def settings(chosen: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Yield the instruction set, the allocator and the peer of each process."""
    for isa in chosen.isa:
        for allocator in chosen.allocator:
            for peer in chosen.peers:
                if (
                    allocator == "default" or peer == "torch"
                ):  # nobody else gains from the tuned one
                    yield isa, allocator, peer


def run(chosen: argparse.Namespace, isa: str, allocator: str, peer: str) -> Json:
    """Run `rnnfast bench` in a process with these settings, and return its JSON results.

    The process prints its lines to standard output.
    """
    command = [sys.executable, "-m", "rnnfast", "bench", f"--seconds={chosen.seconds}"]
    command.append(f"--peers={peer}")
    for name in ("cell", "shape", "mode", "dtype", "threads"):
        command += [f"--{name}={value}" for value in getattr(chosen, name)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "results.json")
        environment = os.environ | {"RNNFAST_ISA": isa} | ALLOCATORS[allocator]
        subprocess.run([*command, f"--json={file}"], env=environment, check=True)
        results: Json = json.loads(file.read_text())
    return {"isa": isa, "allocator": allocator, "peer": peer, **results}


def merged(runs: list[Json]) -> list[Json]:
    """Merge the runs of each instruction set.

    The first run of a case gives its times; the others add their peers. That of a tuned run is
    called "torch tuned".
    """
    found: dict[tuple[Any, ...], Json] = {}
    for one in sorted(runs, key=lambda r: list(ALLOCATORS).index(r["allocator"])):
        for result in one["results"]:
            ratios = {
                peer if one["allocator"] == "default" else f"{peer} {one['allocator']}": ratio
                for peer, ratio in result["ratios"].items()
            }
            key = (one["isa"], *(result[name] for name in KEY))
            record = found.setdefault(key, {**result, "isa": one["isa"], "ratios": {}})
            record["ratios"] |= ratios
            record["absent"] |= result["absent"]
            record["busy"] = record["busy"] or result["busy"]
    return list(found.values())


def show(records: list[Json], file: TextIO) -> None:
    """Write the results of each instruction set."""
    peers = list(dict.fromkeys(peer for r in records for peer in r["ratios"]))
    for isa in dict.fromkeys(r["isa"] for r in records):
        lines = report.lines((r for r in records if r["isa"] == isa), peers)
        file.write("\n".join([isa, "", *lines, "", ""]))
    notes = [f"without {reason}" for reason in report.absences(records)]
    file.write("\n".join([*notes, report.LEGEND]) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run all processes, then print and write the results."""
    chosen = options(argv)
    chosen.output.mkdir(parents=True, exist_ok=True)
    runs: list[Json] = []
    for isa, allocator, peer in settings(chosen):
        print(f"== {isa}, {allocator} allocator, peer: {peer}", flush=True)
        runs.append(run(chosen, isa, allocator, peer))
        (chosen.output / "results.json").write_text(json.dumps(runs, indent=1) + "\n")
    records = merged(runs)
    show(records, sys.stdout)
    with (chosen.output / "table.txt").open("w", encoding="utf-8") as file:
        show(records, file)
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed: pip install matplotlib")
        return 0
    import plots

    plots.draw_bars(records, chosen.output / "bars.svg")
    firsts = {one["isa"]: one for one in reversed(runs)}
    plots.draw_roofline(list(firsts.values()), chosen.output / "roofline.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
