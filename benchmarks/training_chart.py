"""Draw README.md's chart of training speed relative to PyTorch from a table of benchmarks/run.py.

    python benchmarks/training_chart.py docs/results/zen5/table.txt \
        docs/results/zen5/training.svg

The chart is written as plain SVG, so that it depends only on the table and a test can reproduce it.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import NamedTuple

CELLS = {"lstm": ("LSTM", "#3f51b5"), "gru": ("GRU", "#00897b"), "rnn_tanh": ("RNN", "#ef6c00")}
LEFT, RIGHT, TOP, BAR, GAP = 150, 730, 76, 13, 12  # pixels
THREADS = 2
TICKS = (1, 2, 5, 10, 20)
LARGEST = 30


class Speedup(NamedTuple):
    """How many times as long PyTorch takes for a training step of one layer."""

    cell: str
    shape: str  # T,B,I,H
    as_installed: float
    tuned: float  # with the C library's allocator set to keep memory


def read(table: Path) -> list[Speedup]:
    """Return the training steps of a table, in the order of its rows."""
    found = []
    for section in table.read_text().split("\n\n"):
        heading, titles, *rows = [*section.splitlines(), "", ""]
        if f": training, float32, {THREADS} threads" not in heading:
            continue
        shape = heading.split()[2].rstrip(":")
        columns = [titles.index("vs torch"), titles.index("vs torch tuned")]
        for row in rows:
            cell = row.split(" ")[0]
            if cell in CELLS:
                found.append(Speedup(cell, shape, *(float(row[c:].split()[0]) for c in columns)))
    return found


def x_of(factor: float) -> float:
    """Return the position of a factor on the logarithmic axis."""
    return LEFT + (RIGHT - LEFT) * math.log(factor) / math.log(LARGEST)


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    """Return the SVG element of a line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def draw(speedups: list[Speedup]) -> str:
    """Return the chart as SVG.

    Each shape has a group of bars, with a bar for each cell and a mark for the tuned allocator.
    """
    shapes = list(dict.fromkeys(s.shape for s in speedups))
    group = BAR * len(CELLS) + GAP
    bottom = TOP + group * len(shapes)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 {bottom + 30}" '
        'font-family="sans-serif" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        text(10, 20, "Training step: how many times longer PyTorch takes", size=15),
    ]
    for i, (name, color) in enumerate(CELLS.values()):
        lines.append(f'<rect x="{10 + 70 * i}" y="32" width="12" height="12" fill="{color}"/>')
        lines.append(text(27 + 70 * i, 43, name))
    lines.append(text(220, 43, "bar: PyTorch as installed; line: with its allocator tuned"))
    for tick in TICKS:
        x = x_of(tick)
        lines.append(f'<path d="M{x:.1f} {TOP - 6}V{bottom}" stroke="#ccc"/>')
        lines.append(text(x, bottom + 16, f"{tick}x", "middle"))
    for row, shape in enumerate(shapes):
        top = TOP + group * row
        lines.append(text(LEFT - 8, top + 1.5 * BAR + 4, shape.replace(",", ", "), "end"))
        for s in speedups:
            if s.shape == shape:
                y = top + BAR * list(CELLS).index(s.cell)
                end, mark = x_of(s.as_installed), x_of(s.tuned)
                lines.append(
                    f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR - 2}" '
                    f'fill="{CELLS[s.cell][1]}"/>'
                )
                lines.append(
                    f'<path d="M{mark:.1f} {y}v{BAR - 2}" stroke="#000" stroke-width="2"/>'
                )
                lines.append(text(max(end, mark) + 4, y + 10, f"{s.as_installed:.2f}", size=10))
    lines.append(text(LEFT - 8, TOP - 8, "T, B, I, H", "end"))
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(read(Path(sys.argv[1]))))
