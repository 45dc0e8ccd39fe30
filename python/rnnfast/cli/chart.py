"""Charts of curves as text, of dots in the Braille patterns of Unicode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from rnnfast.training.curves import VALIDATION, Curve, limits, thinned

_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a cell's 4 x 2 dots
_EMPTY = 0x2800  # the pattern without dots
_MARK = "●"  # of a validation


def chart(
    drawn: Sequence[Curve], x_label: str, y_label: str, width: int, height: int = 20
) -> list[Text]:
    """Return the lines of a chart of at least one curve.

    Training is a line of dots and each validation a mark, in a colour for each run.

    Args:
        drawn: The curves.
        x_label: What the x axis counts.
        y_label: What the y axis shows.
        width: Columns of the whole chart.
        height: Lines of the field that has the curves.
    """
    x_low, x_high, y_low, y_high = limits(drawn)
    scale = [f"{y_high:.4g}", f"{y_low:.4g}"]
    margin = max(map(len, scale))
    columns = max(width - margin - 2, 8)
    runs = list(dict.fromkeys(curve.run for curve in drawn))
    cells = np.full((height, columns), " ", dtype="<U1")
    styles = np.full((height, columns), "", dtype=object)
    for whole in sorted(drawn, key=lambda curve: curve.kind == VALIDATION):  # marks lie on top
        curve = thinned(whole, 2 * columns)
        x = (curve.x - x_low) / (x_high - x_low)
        y = (y_high - curve.y) / (y_high - y_low)
        if curve.kind == VALIDATION:
            row, column = _nearest(y, height), _nearest(x, columns)
            cells[row, column] = _MARK
        else:
            dots = _line(x, y, 4 * height, 2 * columns)
            patterns = (dots.reshape(height, 4, columns, 2) * _BITS[:, None]).sum((1, 3))
            row, column = patterns.nonzero()
            cells[row, column] = [chr(_EMPTY + int(p)) for p in patterns[row, column]]
        styles[row, column] = _colour(runs, curve)
    lines = [Text(f"{'':{margin}} {y_label}")]
    for number, (signs, colours) in enumerate(zip(cells, styles, strict=True)):
        left = scale[0] if number == 0 else scale[1] if number == height - 1 else ""
        pieces = zip(signs.tolist(), colours, strict=True)
        lines.append(Text.assemble(f"{left:>{margin}} │", *pieces))
    ends = f"{x_low:,.6g}", f"{x_high:,.6g}"
    between = f"{x_label:^{max(columns - len(ends[0]) - len(ends[1]), 0)}}"
    lines.append(Text(f"{'':{margin}} └{'─' * columns}"))
    lines.append(Text(f"{'':{margin}}  {ends[0]}{between}{ends[1]}"))
    for curve in drawn:
        sign = _MARK if curve.kind == VALIDATION else "⠒⠒"
        lines.append(
            Text.assemble(
                f"{'':{margin}}  ", (f"{sign:2}", _colour(runs, curve)), f" {curve.label}"
            )
        )
    return lines


def _colour(runs: list[str], curve: Curve) -> str:
    return _COLOURS[runs.index(curve.run) % len(_COLOURS)]


def _nearest(fractions: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the cells of `count` in a row in which fractions of the row's length lie."""
    return np.rint(fractions * (count - 1)).astype(np.int64)


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64], height: int, width: int
) -> NDArray[np.bool_]:
    """Return the dots (height, width) of a line through points, given as fractions of both."""
    dots = np.zeros((height, width), dtype=bool)
    steps = 2 * max(height, width)  # between two points, so that the line has no gaps
    points = np.arange(x.size)
    places = np.linspace(0, x.size - 1, (x.size - 1) * steps + 1)
    rows, columns = (np.interp(places, points, values) for values in (y, x))
    dots[_nearest(rows, height), _nearest(columns, width)] = True
    return dots
