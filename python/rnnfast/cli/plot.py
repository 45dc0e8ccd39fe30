"""`rnnfast plot`: loss curves of runs, in the terminal or as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rnnfast import _files
from rnnfast._engine import checks
from rnnfast.cli.chart import chart
from rnnfast.cli.errors import CommandError, option_errors, output_errors
from rnnfast.cli.files import check_unread
from rnnfast.training import StoredRun, read_run
from rnnfast.training.curves import X_AXES, Curve, curves
from rnnfast.training.figure import FORMATS, picture

_NAMES = ", ".join(f".{form}" for form in FORMATS)


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Checkpoints of training runs, or tables of `rnnfast train --log`.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help=f"File to draw a picture to ({_NAMES}), instead of the terminal.",
            show_default=False,
        ),
    ] = None,
    x: Annotated[
        str,
        typer.Option(
            help=f"What the x axis counts: {', '.join(X_AXES)}; items are the characters, bytes "
            "or tokens of a language model.",
        ),
    ] = "steps",
    smoothing: Annotated[
        float,
        typer.Option(
            help="Smoothing of training losses: 0 for none; 0.9 averages about 10 rows, 0.99 "
            "about 100."
        ),
    ] = 0.0,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a run in the legend; give one for each RUN.",
            show_default="names of the files",
        ),
    ] = None,
) -> None:
    """Draw the training and validation losses of one run or several.

    A run that is still training is drawn as far as its table or its last checkpoint goes.
    """
    with option_errors():
        names = _names(runs, label or [])
        form = _format(output)
        if output is not None:
            check_unread("output", output, runs)
        stored = [read_run(path) for path in runs]
        drawn = [
            curve
            for path, name, run in zip(runs, names, stored, strict=True)
            for curve in _curves(path, name, run, x, smoothing)
        ]
        items, losses = ({getattr(run, name) for run in stored} for name in ("item", "loss"))
        x_label = x if x != "items" or len(items) > 1 else f"{items.pop()}s"
        y_label = losses.pop() if len(losses) == 1 else "loss"
        y_label = y_label if y_label == "loss" else f"loss, {y_label}"
        if output is None:
            console = Console()
            for line in chart(drawn, x_label, y_label, console.width):
                console.print(line, no_wrap=True, overflow="crop", soft_wrap=True)
            return
        data = picture(drawn, x_label, y_label, form)
    with output_errors(output):
        _files.replace(output, data)


def _names(runs: list[Path], labels: list[str]) -> list[str]:
    """Return the names of the runs in the legend."""
    if labels and len(labels) != len(runs):
        raise CommandError(
            f"label: expected one for each RUN, {len(runs)} in all, got {len(labels)}"
        )
    names = labels or [path.stem for path in runs]
    if not labels and len(set(names)) < len(names):
        names = [str(path) for path in runs]
    if len(set(names)) < len(names):
        raise CommandError(f"runs: expected different names, got {', '.join(names)}")
    return names


def _format(output: Path | None) -> str:
    """Return the format of a picture, by the end of its file's name."""
    if output is None:
        return ""
    form = output.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise CommandError(f"output: expected a name that ends in {_NAMES}, got {output}")
    with output_errors(output):
        _files.check_output(output)
    return form


def _curves(path: Path, name: str, run: StoredRun, x: str, smoothing: float) -> list[Curve]:
    checks.choice("x", x, X_AXES)
    checks.number("smoothing", smoothing, 0, 1, open_high=True)
    try:
        found = curves(run.history, name, x=x, smoothing=smoothing)
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error
    if not found:
        raise CommandError(f"{path}: expected a run with measurements, got one that has none yet")
    return found
