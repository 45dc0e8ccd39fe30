"""Loss curves drawn by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from rnnfast.training.curves import VALIDATION, Curve

FORMATS = ("png", "svg", "pdf")


def draw(axes: Any, drawn: Sequence[Curve], x_label: str, y_label: str) -> None:
    """Draw curves into matplotlib's `axes`: a colour for each run, dashes for validation."""
    runs = list(dict.fromkeys(curve.run for curve in drawn))
    for curve in drawn:
        validates = curve.kind == VALIDATION
        alone = curve.x.size == 1  # a line of one point does not show
        axes.plot(
            curve.x,
            curve.y,
            "--" if validates else "-",
            marker="o" if validates or alone else None,
            markersize=3,
            linewidth=1.2,
            color=f"C{runs.index(curve.run)}",
            label=curve.label,
        )
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend()


def new_axes() -> Any:
    """Return the axes of a new figure of pyplot, which notebooks show.

    Raises:
        ImportError: matplotlib is not installed.
    """
    check_installed()
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def picture(drawn: Sequence[Curve], x_label: str, y_label: str, form: str) -> bytes:
    """Return a picture of curves in a format of `FORMATS`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    check_installed()
    from matplotlib.figure import Figure  # without pyplot, which may look for a display

    figure = Figure(figsize=(8, 5), layout="constrained")
    draw(figure.add_subplot(), drawn, x_label, y_label)
    file = io.BytesIO()
    figure.savefig(file, format=form, dpi=150)
    return file.getvalue()


def check_installed() -> None:
    """Raise an ImportError that says what to install if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "plots need the package matplotlib, which is not installed: pip install matplotlib"
        ) from error
