"""Plot benchmark results: shares of the machine's peak as bars, and a roofline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

Json = dict[str, Any]


def label(record: Json) -> str:
    """Return a label with the cell, the shape and the settings that distinguish a record."""
    shape = ",".join(str(record[k]) for k in ("seq_len", "batch", "input_size", "hidden_size"))
    return f"{record['cell']} {shape} {record['dtype']} {record['threads']}t {record['isa']}"


def draw_bars(records: list[Json], path: Path) -> None:
    """Draw the share of the peak for each case, with a bar per mode and a mark per peer."""
    labels = list(dict.fromkeys(map(label, records)))
    modes = list(dict.fromkeys(r["mode"] for r in records))
    peers = list(dict.fromkeys(peer for r in records for peer in r["ratios"]))
    height = 0.8 / len(modes)
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.3 * len(labels) * max(1, len(modes) / 2)))
    colours = mpl.colormaps["tab20"].colors
    marks = {}
    for i, mode in enumerate(modes):
        of_mode = [r for r in records if r["mode"] == mode]
        at = [labels.index(label(r)) + (i - (len(modes) - 1) / 2) * height for r in of_mode]
        axes.barh(
            at, [100 * r["share_of_peak"] for r in of_mode], height, label=mode, color=colours[i]
        )
        for y, r in zip(at, of_mode, strict=True):
            for peer, ratio in r["ratios"].items():
                share = 100 * r["share_of_peak"] / ratio
                colour = colours[len(modes) + peers.index(peer)]
                marks[peer] = axes.plot(share, y, "|", color=colour, markersize=9)[0]
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("% of the probed rate of multiply-adds")
    axes.set_xlim(0, 100)
    bars, names = axes.get_legend_handles_labels()
    axes.legend([*bars, *marks.values()], [*names, *marks], fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def draw_roofline(runs: list[Json], path: Path) -> None:
    """Draw the rate against the operations per byte of least traffic, under the machine's limits.

    There is one panel for each run, dtype and number of threads. The slanted limits are the
    bandwidths of the smallest and the largest working set.
    """
    panels = [(run["isa"], peaks, run["results"]) for run in runs for peaks in run["peaks"]]
    figure, grid = plt.subplots(
        len(panels), 1, figsize=(8, 5 * len(panels)), squeeze=False, layout="constrained"
    )
    for axes, (isa, peaks, results) in zip(grid[:, 0], panels, strict=True):
        shown = [r for r in results if all(r[k] == peaks[k] for k in ("dtype", "threads"))]
        intensity = [r["flops"] / r["least_bytes"] for r in shown]
        ends = [min(intensity) / 2, max(intensity) * 2]
        for size, rate in (peaks["bandwidth"][0], peaks["bandwidth"][-1]):
            corner = peaks["flops"] / rate
            xs = [ends[0], *([corner] if ends[0] < corner < ends[1] else []), ends[1]]
            ys = [min(x * rate, peaks["flops"]) / 1e9 for x in xs]
            axes.plot(xs, ys, label=f"reads of {size >> 10:,} KiB: {rate / 1e9:.0f} GB/s")
        for mode, marker in zip(dict.fromkeys(r["mode"] for r in shown), "o^sD", strict=False):
            points = [(x, r) for x, r in zip(intensity, shown, strict=True) if r["mode"] == mode]
            rates = [r["flops"] / r["seconds"]["rnnfast"]["median"] / 1e9 for _, r in points]
            axes.plot([x for x, _ in points], rates, marker, label=mode, alpha=0.7)
        axes.set(xscale="log", yscale="log", ylabel="GF/s")
        axes.set_xlabel("operations a byte of least traffic")
        axes.set_title(f"{isa}, {peaks['dtype']}, {peaks['threads']} threads")
        axes.legend(fontsize=8)
    figure.savefig(path)
    plt.close(figure)
