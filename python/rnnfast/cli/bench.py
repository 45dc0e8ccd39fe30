"""`rnnfast bench`: the speed of the layers on this machine."""

from __future__ import annotations

import importlib.util
import json
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

import rnnfast
from rnnfast import _files
from rnnfast._engine import checks
from rnnfast._engine.known import COMPILED
from rnnfast.benchmark import MODES, PEERS, Case, Run, Shape, report
from rnnfast.cli.errors import option_errors, output_errors

_SHAPES = ["100,32,128,256", "100,1,128,128"]
_MODES = ["inference", "training"]
_INSTALLED = "auto"
_LIBRARIES = ("torch", "onnxruntime")  # peers that users might choose in place of rnnfast


def bench(
    cell: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Cells to measure: {', '.join(COMPILED)}, or others that `rnnfast cells` lists.",
            show_default="the compiled ones",
        ),
    ] = None,
    shape: Annotated[
        list[str],
        typer.Option(metavar="T,B,I,H", help="Steps, batch size, input size and hidden size."),
    ] = _SHAPES,
    mode: Annotated[list[str], typer.Option(help=f"Modes: {', '.join(MODES)}.")] = _MODES,
    dtype: Annotated[list[str], typer.Option(help="float32, float64 or bfloat16.")] = ["float32"],  # noqa: B006
    threads: Annotated[
        list[int] | None, typer.Option(help="Numbers of threads.", show_default="all CPUs")
    ] = None,
    peers: Annotated[
        str,
        typer.Option(
            help=f"Libraries to compare with: none, {_INSTALLED} (all that are "
            f"installed) or names: {','.join(PEERS)}."
        ),
    ] = _INSTALLED,
    seconds: Annotated[float, typer.Option(help="Seconds to spend on a case.")] = 1.0,
    output: Annotated[
        Path | None,
        typer.Option("--json", help="File to write all results to.", show_default=False),
    ] = None,
) -> None:
    """Measure the speed of the layers against the machine's limits and other libraries.

    Options that choose cases may be repeated.
    """
    with option_errors():
        checks.number("seconds", seconds, 0)
        counts = [checks.threads("threads", n) for n in threads or [rnnfast.get_num_threads()]]
        names = _peers(peers)
        cases = [
            Case(name, Shape.parse(sizes), kind, real, n)
            for real, n, sizes, kind, name in product(
                dtype,
                counts,
                shape,
                mode,
                cell or COMPILED,
            )
        ]
    if output is not None:
        with output_errors(output):
            _files.check_output(output)
    run = Run(cases, names, seconds)
    for line in report.lines((result.as_json() for result in run), names):
        typer.echo(line)
    for reason in report.absences([result.as_json() for result in run.results]):
        typer.echo(f"without {reason}")
    typer.echo(report.LEGEND)
    if output is not None:
        with output_errors(output):
            _files.replace(output, f"{json.dumps(run.as_json(), indent=1)}\n".encode())


def _peers(text: str) -> list[str]:
    if text == "none":
        return []
    if text == _INSTALLED:
        return [name for name in _LIBRARIES if importlib.util.find_spec(name) is not None]
    return [checks.choice("peers", name, PEERS) for name in text.split(",")]
