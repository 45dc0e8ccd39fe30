"""Measure the latency of single steps: percentiles of a stream's step and of a character of text.

    python benchmarks/latency.py [--cell lstm ...] [--network 2x512 ...] [--json FILE] [...]

The input is one sequence of characters. `floor` is the time it takes to read the weights at the
probed bandwidth. If PyTorch is installed, it is timed as well, carrying its state from step to
step.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import rnnfast
from rnnfast import functional
from rnnfast.benchmark import facts, probe
from rnnfast.benchmark.latency import PERCENTILES, Network, run_network


def options(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="+", choices=functional.cells(),
                        default=[rnnfast.LSTM(1, 1).cell, rnnfast.GRU(1, 1).cell,
                                 rnnfast.RNN(1, 1).cell])  # fmt: skip
    parser.add_argument("--network", nargs="+", metavar="LxH",
                        default=["1x128", "1x256", "2x512", "1x1024"])  # fmt: skip
    parser.add_argument("--threads", type=int, default=rnnfast.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0, help="a network")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table and write all figures."""
    args = options(argv)
    peaks = probe("float32", args.threads)
    titles = [*(f"p{p:g}" for p in PERCENTILES), "floor", "p50/floor"]
    print(f"{'network':18} {'call':13}", *(f"{title:>9}" for title in titles))
    results = []
    for cell in args.cell:
        for text in args.network:
            layers, hidden = map(int, text.split("x"))
            network = Network(cell, layers, hidden)
            results.append(found := run_network(network, args.threads, peaks, args.seconds))
            for name, latency in found["latency"].items():
                values = [*latency["percentiles"], found["floor"]]
                ratio = values[0] / found["floor"]
                times = (f"{value * 1e6:6.1f} us" for value in values)
                print(f"{network!s:18} {name:13}", *times, f"{ratio:9.2f}")
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": facts(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
